"""The ten mistakes that servers of this protocol make, one test each, on a running server."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import numpy as np
import pytest

from tests.end_to_end import zoo
from tests.end_to_end.server import Answer, RunningServer, running
from tests.end_to_end.zoo import asked, tensor
from tests.models.builders import identity, linear, save

CONFIG = """
repository: {allow_load: true}
models: {slow: {max_batch_size: 1, timeout_ms: 40}}
"""
ROW = tensor("x", [[1, 2, 3, 4]], "FP32")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("contract")
    repository = folder / "repository"
    save(repository / "linear" / "1", linear())
    save(repository / "echo" / "1", identity(("rows", "length")))
    save(repository / "words" / "1", identity(("rows", 1), zoo.EVERY["BYTES"]))
    save(repository / "slow" / "1", zoo.slow())
    for version in (1, 2, 10):
        save(repository / "versions" / str(version), zoo.scale(version))
    (repository / "versions" / "config.pbtxt").write_text("version_policy: { all {} }")
    with running(folder, repository, "--workers", "1", config=CONFIG) as started:
        yield started


def infer(server: RunningServer, model: str, request) -> Answer:
    return server.post(f"/v2/models/{model}/infer", request)


def test_1_health_has_a_body_that_says_so(server):
    bodies = [
        server.get(path).json()
        for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/linear/ready")
    ]
    assert bodies == [{"live": True}, {"ready": True}, {"name": "linear", "ready": True}]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nowhere"),
        ("GET", "/v2/models/nosuch"),
        ("PUT", "/v2/health/live"),
        ("POST", "/v2/models/linear/infer"),
        ("POST", "/v2/models/nosuch/infer"),
        ("POST", "/v2/repository/models/nosuch/load"),
    ],
)
def test_2_errors_have_the_one_key_error(server, method, path):
    answer = server.request(method, path, b"")
    assert answer.status >= 400
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["error"]


def test_3_the_header_length_alone_tells_binary_from_json(server):
    values = np.array([1, 2, 3, 4], "<f4").tobytes()
    head = {**ROW, "parameters": {"binary_data_size": 16}}
    del head["data"]
    text = json.dumps(asked(head)).encode()
    claims = ["application/json", "text/html", ""]
    for claim in claims:
        headers = {"Content-Type": claim} if claim else {}
        length = {"Inference-Header-Content-Length": str(len(text))}
        path = "/v2/models/linear/infer"
        binary = server.request("POST", path, text + values, headers | length)
        plain = server.request("POST", path, json.dumps(asked(ROW)).encode(), headers)
        assert (binary.status, plain.status, binary.body) == (200, 200, plain.body)


def test_4_data_of_an_answer_is_flat(server):
    answer = infer(server, "echo", asked(tensor("x", np.ones((3, 2)), "FP32")))
    (output,) = answer.json()["outputs"]
    assert (output["shape"], output["data"]) == ([3, 2], [1.0] * 6)


def test_5_not_a_number_and_infinity_go_in_and_come_out(server):
    values = [float("nan"), float("inf"), float("-inf"), 0.5]
    answer = infer(server, "echo", asked(tensor("x", [values], "FP32")))
    got = answer.json()["outputs"][0]["data"]
    assert math.isnan(got[0])
    assert got[1:] == values[1:]


def test_6_a_version_is_a_string(server):
    answer = infer(server, "linear", asked(ROW)).json()
    entry = server.get("/v2/models/linear/stats").json()["model_stats"][0]
    (line,) = [e for e in server.post("/v2/repository/index").json() if e["name"] == "linear"]
    assert [answer["model_version"], entry["version"], line["version"]] == ["1", "1", "1"]
    assert server.get("/v2/models/linear").json()["versions"] == ["1"]


def test_7_bytes_carry_their_length_and_are_never_mangled(server):
    words = {"name": "x", "shape": [2, 1], "datatype": "BYTES", "data": ["s\u00e4en", ""]}
    request = asked(words, outputs=[{"name": "y", "parameters": {"binary_data": True}}])
    answer = infer(server, "words", request)
    length = int(answer.headers["inference-header-content-length"])
    assert answer.body[length:] == b"\x05\x00\x00\x00s\xc3\xa4en\x00\x00\x00\x00"
    assert infer(server, "words", asked(words)).json()["outputs"][0]["data"] == ["s\u00e4en", ""]


def test_8_inference_count_is_rows_and_no_nv_name_ends_in_total(server):
    def counted(name: str) -> float:
        return server.metric(name, model="versions", version="2")

    names = ("nv_inference_count", "nv_inference_request_success", "nv_inference_exec_count")
    before = [counted(name) for name in names]
    for rows in (1, 4):
        infer(server, "versions/versions/2", asked(tensor("x", np.ones((rows, 1)), "FP32")))
    assert [counted(name) - was for name, was in zip(names, before, strict=True)] == [5, 2, 2]
    text = server.admin("GET", "/metrics").body.decode()
    assert not [line for line in text.splitlines() if line.startswith("nv_") and "_total" in line
                and not line.startswith("nv_cpu_memory_total_bytes")]  # fmt: skip


def test_9_a_version_is_a_number_however_it_is_written_and_the_highest_answers(server):
    def answered(path: str) -> str:
        return infer(server, path, asked(tensor("x", [[1]], "FP32"))).json()["model_version"]

    server.post("/v2/repository/models/versions/load")
    assert [answered(f"versions{v}") for v in ("", "/versions/01", "/versions/2")] == [
        "10",
        "1",
        "2",
    ]
    for path in ("versions/versions/x", "versions/versions/1.0", "versions/versions/+1"):
        assert infer(server, path, asked(tensor("x", [[1]], "FP32"))).status == 404


def test_10_a_request_that_waited_too_long_gets_503(server):
    request = json.dumps(asked(tensor("x", [[1]], "FP32"))).encode()
    for _ in range(10):  # on a busy machine they may come in one after the other
        answers = server.at_once("/v2/models/slow/infer", [request] * 12)
        refused = [answer for answer in answers if answer.status != 200]
        if refused:
            break
    assert refused
    for answer in refused:
        assert answer.status == 503
        assert "Request timeout expired" in answer.json()["error"]
