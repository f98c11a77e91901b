"""The Open Inference Protocol over plain HTTP: exact bodies, binary tensors, content codings."""

from __future__ import annotations

import gzip
import json
import math
import zlib

import numpy as np
import pytest

from tests.end_to_end.server import RunningServer
from tests.end_to_end.speech import ROW, error, infer, outputs
from tests.end_to_end.zoo import asked, tensor
from tests.models.builders import identity, save


@pytest.fixture(scope="module")
def server(zoo_server: RunningServer) -> RunningServer:
    return zoo_server


# ---- bodies -------------------------------------------------------------------------------------


def test_an_answer_has_flat_data_and_a_version_that_is_a_string(server):
    request = asked(tensor("x", np.arange(8).reshape(2, 4), "FP32"))
    answer = infer(server, "echo", request)
    assert answer.json() == {
        "model_name": "echo",
        "model_version": "1",
        "outputs": [
            {
                "name": "y",
                "datatype": "FP32",
                "shape": [2, 4],
                "data": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
            }
        ],
    }


def test_data_may_be_nested_or_flat(server):
    flat = {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}
    nested = {**flat, "data": [[1, 2], [3, 4]]}
    bodies = [infer(server, "echo", asked(one)).body for one in (flat, nested)]
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/octet-stream"])
def test_the_content_type_decides_nothing(server, content_type):
    headers = {} if content_type is None else {"Content_Type": content_type}
    assert infer(server, "linear", asked(ROW), **headers).status == 200


def test_only_the_outputs_that_were_asked_for_come_back_in_their_order(server):
    left, right = tensor("INPUT0", [[5] * 16], "INT32"), tensor("INPUT1", [[3] * 16], "INT32")
    one = infer(server, "sums", asked(left, right, outputs=[{"name": "OUTPUT1"}]))
    assert outputs(one) == {"OUTPUT1": [2] * 16}
    both = infer(
        server, "sums", asked(left, right, outputs=[{"name": "OUTPUT1"}, {"name": "OUTPUT0"}])
    )
    assert list(outputs(both)) == ["OUTPUT1", "OUTPUT0"]


def test_numbers_that_are_not_finite_survive_both_ways(server):
    body = (
        b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32",'
        b'"data":[NaN,Infinity,-Infinity,1.5]}]}'
    )
    answer = infer(server, "echo", body)
    assert b'"data":[NaN,Infinity,-Infinity,1.5]' in answer.body
    assert math.isnan(answer.json()["outputs"][0]["data"][0])


def test_floats_come_back_as_the_shortest_text_of_their_type(server):
    answer = infer(server, "echo", asked(tensor("x", [[0.1, 1e-40, 16777217]], "FP32")))
    assert b"[0.1,1e-40,16777216.0]" in answer.body


def test_scikit_learns_zipmap_is_a_plain_tensor_with_labels_in_the_metadata(server):
    metadata = server.get("/v2/models/flowers").json()
    assert metadata["outputs"] == [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]}]
    labels = json.loads(metadata["properties"]["probabilities.labels"])
    assert labels == ["iris", "rose", "tulip"]
    (answer,) = infer(server, "flowers", asked(tensor("x", [[1, 1, 2], [3, 1, 0]], "FP32"))).json()[
        "outputs"
    ]
    assert (answer["shape"], answer["data"]) == ([2, 3], [0.25, 0.25, 0.5, 0.75, 0.25, 0.0])


@pytest.mark.parametrize(
    ("model", "array"),
    [
        pytest.param("fixed", np.ones((2, 3)), id="fixed"),
        pytest.param("scalarless", np.ones(3), id="absent"),
        pytest.param("echo", np.ones((5, 7)), id="dynamic"),
    ],
)
def test_any_batch_dimension_is_served(server, model, array):
    (output,) = infer(server, model, asked(tensor("x", array, "FP32"))).json()["outputs"]
    assert (output["shape"], output["data"]) == (list(array.shape), array.ravel().tolist())


def test_a_fixed_batch_dimension_takes_nothing_else(server):
    answer = infer(server, "fixed", asked(tensor("x", np.ones((1, 3)), "FP32")))
    assert answer.status == 400
    assert error(answer) == (
        "unexpected shape for input 'x' of model 'fixed': expected [2, 3], got [1, 3]"
    )


def test_a_model_without_a_batch_dimension_and_one_that_never_batches(start, tmp_path):
    save(tmp_path / "models" / "alone" / "1", identity())
    config = "models: {alone: {max_batch_size: 0}}"
    server = start(tmp_path / "models", "--workers", "1", config=config)
    many = np.ones((300, 4))
    assert len(outputs(infer(server, "alone", asked(tensor("x", many, "FP32"))))["y"]) == 1200
    assert server.get("/v2/models/alone/config").json()["max_batch_size"] == 0


@pytest.mark.parametrize(("length", "seen"), [(1, 4), (4, 4), (5, 8), (8, 8), (9, 9)])
def test_padding_fills_up_to_the_bucket_and_is_cut_off_again(server, length, seen):
    row = list(range(length))
    answer = outputs(infer(server, "padded", asked(tensor("x", [row], "FP32"))))
    assert answer == {"y": row, "seen": [seen]}


