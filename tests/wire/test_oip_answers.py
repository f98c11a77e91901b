"""Answers: what each rider's bytes say, for any choice of outputs, rows and form."""

from __future__ import annotations

import json
import math

import numpy as np
import orjson
import pytest

from gateway.errors import WrongOutputs
from gateway.tensors import DTYPES
from tests.wire.oip_rig import (
    codec_of,
    document_of,
    objects,
    plain_codec,
    request,
    spec,
    strings,
    tail_of,
    tensor,
)

Y = np.array([[0.1, 2], [3, 4], [5, 6]], "<f4")
LABELS = np.array([7, 8, 9], "<i8")


def ask(codec, *names: str, binary: bool = False, classes: int = 0, **extra):
    parameters = {"binary_data": binary} | ({"classification": classes} if classes else {})
    outputs = [{"name": name, "parameters": parameters} for name in names]
    return codec.decode(request(outputs=outputs, **extra), None)


# ---- JSON ----------------------------------------------------------------------------------------


def test_an_answer_names_the_model_and_gives_flat_data():
    codec = plain_codec()
    answer = codec.answer(codec.render([Y, LABELS]), codec.decode(request(), None), 1, 2)
    assert answer[1] is None
    assert document_of(answer) == {
        "model_name": "m",
        "model_version": "3",
        "outputs": [
            {"name": "Y", "datatype": "FP32", "shape": [1, 2], "data": [3.0, 4.0]},
            {"name": "label", "datatype": "INT64", "shape": [1], "data": [8]},
        ],
    }


@pytest.mark.parametrize("identifier", [{}, {"id": "7"}], ids=["plain", "named"])
@pytest.mark.parametrize(
    "outputs",
    [
        pytest.param([("Y", False)], id="json"),
        pytest.param([("Y", True), ("label", True)], id="binary"),
        pytest.param([("Y", False), ("label", True)], id="mixed"),
    ],
)
def test_a_warning_stands_in_a_parameter_and_moves_nothing_else(outputs, identifier):
    codec = plain_codec()
    wanted = [{"name": name, "parameters": {"binary_data": flag}} for name, flag in outputs]
    asked = codec.decode(request(outputs=wanted, **identifier), None)
    rendered = codec.render([Y, LABELS])
    before = codec.answer(rendered, asked, 1, 3)
    asked.warning = 'a "b"=above:1'
    after = codec.answer(rendered, asked, 1, 3)
    parameters = {"contract_violations": 'a "b"=above:1'}
    assert document_of(after) == document_of(before) | {"parameters": parameters}
    assert tail_of(after) == tail_of(before)


def test_every_rider_gets_its_own_rows():
    codec = plain_codec()
    rendered = codec.render([Y, None])
    asked = ask(codec, "Y")
    for start, stop in [(0, 1), (1, 3), (0, 3), (2, 3)]:
        output = document_of(codec.answer(rendered, asked, start, stop))["outputs"][0]
        assert output["shape"] == [stop - start, 2]
        assert np.array(output["data"], "<f4").tolist() == Y[start:stop].ravel().tolist()


def test_riders_with_different_wishes_share_a_batch():
    codec = plain_codec()
    rendered = codec.render([Y, LABELS])
    one = document_of(codec.answer(rendered, ask(codec, "label"), 0, 1))
    other = codec.answer(rendered, ask(codec, "Y", binary=True), 1, 3)
    assert [output["name"] for output in one["outputs"]] == ["label"]
    assert tail_of(other) == Y[1:3].tobytes()
    again = document_of(codec.answer(rendered, ask(codec, "label"), 1, 2))
    assert again["outputs"][0]["data"] == [8]


def test_outputs_come_in_the_requested_order():
    codec = plain_codec()
    answer = codec.answer(codec.render([Y, LABELS]), ask(codec, "label", "Y"), 0, 1)
    assert [output["name"] for output in document_of(answer)["outputs"]] == ["label", "Y"]


@pytest.mark.parametrize("identifier", ["", "42", "\u00fc \u6c34", 'a "quoted" \\ one'])
@pytest.mark.parametrize("binary", [False, True])
def test_the_id_is_echoed(identifier, binary):
    codec = plain_codec()
    asked = ask(codec, "Y", binary=binary, id=identifier)
    answer = codec.answer(codec.render([Y, None]), asked, 0, 1)
    assert document_of(answer)["id"] == identifier
    assert tail_of(answer) == (Y[:1].tobytes() if binary else b"")


