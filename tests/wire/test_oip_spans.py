"""Large JSON tensors read straight from their text give what the long way gives."""

from __future__ import annotations

import json

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire.oip.choice import Wanted
from gateway.wire.oip.codec import SHORT_BODY, Codec
from gateway.wire.oip.spans import MAX_SPANS, cut_out
from tests.wire.oip_rig import codec_of, request, spec, tensor
from tests.wire.test_oip_templates import described, outcome

ROWS, WIDE = 8, 200
VALUES = (np.arange(ROWS * WIDE, dtype="<f4").reshape(ROWS, WIDE) - 700) / 7


def large_codec(datatype: str = "FP32") -> Codec:
    return codec_of([spec("X", datatype, -1, WIDE)], [spec("Y", "FP32", -1)])


def long_way(codec: Codec, body: bytes) -> object:
    """The same request behind a header length, which is never cut."""
    return outcome(codec, body, len(body))


def large(data, **changes) -> bytes:
    return request(tensor(shape=[ROWS, WIDE], data=data, **changes))


FLAT = VALUES.ravel().tolist()
NESTED = VALUES.tolist()


@pytest.mark.parametrize("data", [FLAT, NESTED], ids=["flat", "nested"])
@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
def test_numbers_are_read_from_the_text(data, datatype):
    codec = large_codec(datatype)
    body = large(data, datatype=datatype)
    assert len(body) > SHORT_BODY
    cut = codec._decode_cut(body)
    assert cut is not None
    assert described(cut) == long_way(codec, body)
    assert codec.decode(body, None).inputs[0].flags.writeable


def test_white_space_does_not_matter():
    document = json.loads(large(NESTED))
    for text in (json.dumps(document), json.dumps(document, indent=2)):
        cut = large_codec()._decode_cut(text.encode())
        assert cut is not None
        assert described(cut) == long_way(large_codec(), large(NESTED))


def test_everything_beside_the_numbers_is_read_as_ever():
    extra = {"id": "a", "outputs": [{"name": "Y"}], "parameters": {"timeout": 5, "x": "]]"}}
    body = orjson.dumps(json.loads(large(FLAT)) | extra)
    cut = large_codec()._decode_cut(body)
    assert cut is not None
    assert (cut.id, cut.timeout_us, cut.choice.wanted) == ("a", 5, (Wanted(0),))


def test_several_tensors_find_their_places():
    codec = codec_of([spec(name, "FP32", -1, WIDE) for name in "ABC"] + [spec("S", "BYTES", -1)])
    body = request(
        tensor(name="C", shape=[ROWS, WIDE], data=(VALUES + 1).tolist()),
        tensor(name="S", datatype="BYTES", shape=[ROWS], data=['"data":[1', "]"] * (ROWS // 2)),
        tensor(name="A", shape=[ROWS, WIDE], data=(VALUES + 2).ravel().tolist()),
        tensor(name="B", shape=[ROWS, WIDE], data=(VALUES + 3).tolist()),
    )
    cut = codec._decode_cut(body)
    assert cut is not None
    assert described(cut) == long_way(codec, body)


BEND = [
    pytest.param(b"-100.0", b"NaN", id="nan"),
    pytest.param(b"-100.0", b"-Infinity", id="infinity"),
    pytest.param(b"-100.0", b"1e39", id="too-large"),
    pytest.param(b"-100.0", b"1e999", id="infinite"),
    pytest.param(b"-100.0", b"1e-45", id="subnormal-single"),
    pytest.param(b"-100.0", b"4e-320", id="subnormal-double"),
    pytest.param(b"-100.0", b"-0", id="minus-nothing"),
    pytest.param(b"-100.0", b"1.00000000000000000000000000001", id="many-digits"),
    pytest.param(b"-100.0", b"123456789012345678901234567890", id="huge-integer"),
    pytest.param(b"-100.0", b"true", id="boolean"),
    pytest.param(b"-100.0", b"null", id="null"),
    pytest.param(b"-100.0", b'"1"', id="string"),
    pytest.param(b"-100.0", b"01", id="leading-zero"),
    pytest.param(b"-100.0", b"", id="nothing"),
    pytest.param(b"-100.0", b"1,1", id="one-more"),
    pytest.param(b"-100.0,", b"", id="one-less"),
    pytest.param(b"-100.0", b"[1]", id="deeper"),
    pytest.param(b"-100.0", b"]", id="shut"),
    pytest.param(b"[8,200]", b"[200,8]", id="other-shape"),
    pytest.param(b"[8,200]", b"[9,200]", id="more-rows"),
    pytest.param(b"FP32", b"FP64", id="other-datatype"),
    pytest.param(b'"X"', b'"Z"', id="other-name"),
    pytest.param(b"]}]}", b"]}]", id="open"),
    pytest.param(b"]}]}", b"]}]}x", id="garbage"),
    pytest.param(b'"data"', b'"date"', id="no-data"),
    pytest.param(b'"data"', b'"data":[1],"data"', id="twice"),
    pytest.param(b'"name"', b'"x\\"data":[1],"name"', id="look-alike"),
    pytest.param(b'"data":', b'"data":5,"x":{"data":', id="elsewhere"),
]


@pytest.mark.parametrize("data", [FLAT, NESTED], ids=["flat", "nested"])
@pytest.mark.parametrize(("old", "new"), BEND)
def test_what_is_unusual_or_wrong_reads_as_the_long_way_reads_it(data, old, new):
    body = large(data)
    assert old in body
    changed = body.replace(old, new, 1)
    assert outcome(large_codec(), changed) == long_way(large_codec(), changed)


@pytest.mark.parametrize("datatype", ["INT32", "BOOL", "BYTES", "UINT64"])
def test_other_datatypes_go_the_long_way(datatype):
    value = {"BOOL": True, "BYTES": "1"}.get(datatype, 1111)
    body = large([value] * ROWS * WIDE, datatype=datatype)
    codec = large_codec(datatype)
    assert len(body) > SHORT_BODY
    assert outcome(codec, body) == long_way(codec, body)
    assert codec.decode(body, None).rows == ROWS


def test_a_large_array_that_is_no_input_is_not_lost():
    body = orjson.dumps({"extra": {"data": FLAT}, **json.loads(large(FLAT))})
    assert large_codec()._decode_cut(body) is None
    assert outcome(large_codec(), body) == long_way(large_codec(), body)


def test_only_so_many_pieces_are_cut_out():
    numbers = list(range(1000))
    text, spans = cut_out(orjson.dumps([{"data": numbers}] * (MAX_SPANS + 5)))
    assert len(spans) == MAX_SPANS
    assert text.count(b"[0,1,2") == 5


def test_small_arrays_stay():
    body = request(tensor())
    assert cut_out(body) == (body, {})


@settings(max_examples=60)
@given(st.data())
def test_any_damage_reads_as_the_long_way_reads_it(data):
    body = bytearray(large(data.draw(st.sampled_from([FLAT, NESTED]))))
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.integers(0, len(body) - 1) | st.integers(0, 80))
        piece = data.draw(st.sampled_from([b"", b"]", b"[", b'"', b",", b"0", b"e", b" ", b"\0"]))
        body[place : place + data.draw(st.integers(0, 2))] = piece
    assert outcome(large_codec(), bytes(body)) == long_way(large_codec(), bytes(body))
