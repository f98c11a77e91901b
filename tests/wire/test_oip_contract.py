"""The ten mistakes that servers of this protocol make, as far as bytes are concerned.

Mistakes 1, 9 and 10 are statuses, paths and health bodies, mistake 8 is a counter: they are tested
where those are made.
"""

from __future__ import annotations

import json
import math

import numpy as np
import orjson
import pytest

from gateway.errors import WrongOutputs
from gateway.wire.answers import error_body
from gateway.wire.oip.binary import parse_header_length
from tests.wire.oip_rig import (
    binary_tensor,
    codec_of,
    document_of,
    objects,
    plain_codec,
    request,
    spec,
    strings,
    tail_of,
    tensor,
    with_binary,
)


def test_contract_02_errors_have_the_one_key_error():
    assert orjson.loads(error_body("why")) == {"error": "why"}


def test_contract_03_the_header_length_alone_decides_how_a_body_is_read():
    numbers = np.array([1, 2, 3], "<f4").tobytes()
    body, length = with_binary({"inputs": [binary_tensor(12)]}, numbers)
    declared = parse_header_length(b"%d" % length, len(body))
    assert plain_codec().decode(body, declared).inputs[0].tolist() == [[1, 2, 3]]
    assert plain_codec().decode(request(), None).inputs[0].tolist() == [[1, 2, 3]]


def test_contract_04_output_data_is_flat_whatever_the_shape():
    codec = codec_of([spec("X", "FP32", -1, 3)], [spec("Y", "INT64", -1, 2, 2)])
    rendered = codec.render([np.arange(8, dtype="<i8").reshape(2, 2, 2)])
    output = document_of(codec.answer(rendered, codec.decode(request(), None), 0, 2))["outputs"][0]
    assert (output["shape"], output["data"]) == ([2, 2, 2], list(range(8)))


@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
def test_contract_05_non_finite_values_survive_both_ways(datatype):
    codec = codec_of([spec("X", datatype, -1, 4)], [spec("Y", datatype, -1, 4)])
    values = [math.nan, math.inf, -math.inf, 0.5]
    body = json.dumps({"inputs": [tensor(datatype=datatype, shape=[1, 4], data=values)]}).encode()
    read = codec.decode(body, None)
    np.testing.assert_array_equal(read.inputs[0], [values])
    answer, _ = codec.answer(codec.render([read.inputs[0]]), read, 0, 1)
    np.testing.assert_array_equal(json.loads(answer)["outputs"][0]["data"], values)
    assert b"[NaN,Infinity,-Infinity,0.5]" in answer
    blob = np.array([values], read.inputs[0].dtype).tobytes()
    document = {
        "inputs": [binary_tensor(len(blob), datatype=datatype, shape=[1, 4])],
        "parameters": {"binary_data_output": True},
    }
    again = codec.decode(*with_binary(document, blob))
    assert tail_of(codec.answer(codec.render([again.inputs[0]]), again, 0, 1)) == blob


def test_contract_06_the_model_version_is_a_string():
    codec = plain_codec()
    rendered = codec.render([np.zeros((1, 2), "<f4"), np.zeros(1, "<i8")])
    read = codec.decode(request(), None)
    assert document_of(codec.answer(rendered, read, 0, 1))["model_version"] == "3"


def test_contract_07_bytes_keep_their_prefix_and_are_not_decoded():
    codec = codec_of([spec("X", "BYTES", -1, 1)], [spec("Y", "BYTES", -1, 1)])
    blob = strings(b"\xff\xfe")
    document = {
        "inputs": [binary_tensor(len(blob), datatype="BYTES", shape=[1, 1])],
        "outputs": [{"name": "Y", "parameters": {"binary_data": True}}],
    }
    read = codec.decode(*with_binary(document, blob))
    assert read.inputs[0].tolist() == [[b"\xff\xfe"]]
    rendered = codec.render([objects([b"\xff\xfe"], 1, 1)])
    assert tail_of(codec.answer(rendered, read, 0, 1)) == blob
    as_text = codec.decode(
        request(tensor(datatype="BYTES", shape=[1, 1], data=["a"]), outputs=[{"name": "Y"}]), None
    )
    with pytest.raises(WrongOutputs):
        codec.answer(rendered, as_text, 0, 1)
