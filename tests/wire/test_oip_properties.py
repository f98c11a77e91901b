"""Laws that hold for any tensor and any bytes."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import numpy as np
import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gateway.errors import InvalidRequest
from gateway.tensors import DTYPES
from gateway.wire.oip.binary import parse_header_length
from gateway.wire.oip.codec import Codec
from gateway.wire.oip.repository import read_index_request, read_load_request
from tests.wire.oip_rig import (
    codec_of,
    document_of,
    plain_codec,
    spec,
    strings,
    tail_of,
    with_binary,
)

quick = settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
JSON_TYPES = sorted(set(DTYPES) - {"FP16", "BF16"})


@st.composite
def tensors(draw: st.DrawFn, datatypes: list[str], text: bool) -> tuple[str, Any]:
    """A datatype and an array of it, with at least one row."""
    datatype = draw(st.sampled_from(datatypes))
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4))
    shape = (max(shape[0], 1), *shape[1:])
    if datatype == "BYTES":
        characters = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
        element = characters.map(str.encode) if text else st.binary(max_size=6)
        count = math.prod(shape)
        array = np.empty(count, object)
        array[:] = draw(st.lists(element, min_size=count, max_size=count))
        return datatype, array.reshape(shape)
    return datatype, draw(hnp.arrays(DTYPES[datatype], shape))


def echo_codec(datatype: str, shape: tuple[int, ...]) -> Codec:
    tensor = [-1] * len(shape)
    return codec_of([spec("X", datatype, *tensor)], [spec("Y", datatype, *tensor)])


def plain(values: Any) -> Any:
    if values.dtype == object:
        return [element.decode() for element in values.ravel()]
    return values.ravel().tolist()


def same(left: Any, right: Any) -> bool:
    """Equal bit for bit, but for the bits inside a NaN, which JSON cannot carry."""
    if left.dtype.kind == "f" and left.dtype == right.dtype:
        return left.shape == right.shape and np.array_equal(left, right, equal_nan=True)
    return left.shape == right.shape and left.tolist() == right.tolist()


@quick
@given(tensors(JSON_TYPES, text=True), st.booleans())
def test_json_round_trips_any_tensor(tensor, nested):
    datatype, values = tensor
    codec = echo_codec(datatype, values.shape)
    flat = plain(values)
    data = np.array(flat, object).reshape(values.shape).tolist() if nested and flat else flat
    shape = list(values.shape)
    document = {"inputs": [{"name": "X", "datatype": datatype, "shape": shape, "data": data}]}
    read = codec.decode(json.dumps(document).encode(), None)
    assert same(read.inputs[0], values)
    body, length = codec.answer(codec.render(read.inputs), read, 0, read.rows)
    assert length is None
    output = json.loads(body)["outputs"][0]
    assert output["shape"] == shape
    echoed = {"inputs": [{"name": "X", **{k: output[k] for k in ("datatype", "shape", "data")}}]}
    assert same(codec.decode(json.dumps(echoed).encode(), None).inputs[0], values)


@quick
@given(tensors(sorted(DTYPES), text=False))
def test_binary_round_trips_any_tensor_bit_for_bit(tensor):
    datatype, values = tensor
    codec = echo_codec(datatype, values.shape)
    blob = strings(*values.ravel()) if datatype == "BYTES" else values.tobytes()
    document = {
        "inputs": [
            {
                "name": "X",
                "datatype": datatype,
                "shape": list(values.shape),
                "parameters": {"binary_data_size": len(blob)},
            }
        ],
        "parameters": {"binary_data_output": True},
    }
    read = codec.decode(*with_binary(document, blob))
    answer = codec.answer(codec.render(read.inputs), read, 0, read.rows)
    assert tail_of(answer) == blob
    assert document_of(answer)["outputs"][0]["shape"] == list(values.shape)


@quick
@given(hnp.arrays(np.float32, (5, 3)), st.lists(st.integers(1, 3), min_size=1, max_size=4))
def test_a_batch_is_cut_into_its_riders_without_loss(values, sizes):
    codec = codec_of([spec("X", "FP32", -1, 3)], [spec("Y", "FP32", -1, 3)])
    read = codec.decode(
        b'{"inputs":[{"name":"X","datatype":"FP32","shape":[1,3],"data":[1,2,3]}]}', None
    )
    rendered = codec.render([values])
    start = 0
    for size in sizes:
        stop = min(start + size, 5)
        if start == stop:
            break
        body, _ = codec.answer(rendered, read, start, stop)
        output = json.loads(body)["outputs"][0]
        assert output["shape"] == [stop - start, 3]
        np.testing.assert_array_equal(
            np.array(output["data"], np.float32), values[start:stop].ravel()
        )
        start = stop


# ---- nothing but refusals ------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)
NAMES = st.sampled_from(["X", "Y", "label", "", "Z", "FP32", "INT64"])
PARAMETERS = st.dictionaries(
    st.sampled_from(["binary_data_size", "binary_data", "classification", "priority", "timeout"])
    | st.text(max_size=5),
    JSON,
)
TENSORS = st.fixed_dictionaries(
    {},
    optional={
        "name": NAMES | JSON,
        "datatype": NAMES | JSON,
        "shape": st.just([1, 3]) | st.lists(st.integers(-2, 4) | JSON, max_size=4) | JSON,
        "data": st.lists(st.floats() | st.integers(), min_size=3, max_size=3) | JSON,
        "parameters": PARAMETERS | JSON,
    },
)
REQUESTS = st.fixed_dictionaries(
    {"inputs": st.lists(TENSORS, max_size=2) | JSON},
    optional={
        "id": st.text(max_size=4) | JSON,
        "parameters": PARAMETERS | JSON,
        "outputs": st.lists(TENSORS, max_size=3) | JSON,
    },
)


def decodes_or_refuses(body: bytes, header_length: int | None) -> None:
    codec = plain_codec()
    for _ in range(3):
        with contextlib.suppress(InvalidRequest):
            read = codec.decode(body, header_length)
            outputs = [np.zeros((read.rows, 2), "<f4"), np.zeros(read.rows, "<i8")]
            document_of(codec.answer(codec.render(outputs), read, 0, read.rows))


@settings(max_examples=300)
@given(st.binary(max_size=200), st.none() | st.integers(0, 40))
def test_arbitrary_bytes_are_read_or_refused(body, header_length):
    decodes_or_refuses(body, header_length)
    for read in (read_index_request, read_load_request):
        with contextlib.suppress(InvalidRequest):
            read(body)


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(REQUESTS | JSON, st.binary(max_size=16))
def test_arbitrary_documents_are_read_or_refused(document, tail):
    text = json.dumps(document).encode()
    decodes_or_refuses(text, None)
    decodes_or_refuses(text + tail, len(text))
    with contextlib.suppress(InvalidRequest):
        read_load_request(text)


@quick
@given(st.binary(max_size=12), st.integers(0, 100))
def test_a_header_length_is_within_the_body_or_refused(value, body_length):
    with contextlib.suppress(InvalidRequest):
        assert 0 <= parse_header_length(value, body_length) <= body_length


@quick
@given(st.floats(width=32), st.floats())
def test_numbers_are_what_python_reads_rounded_once(single, double):
    for datatype, value in (("FP32", single), ("FP64", double), ("FP32", double)):
        codec = codec_of([spec("X", datatype, -1)])
        text = orjson.dumps(value).decode() if math.isfinite(value) else json.dumps(value)
        body = b'{"inputs":[{"name":"X","datatype":"%b","shape":[1],"data":[%b]}]}' % (
            datatype.encode(),
            text.encode(),
        )
        dtype = DTYPES[datatype]
        with np.errstate(over="ignore"):
            expected = np.array(float(text)).astype(dtype)
        if math.isfinite(value) and not np.isfinite(expected):
            with contextlib.suppress(InvalidRequest):
                codec.decode(body, None)
                raise AssertionError(f"{text} was taken for {datatype}")
            continue
        np.testing.assert_array_equal(codec.decode(body, None).inputs[0][0], expected)
