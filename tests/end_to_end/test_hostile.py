"""Hostile requests against a real server: each is refused for what it is, and harms nobody else.

After every one of them the health check and a good request must succeed, and what the refusal says
must not tell of the server's insides.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import socket
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
from onnx import TensorProto

from tests.end_to_end import zoo
from tests.end_to_end.server import Answer, RunningServer, running
from tests.end_to_end.zoo import asked, tensor
from tests.models.builders import identity, linear, save
from tests.wire.http_rig import Client

CONFIG = """
repository: {allow_load: true}
limits:
  max_body_bytes: 1000000
  max_body_chunks: 500
  max_headers: 40
  max_header_bytes: 8192
  max_target_bytes: 1024
  header_timeout_s: 0.4
  body_timeout_s: 0.4
"""
ROW = tensor("x", [[1, 2, 3, 4]], "FP32")
GOOD = json.dumps(asked(ROW)).encode()
INFER = "/v2/models/linear/infer"
INSIDES = re.compile(
    r"Traceback|\.py\b|gateway[/.]|site-packages|\b\w+(Error|Exception)\b|/tmp|/home|/root|0x[0-9a-f]{6}"
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("hostile")
    repository = zoo.build_hostile(folder / "repository")
    save(repository / "linear" / "1", linear())
    save(repository / "words" / "1", identity(("rows", 1), TensorProto.STRING))
    save(repository / "open" / "1", identity(("rows", "a", "b")))
    with running(folder, repository, "--workers", "1", config=CONFIG, ready=False) as started:
        yield started


@pytest.fixture
def server(shared: RunningServer) -> Iterator[RunningServer]:
    """The server, which is well afterwards, and has not been restarted by anybody."""
    before = {child.pid for child in shared.children()}
    yield shared
    assert shared.get("/v2/health/live").status == 200
    assert shared.get("/v2/health/ready").status == 200
    assert shared.request("POST", INFER, GOOD).status == 200
    assert {child.pid for child in shared.children()} == before
    assert "Traceback" not in shared.log


def told(answer: Answer) -> str:
    """The message of a refusal, which says nothing of the server's insides."""
    message = answer.json()["error"]
    assert list(answer.json()) == ["error"]
    assert not INSIDES.search(message), message
    assert "penstock-request-id" in answer.headers
    return message


def with_row(**changes) -> dict:
    """The good request with fields of its one input changed; None takes a field away."""
    changed = {**ROW, **changes}
    return asked({key: value for key, value in changed.items() if value is not None})


def binary(size: int | float | str, tail: bytes, **changes) -> tuple[bytes, dict[str, str]]:
    """A request whose one input is binary: its body and headers."""
    head = with_row(data=None, parameters={"binary_data_size": size}, **changes)
    text = json.dumps(head).encode()
    return text + tail, {"Inference-Header-Content-Length": str(len(text))}


# ---- bodies -------------------------------------------------------------------------------------