def test_strings_that_are_not_utf8_are_asked_for_in_binary(server):
    head = json.dumps(
        asked(
            {
                "name": "x",
                "shape": [1, 1],
                "datatype": "BYTES",
                "parameters": {"binary_data_size": 6},
            }
        )
    ).encode()
    answer = infer(
        server,
        "words",
        head + b"\x02\x00\x00\x00\xff\xfe",
        Inference_Header_Content_Length=str(len(head)),
    )
    assert answer.status == 400
    assert "UTF-8" in error(answer)


# ---- binary tensors -----------------------------------------------------------------------------


def test_a_binary_answer_says_where_its_json_ends(server):
    request = asked(ROW, outputs=[{"name": "y", "parameters": {"binary_data": True}}])
    answer = infer(server, "echo", request)
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers["inference-header-content-length"])
    head, data = json.loads(answer.body[:length]), answer.body[length:]
    assert head["outputs"] == [
        {
            "name": "y",
            "datatype": "FP32",
            "shape": [1, 4],
            "parameters": {"binary_data_size": 16},
        }
    ]
    assert np.frombuffer(data, "<f4").tolist() == [1, 2, 3, 4]


def test_a_raw_request_is_one_tensor_and_is_answered_in_binary(server):
    row = np.array([1, 2, 3, 4], "<f4").tobytes()
    answer = infer(server, "linear", row, Inference_Header_Content_Length="0")
    assert answer.status == 200
    length = int(answer.headers["inference-header-content-length"])
    assert len(answer.body) - length == 8


def test_an_outputs_own_flag_goes_before_the_requests(server):
    left, right = tensor("INPUT0", [[5] * 16], "INT32"), tensor("INPUT1", [[3] * 16], "INT32")
    request = asked(
        left,
        right,
        parameters={"binary_data_output": True},
        outputs=[
            {"name": "OUTPUT0", "parameters": {"binary_data": False}},
            {"name": "OUTPUT1"},
        ],
    )
    answer = infer(server, "sums", request)
    length = int(answer.headers["inference-header-content-length"])
    json_one, binary_one = json.loads(answer.body[:length])["outputs"]
    assert json_one["data"] == [8] * 16
    assert binary_one["parameters"] == {"binary_data_size": 64}


# ---- content codings ----------------------------------------------------------------------------

WIDE = asked(tensor("x", np.arange(4096).reshape(1, 4096), "FP32"))


def deflate_raw(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        pytest.param("gzip", gzip.compress, id="gzip"),
        pytest.param("GZip", gzip.compress, id="upper-case"),
        pytest.param("deflate", zlib.compress, id="deflate"),
        pytest.param("deflate", deflate_raw, id="raw-deflate"),
        pytest.param("identity", bytes, id="identity"),
    ],
)
def test_a_compressed_request_is_inflated(server, coding, pack):
    body = pack(json.dumps(asked(ROW)).encode())
    assert outputs(infer(server, "echo", body, Content_Encoding=coding)) == {"y": [1, 2, 3, 4]}


def test_a_compressed_index_request_is_inflated(server):
    answer = server.request(
        "POST", "/v2/repository/index", gzip.compress(b"{}"), {"Content-Encoding": "gzip"}
    )
    assert answer.status == 200


@pytest.mark.parametrize(
    ("accept", "coding", "unpack"),
    [
        ("gzip, deflate", "gzip", gzip.decompress),
        ("deflate", "deflate", zlib.decompress),
        ("gzip;q=0.1, deflate;q=0.9", "deflate", zlib.decompress),
        ("*", "gzip", gzip.decompress),
    ],
)
def test_a_large_answer_is_compressed_where_it_is_asked_for(server, accept, coding, unpack):
    plain = infer(server, "wide", WIDE)
    packed = infer(server, "wide", WIDE, Accept_Encoding=accept)
    assert packed.headers["content-encoding"] == coding
    assert packed.headers["vary"] == "accept-encoding"
    assert unpack(packed.body) == plain.body
    assert len(packed.body) < len(plain.body) / 2


@pytest.mark.parametrize(
    ("request_", "accept"),
    [
        pytest.param(WIDE, "identity", id="not-asked"),
        pytest.param(WIDE, "gzip;q=0", id="ruled-out"),
        pytest.param(WIDE, "br", id="another-coding"),
        pytest.param(asked(tensor("x", np.zeros((1, 4096)), "FP32"), id="s"), "", id="empty"),
    ],
)
def test_an_answer_is_not_compressed_unasked(server, request_, accept):
    answer = infer(server, "wide", request_, Accept_Encoding=accept)
    assert "content-encoding" not in answer.headers
    assert answer.json()["model_name"] == "wide"


def test_a_small_answer_is_never_compressed(server):
    answer = infer(server, "linear", asked(ROW), Accept_Encoding="gzip")
    assert "content-encoding" not in answer.headers


def test_an_unknown_content_coding_is_415_and_says_what_would_do(server):
    answer = infer(server, "linear", asked(ROW), Content_Encoding="br")
    assert (answer.status, answer.headers["accept-encoding"]) == (415, "gzip, deflate")
    assert error(answer) == "Content-Encoding: expected one of gzip or deflate, got 'br'"
