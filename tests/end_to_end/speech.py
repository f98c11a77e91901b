"""What the tests of the protocol share: a request, how it is sent, and what an answer says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from tests.end_to_end import zoo
from tests.end_to_end.server import Answer, RunningServer, running
from tests.end_to_end.zoo import tensor
from tests.models.builders import save

CONFIG = """
server: {compress_min_bytes: 8192}
models:
  padded: {padding: {buckets: [4, 8]}}
  slow: {max_batch_size: 1, max_queue_rows: 2}
  queueing: {max_batch_size: 1, timeout_ms: 150}
"""
ROW = tensor("x", [[1, 2, 3, 4]], "FP32")


@contextmanager
def zoo_server(folder: Path) -> Iterator[RunningServer]:
    """One worker that serves the zoo."""
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