BODIES = [
    pytest.param(b"", 400, "malformed JSON", id="empty"),
    pytest.param(b"{", 400, "malformed JSON", id="unfinished"),
    pytest.param(GOOD + b"x", 400, "malformed JSON", id="more-behind-it"),
    pytest.param(b"\xff\xfe" + GOOD, 400, "malformed JSON", id="not-utf8"),
    pytest.param(GOOD.decode().encode("utf-16"), 400, "malformed JSON", id="utf-16"),
    pytest.param(b"\x00" * 1000, 400, "malformed JSON", id="nul"),
    pytest.param(b"[]", 400, "request: expected an object, got an array", id="array"),
    pytest.param(b"null", 400, "request: expected an object, got null", id="null"),
    pytest.param(b"{}", 400, "expected an array 'inputs', got none", id="no-inputs"),
    pytest.param({"inputs": {}}, 400, "inputs: expected an array", id="inputs-object"),
    pytest.param({"inputs": [1]}, 400, "inputs: element: expected an object", id="inputs-number"),
    pytest.param({"inputs": []}, 400, "expected 1 inputs but got 0", id="inputs-empty"),
    pytest.param(asked(ROW, ROW), 400, "'x' already exists in request", id="input-twice"),
    pytest.param(
        asked(ROW, {**ROW, "name": "z"}), 400, "expected 1 inputs but got 2", id="input-too-many"
    ),
    pytest.param(with_row(name="z"), 400, "unexpected inference input 'z'", id="input-unknown"),
    pytest.param(with_row(name=None), 400, "name: expected a string", id="input-nameless"),
    pytest.param(with_row(name="x" * 9000), 400, "'xxx", id="input-name-long"),
    pytest.param(with_row(name="\u0000../etc"), 400, "unexpected inference input", id="nul"),
    pytest.param(with_row(datatype="FP64"), 400, "data-type is 'FP64'", id="datatype-other"),
    pytest.param(with_row(datatype="FP128"), 400, "data-type is 'FP128'", id="datatype-unknown"),
    pytest.param(with_row(datatype=7), 400, "datatype: expected a string, got 7", id="datatype-7"),
    pytest.param(with_row(shape=None), 400, "shape: expected an array", id="shape-missing"),
    pytest.param(with_row(shape="4"), 400, "shape: expected an array", id="shape-text"),
    pytest.param(with_row(shape=[4]), 400, "unexpected shape for input 'x'", id="shape-rank"),
    pytest.param(with_row(shape=[1, 5]), 400, "expected [-1, 4], got [1, 5]", id="shape-columns"),
    pytest.param(with_row(shape=[-1, 4]), 400, "unsigned integers, got -1", id="shape-negative"),
    pytest.param(with_row(shape=[1.0, 4]), 400, "unsigned integers, got 1.0", id="shape-float"),
    pytest.param(with_row(shape=[True, 4]), 400, "integers, got true", id="shape-boolean"),
    pytest.param(with_row(shape=[0, 4], data=[]), 400, "unexpected shape", id="no-rows"),
    pytest.param(with_row(shape=[1] * 5000), 400, "unexpected shape", id="shape-long"),
    pytest.param(with_row(shape=[1 << 62, 4]), 400, "exceed maximum size", id="shape-overflow"),
    pytest.param(with_row(shape=[1 << 60, 4]), 400, "byte size overflow", id="bytes-overflow"),
    pytest.param(with_row(shape=[10**30, 4]), 400, "'x'", id="shape-huge"),
    pytest.param(with_row(shape=[500_000, 4]), 413, "limits.max_body_bytes", id="shape-too-large"),
    pytest.param(with_row(shape=[129, 4]), 400, "batch-size must be <= 128", id="too-many-rows"),
    pytest.param(with_row(data=None), 400, "exactly one of 'data'", id="data-missing"),
    pytest.param(with_row(data=4), 400, "data: expected an array, got 4", id="data-number"),
    pytest.param(with_row(data=[1, 2, 3]), 400, "expected 4 elements", id="data-short"),
    pytest.param(with_row(data=[1] * 5), 400, "expected 4 elements", id="data-long"),
    pytest.param(with_row(data=[[1, 2], [3, 4]]), 400, "expected 1 elements", id="data-nested"),
    pytest.param(with_row(data=[1, 2, 3, "4"]), 400, "element 3: expected a number", id="text"),
    pytest.param(with_row(data=[1, 2, 3, None]), 400, "element 3: expected a number", id="nil"),
    pytest.param(with_row(data=[1, 2, 3, {}]), 400, "element 3: expected a number", id="object"),
    pytest.param(with_row(data=[1, 2, 3, 1e300]), 400, "element 3", id="number-too-large"),
    pytest.param(
        with_row(parameters={"binary_data_size": 16}), 400, "'data' and 'binary_data_size'",
        id="data-and-binary",
    ),
    pytest.param(
        with_row(data=None, parameters={"shared_memory_region": "r"}), 400,
        "shared memory is not supported", id="shared-memory",
    ),
    pytest.param(asked(ROW, outputs=[{"name": "q"}]), 400, "output 'q'", id="output-unknown"),
    pytest.param(
        asked(ROW, outputs=[{"name": "y"}] * 3), 400, "'y' already exists", id="output-thrice"
    ),
    pytest.param(asked(ROW, outputs=7), 400, "outputs: expected an array, got 7", id="outputs-7"),
    pytest.param(
        asked(ROW, outputs=[{"name": "y", "parameters": {"classification": 0}}]), 400,
        "parameter 'classification'", id="classes-none",
    ),
    pytest.param(asked(ROW, id=7), 400, "id: expected a string, got 7", id="id-number"),
    pytest.param(asked(ROW, parameters=[]), 400, "parameters: expected an object", id="parameters"),
    pytest.param(
        asked(ROW, parameters={"priority": 1 << 70}), 400, "priority", id="priority-huge"
    ),
    pytest.param(b"[" * 250_000, 400, "nesting depth exceeds", id="deep-arrays"),
    pytest.param(b'{"a":' * 100_000, 400, "nesting depth exceeds", id="deep-objects"),
    pytest.param(
        b'{"inputs":' + b"[" * 200_000 + b"]" * 200_000 + b"}", 400, "nesting depth exceeds",
        id="deep-and-closed",
    ),
    pytest.param(
        b'{"id":"' + b"\\u0041" * 100_000 + b'"}', 400, "expected an array 'inputs'", id="escapes"
    ),
    pytest.param(b'{"a":' + b"9" * 400_000 + b"}", 400, "", id="number-of-400000-digits"),
    pytest.param(b" " * 1_000_001, 413, "expected at most 1000000", id="body-too-large"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "phrase"), BODIES)