def test_no_id_gives_none():
    codec = plain_codec()
    assert b'"id"' not in codec.answer(codec.render([Y, None]), ask(codec, "Y"), 0, 1)[0]


@pytest.mark.parametrize("datatype", sorted(set(DTYPES) - {"BYTES", "FP16", "BF16"}))
def test_numbers_of_every_datatype_are_written_exactly(datatype):
    codec = codec_of([spec("X", "FP32", -1, 3)], [spec("Y", datatype, -1, 2)])
    dtype = DTYPES[datatype]
    if dtype.kind in "iu":
        values = np.array([[np.iinfo(dtype).min, np.iinfo(dtype).max], [0, 1]], dtype)
    else:
        values = np.array([[0, 1], [1, 0]]).astype(dtype)
    output = document_of(codec.answer(codec.render([values]), ask(codec, "Y"), 0, 2))["outputs"][0]
    assert (output["datatype"], output["data"]) == (datatype, values.ravel().tolist())


def test_floats_are_written_as_their_shortest_text():
    codec = codec_of([spec("X", "FP32", -1, 3)], [spec("A", "FP32", -1), spec("B", "FP64", -1)])
    outputs = [np.array([0.1], "<f4"), np.array([0.1], "<f8")]
    body, _ = codec.answer(codec.render(outputs), ask(codec, "A", "B"), 0, 1)
    assert body.count(b'"data":[0.1]') == 2


def test_strings_are_written_as_text():
    codec = codec_of([spec("X", "FP32", -1, 3)], [spec("S", "BYTES", -1, 2)])
    values = objects([b'],["', "h\u00e9".encode(), b"", b"null"], 2, 2)
    rendered = codec.render([values])
    outputs = [
        document_of(codec.answer(rendered, ask(codec, "S"), row, row + 1))["outputs"][0]
        for row in (0, 1)
    ]
    assert [output["data"] for output in outputs] == [['],["', "h\u00e9"], ["", "null"]]
    assert outputs[0] | {"data": 0} == {
        "name": "S",
        "datatype": "BYTES",
        "shape": [1, 2],
        "data": 0,
    }


def test_bytes_that_are_no_text_refuse_that_answer_alone():
    codec = codec_of([spec("X", "FP32", -1, 3)], [spec("S", "BYTES", -1)])
    rendered = codec.render([objects([b"fine", b"\xff"], 2)])
    assert document_of(codec.answer(rendered, ask(codec, "S"), 0, 1))["outputs"][0]["data"] == [
        "fine"
    ]
    with pytest.raises(WrongOutputs, match="output 'S': element 0: expected UTF-8"):
        codec.answer(rendered, ask(codec, "S"), 1, 2)
    assert tail_of(codec.answer(rendered, ask(codec, "S", binary=True), 1, 2)) == strings(b"\xff")


def test_non_finite_values_are_bare_tokens_and_leave_their_neighbours_alone():
    codec = plain_codec()
    values = np.array([[1, math.nan], [math.inf, -math.inf], [0.5, 2]], "<f4")
    rendered = codec.render([values, None])
    bodies = [codec.answer(rendered, ask(codec, "Y"), row, row + 1)[0] for row in range(3)]
    assert b'"data":[1.0,NaN]' in bodies[0]
    assert b'"data":[Infinity,-Infinity]' in bodies[1]
    assert orjson.loads(bodies[2])["outputs"][0]["data"] == [0.5, 2.0]
    assert json.loads(bodies[1])["outputs"][0]["data"] == [math.inf, -math.inf]


# ---- shapes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("trailing", [(), (1,), (3,), (2, 3), (2, 1, 3), (0,), (2, 0)])
def test_outputs_of_any_rank_keep_their_rows(trailing, binary):
    codec = codec_of([spec("X", "FP32", -1, 3)], [spec("Y", "INT32", -1, *trailing)])
    values = np.arange(4 * math.prod(trailing), dtype="<i4").reshape(4, *trailing)
    answer = codec.answer(codec.render([values]), ask(codec, "Y", binary=binary), 1, 3)
    output = document_of(answer)["outputs"][0]
    assert output["shape"] == [2, *trailing]
    if binary:
        assert tail_of(answer) == values[1:3].tobytes()
    else:
        assert output["data"] == values[1:3].ravel().tolist()


