"""Readiness where a model cannot be loaded, and what the index says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.speech import ROW, error, infer
from tests.end_to_end.zoo import asked
from tests.models.builders import linear, save


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