def test_a_hostile_body(server, body, status, phrase):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = server.request("POST", INFER, content)
    assert answer.status == status
    assert phrase in told(answer)
    assert len(answer.body) < 1000


@pytest.mark.parametrize("size", [10, 40_000], ids=["decoded-on-the-loop", "decoded-on-a-thread"])
def test_a_hostile_body_of_any_size_is_named_alike(server, size):
    request = with_row(data=[1, 2, 3, "4"])
    request["padding"] = "x" * size
    answer = server.request("POST", INFER, json.dumps(request).encode())
    assert (answer.status, "element 3" in told(answer)) == (400, True)


# ---- binary parts -------------------------------------------------------------------------------

VALUES = np.array([1, 2, 3, 4], "<f4").tobytes()


@pytest.mark.parametrize(
    ("request_", "status", "phrase"),
    [
        pytest.param(binary(16, VALUES[:15]), 400, "expecting 1 additional bytes", id="truncated"),
        pytest.param(binary(16, b""), 400, "expecting 16 additional bytes", id="absent"),
        pytest.param(binary(16, VALUES + b"!"), 400, "additional input data", id="over-long"),
        pytest.param(binary(12, VALUES[:12]), 400, "expects 16 bytes, got 12", id="size-small"),
        pytest.param(binary(-1, VALUES), 400, "binary_data_size", id="size-negative"),
        pytest.param(binary("16", VALUES), 400, "binary_data_size", id="size-text"),
        pytest.param(binary(1 << 70, VALUES), 400, "'x'", id="size-huge"),
        pytest.param(binary(16.0, VALUES), 400, "binary_data_size", id="size-float"),
    ],
)
def test_a_hostile_binary_part(server, request_, status, phrase):
    body, headers = request_
    answer = server.request("POST", INFER, body, headers)
    assert answer.status == status
    assert phrase in told(answer)


@pytest.mark.parametrize(
    "value",
    ["-1", "x", "", "1e3", "0x10", str(1 << 31), str(1 << 63), "9" * 400, "999", "\u0662", "+5"],
)
def test_a_hostile_header_length(server, value):
    headers = {"Inference-Header-Content-Length": value.encode().decode("latin-1")}
    answer = server.request("POST", INFER, GOOD, headers)
    assert answer.status == 400
    assert "Inference-Header-Content-Length: expected" in told(answer)


def test_a_header_length_that_cuts_the_json_in_two(server):
    answer = server.request("POST", INFER, GOOD, {"Inference-Header-Content-Length": "20"})
    assert (answer.status, "malformed JSON" in told(answer)) == (400, True)


@pytest.mark.parametrize(
    ("strings", "phrase"),
    [
        (b"\xff\xff\xff\xffabcd", "expected a string of 4294967295 bytes, got 4"),
        (b"\x02\x00\x00\x00abcd", "expected 6 bytes for 1 strings, got 8"),
        (b"\x00", "expected 1, got 1 bytes"),
    ],
    ids=["longer-than-the-body", "shorter-than-its-part", "no-length"],
)
def test_strings_whose_lengths_lie(server, strings, phrase):
    part = {"name": "x", "shape": [1, 1], "datatype": "BYTES"}
    head = json.dumps(asked({**part, "parameters": {"binary_data_size": len(strings)}})).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    answer = server.request("POST", "/v2/models/words/infer", head + strings, headers)
    assert answer.status == 400
    assert phrase in told(answer)