def test_an_array_that_is_not_contiguous_is_written_in_row_major_order():
    codec = plain_codec()
    values = np.arange(6, dtype="<f4").reshape(2, 3).T
    rendered = codec.render([values, None])
    output = document_of(codec.answer(rendered, ask(codec, "Y"), 1, 3))["outputs"][0]
    assert output["data"] == [1, 4, 2, 5]
    assert tail_of(codec.answer(rendered, ask(codec, "Y", binary=True), 1, 3)) == (
        np.array([1, 4, 2, 5], "<f4").tobytes()
    )


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("shape", [(), (4,), (2, 2), (0, 3)])
def test_without_batching_the_whole_output_is_the_answer(shape, binary):
    codec = codec_of([spec("X", "FP32", 3)], [spec("Y", "FP64", *shape)], batched=False)
    values = np.arange(math.prod(shape), dtype="<f8").reshape(shape)
    asked = ask_alone(codec, binary)
    answer = codec.answer(codec.render([values]), asked, 5, 9)  # rows mean nothing here
    output = document_of(answer)["outputs"][0]
    assert output["shape"] == list(shape)
    if binary:
        assert tail_of(answer) == values.tobytes()
    else:
        assert output["data"] == values.ravel().tolist()


def ask_alone(codec, binary: bool):
    outputs = [{"name": "Y", "parameters": {"binary_data": binary}}]
    return codec.decode(request(tensor(shape=[3]), outputs=outputs), None)


def test_shapes_may_change_from_batch_to_batch():
    codec = codec_of([spec("X", "FP32", -1, 3)], [spec("Y", "INT32", -1, -1)])
    asked = ask(codec, "Y")
    for wide in (1, 3, 2, 3):
        values = np.arange(2 * wide, dtype="<i4").reshape(2, wide)
        output = document_of(codec.answer(codec.render([values]), asked, 1, 2))["outputs"][0]
        assert (output["shape"], output["data"]) == ([1, wide], values[1].tolist())


def test_a_thousand_shapes_keep_no_thousand_forms():
    codec = codec_of([spec("X", "FP32", -1, 3)], [spec("Y", "INT32", -1, -1)])
    asked = ask(codec, "Y")
    for wide in range(1, 1000):
        codec.answer(codec.render([np.zeros((1, wide), "<i4")]), asked, 0, 1)
    assert len(asked.choice.forms) <= 256


# ---- binary --------------------------------------------------------------------------------------


def test_binary_outputs_follow_the_json_in_order():
    codec = plain_codec()
    answer = codec.answer(codec.render([Y, LABELS]), ask(codec, "label", "Y", binary=True), 1, 3)
    assert document_of(answer)["outputs"] == [
        {
            "name": "label",
            "datatype": "INT64",
            "shape": [2],
            "parameters": {"binary_data_size": 16},
        },
        {"name": "Y", "datatype": "FP32", "shape": [2, 2], "parameters": {"binary_data_size": 16}},
    ]
    assert tail_of(answer) == LABELS[1:3].tobytes() + Y[1:3].tobytes()


def test_json_and_binary_outputs_mix():
    codec = plain_codec()
    outputs = [{"name": "Y", "parameters": {"binary_data": True}}, {"name": "label"}]
    asked = codec.decode(request(outputs=outputs, id="i"), None)
    answer = codec.answer(codec.render([Y, LABELS]), asked, 0, 1)
    document = document_of(answer)
    assert document["outputs"][0]["parameters"] == {"binary_data_size": 8}
    assert (document["outputs"][1]["data"], document["id"]) == ([7], "i")
    assert tail_of(answer) == Y[:1].tobytes()


@pytest.mark.parametrize("datatype", ["FP16", "BF16", "BOOL"])
def test_datatypes_keep_their_bits(datatype):
    codec = codec_of([spec("X", "FP32", -1, 3)], [spec("Y", datatype, -1, 2)])
    values = np.array([[0, 1], [1, 0]]).astype(DTYPES[datatype])
    answer = codec.answer(codec.render([values]), ask(codec, "Y", binary=True), 1, 2)
    assert tail_of(answer) == values[1].tobytes()


