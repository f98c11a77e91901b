"""The Open Inference Protocol over plain HTTP: every route, name, version and request id."""

from __future__ import annotations

import json
import re
from urllib.parse import quote, unquote

import pytest

from gateway import __version__
from tests.end_to_end import zoo
from tests.end_to_end.server import RunningServer
from tests.end_to_end.speech import ROW, error, infer, outputs
from tests.end_to_end.zoo import asked, tensor


@pytest.fixture(scope="module")
def server(zoo_server: RunningServer) -> RunningServer:
    return zoo_server


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
    assert error(answer) == f"GET {unquote(path)[:200]}: nothing is served here"


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