def test_a_string_that_is_not_utf8_and_does_not_disturb_its_neighbours(server):
    part = {"name": "x", "shape": [1, 1], "datatype": "BYTES"}
    head = json.dumps(asked({**part, "parameters": {"binary_data_size": 6}})).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}

    def ask(text: bytes) -> int:
        body = head + b"\x02\x00\x00\x00" + text
        return server.request("POST", "/v2/models/words/infer", body, headers).status

    with ThreadPoolExecutor(8) as clients:
        statuses = list(clients.map(ask, [b"ok", b"\xff\xfe"] * 20))
    assert statuses == [200, 400] * 20


# ---- content codings ----------------------------------------------------------------------------

BOMB = gzip.compress(b" " * 300_000_000)


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [
        pytest.param("gzip", BOMB, 413, id="gzip-bomb"),
        pytest.param("deflate", zlib.compress(b" " * 50_000_000), 413, id="deflate-bomb"),
        pytest.param("gzip", gzip.compress(GOOD)[:-9], 400, id="cut-short"),
        pytest.param("gzip", GOOD, 400, id="not-gzip"),
        pytest.param("deflate", GOOD, 400, id="not-deflate"),
        pytest.param("gzip", gzip.compress(GOOD) + b"more", 400, id="more-behind-it"),
        pytest.param("gzip", b"", 400, id="empty"),
        pytest.param("br", GOOD, 415, id="unknown"),
        pytest.param("gzip, gzip", gzip.compress(gzip.compress(GOOD)), 415, id="twice"),
    ],
)
def test_a_hostile_content_coding(server, coding, body, status):
    answer = server.request("POST", INFER, body, {"Content-Encoding": coding})
    assert answer.status == status
    assert told(answer)


def test_bombs_leave_memory_flat(server):
    worker = max(server.children(), key=lambda child: child.memory_info().rss)
    server.request("POST", INFER, BOMB, {"Content-Encoding": "gzip"})
    before = worker.memory_info().rss
    with ThreadPoolExecutor(4) as clients:
        for _ in range(2):
            list(
                clients.map(
                    lambda _: server.request("POST", INFER, BOMB, {"Content-Encoding": "gzip"}),
                    range(4),
                )
            )
    assert psutil.Process(worker.pid).memory_info().rss - before < 30 << 20


def test_a_compressed_repository_request_has_its_own_bound(server):
    body = gzip.compress(b" " * 1_000_000)
    answer = server.request("POST", "/v2/repository/index", body, {"Content-Encoding": "gzip"})
    assert answer.status == 413


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


# ---- HTTP itself --------------------------------------------------------------------------------


class Connection(Client):
    """A socket to the server that closes with the block."""

    def __init__(self, server: RunningServer) -> None:
        super().__init__(server.port)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, text: str, body: bytes = b"") -> Answer:
        # The server may refuse and hang up before all is sent.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send(text.encode("latin-1") + body)
        got = self.answer()
        return Answer(got.status, got.headers, got.body)


def post(*headers: str) -> str:
    lines = [f"POST {INFER} HTTP/1.1", "Host: a", *headers, "", ""]
    return "\r\n".join(lines)