def test_binary_strings_are_length_prefixed():
    codec = codec_of([spec("X", "FP32", -1, 3)], [spec("S", "BYTES", -1, 2)])
    values = objects([b"a", b"", b"\xff\0", b"bc"], 2, 2)
    answer = codec.answer(codec.render([values]), ask(codec, "S", binary=True), 1, 2)
    assert tail_of(answer) == strings(b"\xff\0", b"bc")
    assert document_of(answer)["outputs"][0]["parameters"] == {"binary_data_size": 12}


def test_nothing_but_empty_binary_outputs_is_plain_json():
    codec = codec_of(
        [spec("X", "FP32", -1, 3)], [spec("A", "FP32", -1, -1), spec("S", "BYTES", -1, -1)]
    )
    outputs = [np.zeros((1, 0), "<f4"), objects([], 1, 0)]
    for names in (["A"], ["S"], ["A", "S"]):
        answer = codec.answer(codec.render(outputs), ask(codec, *names, binary=True), 0, 1)
        assert answer[1] is None
        assert document_of(answer)["outputs"][0]["parameters"] == {"binary_data_size": 0}


# ---- classification ------------------------------------------------------------------------------


def classified(values, classes: int, datatype: str = "FP32", labels=(), batched: bool = True):
    trailing = values.shape[1:] if batched else values.shape
    shape = (-1, *trailing) if batched else trailing
    inputs = [spec("X", "FP32", -1, 3)] if batched else [spec("X", "FP32", 1, 3)]
    codec = codec_of(inputs, [spec("Y", datatype, *shape, labels=labels)], batched)
    answer = codec.answer(
        codec.render([values]), ask(codec, "Y", classes=classes), 0, len(values) if batched else 1
    )
    output = document_of(answer)["outputs"][0]
    assert output["datatype"] == "BYTES"
    return output["shape"], output["data"]


def test_the_highest_values_are_named_with_their_place_and_label():
    values = np.array([[0.25, 0.5, 0.125], [3, 1, 2]], "<f4")
    assert classified(values, 2, labels=("cat", "dog")) == (
        [2, 2],
        ["0.500000:1:dog", "0.250000:0:cat", "3.000000:0:cat", "2.000000:2"],
    )


def test_more_classes_than_values_gives_all_values():
    assert classified(np.array([[1, 2]], "<i8"), 9, "INT64") == ([1, 2], ["2:1", "1:0"])


def test_without_batching_the_whole_output_is_ranked():
    values = np.array([[1, 5], [7, 2]], "<f8")
    assert classified(values, 2, "FP64", batched=False) == ([2], ["7.000000:2", "5.000000:1"])


def test_all_values_of_a_row_are_ranked_together():
    values = np.arange(8, dtype="<u1").reshape(2, 2, 2)
    assert classified(values, 1, "UINT8") == ([2, 1], ["3:3", "7:3"])


def test_equal_values_keep_their_order_and_nan_comes_last():
    values = np.array([[1, math.nan, 2, 2, -math.inf]], "<f4")
    _, named = classified(values, 5)
    assert [name.split(":")[1] for name in named] == ["2", "3", "0", "4", "1"]


@pytest.mark.parametrize("datatype", ["INT8", "UINT64"])
def test_the_ends_of_a_range_are_ranked_right(datatype):
    info = np.iinfo(DTYPES[datatype])
    values = np.array([[0, info.max, info.min, 1]], DTYPES[datatype])
    _, named = classified(values, 2, datatype)
    assert named == [f"{info.max}:1", "1:3"]


def test_half_precision_outputs_are_ranked_by_value():
    _, half = classified(np.array([[0.5, 1.5]], "<f2"), 1, "FP16")
    brain = (np.array([[0.5, 1.5]], "<f4").view("<u4") >> 16).astype("<u2")
    _, brained = classified(brain, 1, "BF16")
    assert half == brained == ["1.500000:1"]


def test_classes_may_be_asked_for_in_binary():
    codec = codec_of([spec("X", "FP32", -1, 3)], [spec("Y", "FP32", -1, 2)])
    asked = ask(codec, "Y", classes=1, binary=True)
    answer = codec.answer(codec.render([Y]), asked, 1, 2)
    assert tail_of(answer) == strings(b"4.000000:1")
    assert document_of(answer)["outputs"][0]["shape"] == [1, 1]
