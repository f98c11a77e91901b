"""The stock client's own request builder and result parser against the codec, without a server."""

from __future__ import annotations

import numpy as np
import pytest

from tests.wire.oip_rig import codec_of, objects, spec

http = pytest.importorskip("tritonclient.http")

NUMPY = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "BYTES": np.object_,
}


def values_of(datatype: str):
    if datatype == "BYTES":
        return objects([b"a", b"", "h\u00e9".encode(), b"d"], 2, 2)
    return np.array([[0, 1], [1, 0]]).astype(NUMPY[datatype])


def infer_input(name: str, datatype: str, values, binary: bool):
    tensor = http.InferInput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(values, binary_data=binary)
    return tensor


def ask(codec, inputs, **extra):
    body, length = http.InferenceServerClient.generate_request_body(inputs, **extra)
    return codec.decode(body, length)


def parsed(codec, outputs, read, start: int, stop: int):
    body, length = codec.answer(codec.render(outputs), read, start, stop)
    return http.InferenceServerClient.parse_response_body(body, header_length=length)


# FP16 has no JSON form, and the client refuses to build one.
FORMS = [(datatype, binary) for datatype in sorted(NUMPY) for binary in (True, False)]
FORMS.remove(("FP16", False))


@pytest.mark.parametrize(("datatype", "binary"), FORMS)
def test_every_datatype_passes_there_and_back(datatype, binary):
    values = values_of(datatype)
    codec = codec_of([spec("X", datatype, -1, 2)], [spec("Y", datatype, -1, 2)])
    wanted = [http.InferRequestedOutput("Y", binary_data=binary)]
    read = ask(codec, [infer_input("X", datatype, values, binary)], outputs=wanted)
    assert read.inputs[0].tolist() == values.tolist()
    result = parsed(codec, [read.inputs[0]], read, 0, 2)
    back = result.as_numpy("Y")
    expected = values
    if datatype == "BYTES" and not binary:
        expected = np.array([element.decode() for element in values.ravel()]).reshape(2, 2)
    assert back.tolist() == expected.tolist()


def test_several_mixed_inputs_and_the_clients_defaults():
    codec = codec_of(
        [spec("A", "FP32", -1, 2), spec("B", "BYTES", -1, 2), spec("C", "INT8", -1, 2)],
        [spec("Y", "FP32", -1, 2), spec("N", "INT64", -1)],
    )
    inputs = [
        infer_input("C", "INT8", values_of("INT8"), True),
        infer_input("A", "FP32", values_of("FP32"), False),
        infer_input("B", "BYTES", values_of("BYTES"), True),
    ]
    read = ask(codec, inputs, request_id="mine", priority=2, timeout=7000)
    assert [array.tolist() for array in read.inputs] == [
        values_of(datatype).tolist() for datatype in ("FP32", "BYTES", "INT8")
    ]
    assert (read.id, read.priority, read.timeout_us) == ("mine", 2, 7000)
    assert [wish.binary for wish in read.choice.wanted] == [True, True]
    outputs = [np.arange(8, dtype="<f4").reshape(4, 2), np.arange(4, dtype="<i8")]
    result = parsed(codec, outputs, read, 1, 3)
    assert result.as_numpy("Y").tolist() == outputs[0][1:3].tolist()
    assert result.as_numpy("N").tolist() == [1, 2]
    assert result.get_response()["id"] == "mine"


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_classification_as_the_client_asks_for_it(binary):
    codec = codec_of([spec("X", "FP32", -1, 2)], [spec("Y", "FP32", -1, 3, labels=("a", "b", "c"))])
    wanted = [http.InferRequestedOutput("Y", binary_data=binary, class_count=2)]
    read = ask(codec, [infer_input("X", "FP32", values_of("FP32"), True)], outputs=wanted)
    scores = np.array([[0.5, 0.25, 0.75], [3, 2, 1]], "<f4")
    names = parsed(codec, [scores], read, 0, 2).as_numpy("Y")
    texts = [name.decode() if isinstance(name, bytes) else name for name in names.ravel()]
    assert names.shape == (2, 2)
    assert texts == ["0.750000:2:c", "0.500000:0:a", "3.000000:0:a", "2.000000:1:b"]
