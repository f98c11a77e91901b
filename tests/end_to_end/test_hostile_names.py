"""Hostile names, versions and model files: refused, and told without what is inside."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.end_to_end.hostility import GOOD, INSIDES, Connection, told
from tests.end_to_end.server import RunningServer


@pytest.fixture
def server(unharmed: RunningServer) -> RunningServer:
    return unharmed


# ---- names and paths ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["..", "%2e%2e", "%00", "%0a", "a" * 300, "%20", "%ff%fe", "%F0%9F", "%"],
    ids=lambda name: name[:10],
)
def test_a_hostile_name_is_404_wherever_a_model_is_asked_for(server, name):
    for method, rest in (("GET", ""), ("GET", "/ready"), ("GET", "/config"), ("POST", "/infer")):
        answer = server.request(method, f"/v2/models/{name}{rest}", GOOD if rest else None)
        assert answer.status in (400, 404)
        assert told(answer)


@pytest.mark.parametrize("version", ["9" * 30, "0", "1%2e0", "%00", "..", "1%20", "\u0661"])
def test_a_hostile_version_is_404(server, version):
    path = f"/v2/models/linear/versions/{version}".encode().decode("latin-1")
    with Connection(server) as client:
        answer = client.ask(f"GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")
    assert answer.status in (400, 404)
    assert told(answer)


@pytest.mark.parametrize(
    ("name", "status", "phrase"),
    [
        ("..", 400, "model name must not contain path traversal characters"),
        ("%2e%2e", 400, "model name must not contain path traversal characters"),
        ("..%2f..%2fetc%2fpasswd", 400, "model name must not contain path traversal characters"),
        ("%2fetc%2fpasswd", 400, "model name must not contain path traversal characters"),
        ("..%5c..%5cwindows", 400, "model name must not contain path traversal characters"),
        ("a%2f%2e%2e%2fgood", 400, "model name must not contain path traversal characters"),
        ("%00", 400, "model name must not contain control characters"),
        ("good%00.onnx", 400, "model name must not contain control characters"),
        ("a%0dSet-Cookie:b", 400, "model name must not contain control characters"),
        ("a" * 300, 400, "at most 200 characters, got 300"),
        ("%20", 400, "model name must not be empty"),
        ("...", 404, "failed to load '...', failed to poll from model repository"),
    ],
)
def test_a_hostile_name_cannot_be_loaded(server, name, status, phrase):
    answer = server.post(f"/v2/repository/models/{name}/load")
    assert answer.status == status
    assert phrase in told(answer)
    unload = server.post(f"/v2/repository/models/{name}/unload")
    assert unload.status == (status if status == 400 else 200)


@pytest.mark.parametrize(
    ("body", "status", "phrase"),
    [
        (b"[" * 60_000, 400, "nesting depth exceeds"),
        (b"[]", 400, "expected an object"),
        (b'{"parameters":{"config":"{}"}}', 400, "'config'"),
        (b'{"parameters":{"file:1/model.onnx":"AAAA"}}', 400, "'file:1/model.onnx'"),
        (b'{"parameters":{"file:../../x":"AAAA"}}', 400, "'file:../../x'"),
        (b" " * 100_000, 413, "expected at most 65536 bytes"),
    ],
    ids=["deep", "array", "config", "file", "file-traversal", "large"],
)
def test_a_hostile_load_request(server, body, status, phrase):
    answer = server.request("POST", "/v2/repository/models/linear/load", body)
    assert answer.status == status
    assert phrase in told(answer)


def test_a_deep_index_request(server):
    answer = server.request("POST", "/v2/repository/index", b"[" * 60_000)
    assert (answer.status, "nesting depth" in told(answer)) == (400, True)
    larger = server.request("POST", "/v2/repository/index", b"[" * 250_000)
    assert larger.status == 413


# ---- models -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("corrupt", "corrupt"),
        ("truncated", "corrupt"),
        ("empty", "not an ONNX model"),
        ("outside", "wanted a file inside the model's folder"),
        ("absolute", "wanted a file inside the model's folder"),
        ("linked", "wanted a file inside the model's folder"),
        ("unknown_op", "NoSuchOp"),
    ],
)
def test_a_hostile_onnx_file_is_refused_and_the_index_says_why(server, name, reason):
    index: Callable[[], list] = server.post("/v2/repository/index").json
    (entry,) = [entry for entry in index() if entry["name"] == name]
    assert entry["state"] == "UNAVAILABLE"
    assert reason in entry["reason"]
    assert not INSIDES.search(entry["reason"])
    answer = server.post(f"/v2/repository/models/{name}/load")
    assert answer.status == 422
    assert reason in told(answer)
    assert server.get(f"/v2/models/{name}").status == 404
    assert "secret" not in server.get("/v2/models/good").body.decode()


def test_a_good_model_among_hostile_ones_serves(server):
    assert server.request("POST", "/v2/models/good/infer", GOOD).status == 200
