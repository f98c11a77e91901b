"""The Open Inference Protocol over plain HTTP: every route, every header, exact bodies."""

from __future__ import annotations

import gzip
import json
import math
import re
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from gateway import __version__
from tests.end_to_end import zoo
from tests.end_to_end.server import Answer, RunningServer, running
from tests.end_to_end.zoo import asked, tensor
from tests.models.builders import identity, linear, save

CONFIG = """
server: {compress_min_bytes: 8192}
models:
  padded: {padding: {buckets: [4, 8]}}
  slow: {max_batch_size: 1, max_queue_rows: 2}
  queueing: {max_batch_size: 1, timeout_ms: 40}
"""
ROW = tensor("x", [[1, 2, 3, 4]], "FP32")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("protocol")
    repository = zoo.build(folder / "repository")
    save(repository / "queueing" / "1", zoo.slow())
    with running(folder, repository, "--workers", "1", config=CONFIG) as started:
        yield started


def infer(server: RunningServer, model: str, request, **headers: str) -> Answer:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    return server.request("POST", f"/v2/models/{quote(model)}/infer", body, names)


def outputs(answer: Answer) -> dict[str, list]:
    assert answer.status == 200, answer.body
    return {output["name"]: output["data"] for output in answer.json()["outputs"]}


def error(answer: Answer) -> str:
    """The message of an error body, which has one key and is JSON."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"error"}
    return answer.json()["error"]


# ---- routes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2/health/live", b'{"live":true}'),
        ("/v2/health/ready", b'{"ready":true}'),
        ("/v2/models/linear/ready", b'{"name":"linear","ready":true}'),
        ("/v2/models/linear/versions/1/ready", b'{"name":"linear","ready":true}'),
    ],
)
def test_health(server, path, body):
    answer = server.get(path)
    assert (answer.status, answer.body) == (200, body)


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_server_metadata(server, path):
    metadata = server.get(path).json()
    extensions = metadata.pop("extensions")
    assert metadata == {"name": "penstock", "version": __version__}
    assert extensions == [
        "binary_tensor_data",
        "classification",
        "model_configuration",
        "model_repository",
        "parameters",
        "schedule_policy",
        "statistics",
    ]


@pytest.mark.parametrize("path", ["/v2/models/versions", "/v2/models/versions/versions/2"])
def test_model_metadata(server, path):
    assert server.get(path).json() == {
        "name": "versions",
        "versions": ["1", "2", "10"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}],
    }


@pytest.mark.parametrize("path", ["/v2/models/sums/config", "/v2/models/sums/versions/1/config"])
def test_model_configuration(server, path):
    config = server.get(path).json()
    assert (config["name"], config["platform"]) == ("sums", "onnxruntime_onnx")
    assert config["max_batch_size"] == 128
    assert [one["dims"] for one in config["input"]] == [[16], [16]]
    assert config["output"][0] == {"name": "OUTPUT0", "data_type": "TYPE_INT32", "dims": [16]}
    assert config["dynamic_batching"]["default_queue_policy"]["max_queue_size"] == 4096


@pytest.mark.parametrize(
    ("path", "versions"),
    [
        ("/v2/models/versions/stats", ["1", "2", "10"]),
        ("/v2/models/versions/versions/2/stats", ["2"]),
    ],
)
def test_statistics_have_an_entry_for_each_version_even_without_traffic(server, path, versions):
    entries = server.get(path).json()["model_stats"]
    assert [(entry["name"], entry["version"]) for entry in entries] == [
        ("versions", version) for version in versions
    ]
    assert entries[0]["inference_stats"].keys() == {
        "success",
        "fail",
        "queue",
        "compute_input",
        "compute_infer",
        "compute_output",
        "cache_hit",
        "cache_miss",
    }
    assert entries[0]["inference_stats"]["cache_hit"] == {"count": 0, "ns": 0}


@pytest.mark.parametrize("body", [b"", b"{}", b'{"ready": false}', b'{"ready": true}'])
def test_the_repository_index_is_a_bare_array(server, body):
    answer = server.request("POST", "/v2/repository/index", body)
    assert answer.status == 200
    assert {"name": "linear", "version": "1", "state": "READY"} in answer.json()


def test_the_index_says_what_was_wrong_with_its_request(server):
    answer = server.request("POST", "/v2/repository/index", b'{"ready": 1}')
    assert answer.status == 400
    assert "expected a boolean, got 1" in error(answer)


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/models/linear", "/v2/models/sums/config"])
def test_head_has_the_headers_of_get_and_no_body(server, path):
    got, head = server.get(path), server.request("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(got.body))
    assert head.headers["content-type"] == got.headers["content-type"]


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/linear/versions/" + "9" * 5000,
        "/",
        "/v1",
        "/v2/models",
        "/v2/nosuch",
        "/v2/models/linear/",
        "/v2/models/linear/versions",
        "/v2/models/linear/versions/1x",
        "/v2/models/linear/versions/-1",
        "/v2/models/linear/nosuch",
        "/v2//models/linear",
        "/v2/models/a%2Fb",
        "/v2/systemsharedmemory/status",
    ],
)
def test_a_path_that_is_not_served_is_404(server, path):
    answer = server.get(path)
    assert answer.status == 404
    assert error(answer) == "Not Found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v2/health/live", "GET, HEAD"),
        ("DELETE", "/v2/models/linear", "GET, HEAD"),
        ("GET", "/v2/models/linear/infer", "POST"),
        ("PUT", "/v2/models/linear/versions/1/infer", "POST"),
        ("GET", "/v2/repository/index", "POST"),
        ("GET", "/v2/repository/models/linear/load", "POST"),
        ("OPTIONS", "/v2", "GET, HEAD"),
    ],
)
def test_another_method_is_405_and_says_which_would_do(server, method, path, allowed):
    answer = server.request(method, path)
    assert (answer.status, answer.headers["allow"]) == (405, allowed)
    assert error(answer) == f"method: expected {allowed}, got {method}"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nosuch", "Request for unknown model: 'nosuch' is not found"),
        ("nosuch/config", "Request for unknown model: 'nosuch' is not found"),
        ("nosuch/stats", "Request for unknown model: 'nosuch' is not found"),
        ("nosuch/ready", "Request for unknown model: 'nosuch' is not found"),
        (
            "linear/versions/99",
            "Request for unknown model: 'linear' version 99 is not found; serving: 1",
        ),
    ],
)
def test_an_unknown_model_or_version_is_404(server, path, message):
    answer = server.get(f"/v2/models/{path}")
    assert (answer.status, error(answer)) == (404, message)


# ---- names and versions -------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1", "01", "0001"])
def test_a_version_may_have_leading_zeros(server, version):
    answer = infer(server, f"versions/versions/{version}", asked(tensor("x", [[3]], "FP32")))
    assert outputs(answer) == {"y": [3]}
    assert answer.json()["model_version"] == "1"


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(quote(zoo.ODD_NAME), id="quoted"),
        pytest.param(quote(zoo.ODD_NAME, safe="").lower(), id="lower-case"),
        pytest.param("caf%C3%A9%20%61%75%20lait", id="more-than-needed"),
    ],
)
def test_a_name_may_be_percent_encoded_in_any_way(server, written):
    answer = server.post(f"/v2/models/{written}/infer", asked(ROW))
    assert answer.json()["model_name"] == zoo.ODD_NAME
    assert server.get(f"/v2/models/{written}").json()["name"] == zoo.ODD_NAME


def test_a_name_with_dots_is_a_name(server):
    assert infer(server, "model..1", asked(ROW)).json()["model_name"] == "model..1"


def test_a_query_changes_nothing(server):
    path = "/v2/models/linear/infer?a=b&c"
    assert server.post(path, asked(ROW)).json()["outputs"][0]["shape"] == [1, 2]


# ---- request ids --------------------------------------------------------------------------------

OWN_ID = re.compile(r"[A-Za-z0-9-]+-0-1-[0-9a-f]+")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("POST", "/v2/models/linear/infer", asked(ROW), id="lane"),
        pytest.param("POST", "/v2/models/linear/infer", {}, id="lane-refused"),
        pytest.param("POST", "/v2/models/linear/versions/01/infer", asked(ROW), id="asgi"),
        pytest.param("POST", "/v2/models/linear/versions/01/infer", {}, id="asgi-refused"),
        pytest.param("GET", "/v2/health/live", None, id="health"),
        pytest.param("GET", "/nosuch", None, id="not-found"),
        pytest.param("PUT", "/v2", None, id="method"),
    ],
)
def test_every_answer_has_our_id_and_the_clients_back(server, method, path, body):
    content = b"" if body is None else json.dumps(body).encode()
    answers = [
        server.request(method, path, content, {"X-Request-ID": sent} if sent else {})
        for sent in ("", 'order 66/"~')
    ]
    ids = [answer.headers["penstock-request-id"] for answer in answers]
    assert all(OWN_ID.fullmatch(one) for one in ids)
    assert len(set(ids)) == 2
    assert "x-request-id" not in answers[0].headers
    assert answers[1].headers["x-request-id"] == 'order 66/"~'


@pytest.mark.parametrize("sent", ["7", "", '\u00e9 "quoted" \\ \u0001', "x" * 1000])
def test_the_protocols_id_is_echoed_as_sent(server, sent):
    assert infer(server, "linear", asked(ROW, id=sent)).json()["id"] == sent


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


# ---- waiting ------------------------------------------------------------------------------------

PEBBLE = tensor("x", [[1]], "FP32")


def at_once(server: RunningServer, model: str, requests: list) -> list[Answer]:
    with ThreadPoolExecutor(len(requests)) as clients:
        return list(clients.map(lambda one: infer(server, model, one), requests))


def test_a_timeout_that_cannot_be_met_is_refused_at_once(server):
    infer(server, "slow", asked(PEBBLE))
    answer = infer(server, "slow", asked(PEBBLE, parameters={"timeout": 10}))
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert "Request timeout expired" in error(answer)


def test_a_timeout_that_can_be_met_changes_nothing(server):
    assert infer(server, "slow", asked(PEBBLE, parameters={"timeout": 10_000_000})).status == 200


def test_a_models_own_timeout_bounds_the_wait(server):
    answers = at_once(server, "queueing", [asked(PEBBLE)] * 12)
    refused = [error(answer) for answer in answers if answer.status != 200]
    assert {answer.status for answer in answers} == {200, 503}
    assert all("Request timeout expired" in message for message in refused)


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(server):
    answers = at_once(server, "slow", [asked(PEBBLE)] * 12)
    refused = [answer for answer in answers if answer.status != 200]
    assert 1 <= len(refused) <= 9
    for answer in refused:
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert "model 'slow': Exceeds maximum queue size" in error(answer)


@pytest.mark.parametrize(
    "parameters",
    [
        {"priority": -1},
        {"priority": "1"},
        {"timeout": 1.5},
        {"timeout": -1},
        {"triton_secret": 1},
        {"binary_data_output": 1},
        {"nested": {}},
    ],
    ids=str,
)
def test_a_request_parameter_of_the_wrong_kind_is_named(server, parameters):
    answer = infer(server, "linear", asked(ROW, parameters=parameters))
    assert answer.status == 400
    assert next(iter(parameters)) in error(answer)


@pytest.mark.parametrize("priority", [0, 1, 2, 1000])
def test_any_priority_is_served(server, priority):
    assert infer(server, "linear", asked(ROW, parameters={"priority": priority})).status == 200


# ---- counting -----------------------------------------------------------------------------------


def test_statistics_tell_requests_from_rows(server):
    def counts() -> tuple[int, int, int, int]:
        (entry,) = server.get("/v2/models/model..1/stats").json()["model_stats"]
        stats = entry["inference_stats"]
        batches = sum(size["compute_infer"]["count"] for size in entry["batch_stats"])
        return stats["success"]["count"], entry["inference_count"], stats["fail"]["count"], batches

    before = counts()
    for rows in (1, 2, 5):
        infer(server, "model..1", asked(tensor("x", np.ones((rows, 4)), "FP32")))
    infer(server, "model..1", {})
    assert [now - then for now, then in zip(counts(), before, strict=True)] == [3, 8, 1, 3]


# ---- readiness ----------------------------------------------------------------------------------


@pytest.fixture
def broken_repository(tmp_path: Path) -> Path:
    repository = tmp_path / "repository"
    save(repository / "good" / "1", linear())
    (repository / "bad" / "1").mkdir(parents=True)
    (repository / "bad" / "1" / "model.onnx").write_bytes(b"no model")
    return repository


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param("", (200, b'{"ready":true}'), id="any-model-is-enough"),
        pytest.param("ready: all", (400, b'{"ready":false}'), id="all-are-wanted"),
        pytest.param(
            "ready: all, not_ready_status: 503", (503, b'{"ready":false}'), id="another-status"
        ),
    ],
)
def test_a_server_with_a_model_that_failed(start, broken_repository, settings, expected):
    config = f"server: {{{settings}}}"
    server = start(broken_repository, "--workers", "1", config=config, ready=False)
    ready = server.get("/v2/health/ready")
    assert (ready.status, ready.body) == expected
    assert server.get("/v2/health/live").status == 200
    assert infer(server, "good", asked(ROW)).status == 200
    status = 503 if "503" in settings else 400
    for path in ("/v2/models/bad/ready", "/v2/models/bad/versions/1/ready"):
        answer = server.get(path)
        assert answer.status == status
        assert "model.onnx" in error(answer)
    infers = [infer(server, name, asked(ROW)) for name in ("bad", "bad/versions/1")]
    assert [answer.status for answer in infers] == [404, 503]
    assert "has no available versions" in error(infers[0])
    assert "version 1 is not at ready state" in error(infers[1])


def test_a_file_that_is_not_there_is_told_without_its_folder(start, tmp_path):
    server = start(tmp_path / "private" / "gone.onnx", "--workers", "1", ready=False)
    (entry,) = server.post("/v2/repository/index").json()
    assert entry == {
        "name": "gone",
        "version": "1",
        "state": "UNAVAILABLE",
        "reason": "gone.onnx: no such file",
    }


def test_a_model_without_a_batch_dimension_and_one_that_never_batches(start, tmp_path):
    save(tmp_path / "models" / "alone" / "1", identity())
    config = "models: {alone: {max_batch_size: 0}}"
    server = start(tmp_path / "models", "--workers", "1", config=config)
    many = np.ones((300, 4))
    assert len(outputs(infer(server, "alone", asked(tensor("x", many, "FP32"))))["y"]) == 1200
    assert server.get("/v2/models/alone/config").json()["max_batch_size"] == 0