SMUGGLED = b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "body", "status"),
    [
        pytest.param(
            post("Content-Length: 4", "Transfer-Encoding: chunked"), b"0\r\n\r\n" + SMUGGLED,
            400, id="length-and-chunked",
        ),
        pytest.param(
            post("Transfer-Encoding: chunked", "Content-Length: 4"), b"0\r\n\r\n" + SMUGGLED,
            400, id="chunked-and-length",
        ),
        pytest.param(post("Content-Length: 4", "Content-Length: 5"), b"[1]  ", 400, id="lengths"),
        pytest.param(post("Content-Length: 4, 4"), b"[1] ", 400, id="length-list"),
        pytest.param(post("Content-Length: -1"), b"", 400, id="length-negative"),
        pytest.param(post("Content-Length: +4"), b"[1] ", 400, id="length-signed"),
        pytest.param(post("Content-Length: 0x4"), b"[1] ", 400, id="length-hex"),
        pytest.param(post("Content-Length: 99999999999999999999"), b"", 400, id="length-overflow"),
        pytest.param(post("Content-Length: 9000000000000000"), b"", 413, id="length-absurd"),
        pytest.param(post("Content-Length: 1000001"), b"", 413, id="length-one-too-many"),
        pytest.param(post("Transfer-Encoding: xchunked"), b"0\r\n\r\n", 400, id="coding-unknown"),
        pytest.param(post("Transfer-Encoding : chunked"), b"0\r\n\r\n", 400, id="space-in-name"),
        pytest.param(post("Transfer-Encoding: chunked"), b"zz\r\n", 400, id="chunk-size-no-hex"),
        pytest.param(post("Transfer-Encoding: chunked"), b"f" * 40 + b"\r\n", 400, id="chunk-huge"),
        pytest.param(post("X: a\r\n b"), b"", 400, id="folded-header"),
        pytest.param(post("X: a\x00b"), b"", 400, id="nul-in-header"),
        pytest.param(post(*[f"X-{n}: 1" for n in range(60)]), b"", 431, id="too-many-headers"),
        pytest.param(post("X: " + "a" * 9000), b"", 431, id="headers-too-large"),
        pytest.param(
            f"GET /{'a' * 2000} HTTP/1.1\r\nHost: a\r\n\r\n", b"", 414, id="target-too-long"
        ),
        pytest.param("GET /v2 HTTP/9.9\r\nHost: a\r\n\r\n", b"", 400, id="version"),
        pytest.param("nonsense\r\n\r\n", b"", 400, id="nonsense"),
        pytest.param("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20, b"", 400, id="tls"),
    ],
)  # fmt: skip
def test_hostile_http(server, head, body, status):
    with Connection(server) as client:
        answer = client.ask(head, body)
        assert answer.status == status
        assert told(answer)
        # Nothing behind it is ever taken for a request of its own.
        assert client.closed()


def test_a_body_in_tiny_chunks_is_cut_off(server):
    with Connection(server) as client:
        answer = client.ask(post("Transfer-Encoding: chunked"), b"1\r\n \r\n" * 5000)
    assert answer.status == 400
    assert "chunks" in told(answer)


def test_a_chunked_body_past_the_limit_is_cut_off(server):
    with Connection(server) as client:
        piece = b"fffff\r\n" + b" " * 0xFFFFF + b"\r\n"
        answer = client.ask(post("Transfer-Encoding: chunked"), piece)
    assert answer.status == 413
    assert told(answer)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"POST /v2/models/linear/infer HTTP/1.1\r\nHo", id="half-a-head"),
        pytest.param(post("Content-Length: 100").encode() + b"{", id="half-a-body"),
        pytest.param(post("Transfer-Encoding: chunked").encode() + b"5\r\nab", id="half-a-chunk"),
        pytest.param(b"POST /v2/repository/index HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{",
                     id="half-a-body-elsewhere"),
    ],
)  # fmt: skip
def test_a_client_that_stops_half_way_is_told_so_and_let_go(server, sent):
    with Connection(server) as client:
        client.send(sent)
        answer = client.answer()
        assert answer.status == 408
        assert told(Answer(answer.status, answer.headers, answer.body))
        assert client.closed()


def test_many_silent_connections_leave_room_for_others(server):
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            client = stack.enter_context(Connection(server))
            client.send(b"POST /v2/mod")
        assert server.request("POST", INFER, GOOD).status == 200


def test_clients_that_hang_up_anywhere(server):
    whole = post(f"Content-Length: {len(GOOD)}").encode() + GOOD
    for cut in range(1, len(whole) + 1, 7):
        with Connection(server) as client:
            client.send(whole[:cut])
            client.reset() if cut % 2 else client.close()


def test_a_client_that_never_reads_its_answer(server):
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1024)
        client.settimeout(0.2)
        with contextlib.suppress(TimeoutError, ConnectionError):
            while True:
                client.sendall(b"GET /v2/models/linear HTTP/1.1\r\nHost: a\r\n\r\n" * 100)


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
