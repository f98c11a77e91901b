"""Hostile bodies: each is refused for what it is, and harms nobody else."""

from __future__ import annotations

import gzip
import json
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest

from tests.end_to_end.hostility import GOOD, INFER, ROW, told
from tests.end_to_end.server import RunningServer
from tests.end_to_end.zoo import asked


@pytest.fixture
def server(unharmed: RunningServer) -> RunningServer:
    return unharmed


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


@pytest.mark.parametrize("parameters", [None, {"binary_data_size": 0}], ids=["json", "binary"])
@pytest.mark.parametrize(
    "shape",
    [[1, 0, (1 << 63) - 1], [1, 0, 1 << 63], [1, 0, 1 << 62], [1, 1 << 61, 0]],
    ids=["largest", "too-large", "large", "zero-last"],
)
@pytest.mark.parametrize("model", ["open", "open_unbatched", "open_words"])
def test_a_shape_that_overflows_but_for_a_zero(server, model, shape, parameters):
    datatype = "BYTES" if model == "open_words" else "FP32"
    part = {"name": "x", "shape": shape, "datatype": datatype}
    part |= {"data": []} if parameters is None else {"parameters": parameters}
    body = json.dumps(asked(part)).encode()
    headers = {} if parameters is None else {"Inference-Header-Content-Length": str(len(body))}
    answer = server.request("POST", f"/v2/models/{model}/infer", body, headers)
    assert (answer.status, "input 'x'" in told(answer)) in [(400, True), (413, True)]


HUGE_TIMEOUT = (
    b'{"parameters":{"timeout":' + b"9" * 399 + b'},"inputs":[{"name":"x","shape":[1,4],'
    b'"datatype":"FP32","data":[NaN,2,3,4]}]%b}'
)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(HUGE_TIMEOUT % b"", {}, id="plain"),
        pytest.param(HUGE_TIMEOUT % (b',"padding":"%b"' % (b"x" * 40_000)), {}, id="large"),
        pytest.param(
            gzip.compress(HUGE_TIMEOUT % b""), {"Content-Encoding": "gzip"}, id="compressed"
        ),
    ],
)
def test_a_number_that_only_python_reads_is_refused_however_it_comes(server, body, headers):
    # NaN has the text read by a decoder that knows integers of any size.
    answer = server.request("POST", INFER, body, headers)
    assert (answer.status, "parameter 'timeout'" in told(answer)) == (400, True)


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

BOMB = gzip.compress(b" " * 100_000_000)


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [
        pytest.param("gzip", BOMB, 413, id="gzip-bomb"),
        pytest.param("deflate", zlib.compress(b" " * 20_000_000), 413, id="deflate-bomb"),
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
