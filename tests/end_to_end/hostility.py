"""What the tests of hostile requests share: a good request, and what a refusal must not tell."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from onnx import TensorProto

from tests.end_to_end import zoo
from tests.end_to_end.server import Answer, RunningServer, running
from tests.end_to_end.zoo import asked, tensor
from tests.models.builders import identity, linear, save
from tests.wire.http_rig import Client

ROW = tensor("x", [[1, 2, 3, 4]], "FP32")
GOOD = json.dumps(asked(ROW)).encode()
INFER = "/v2/models/linear/infer"
INSIDES = re.compile(
    r"Traceback|\.py\b|gateway[/.]|site-packages|\b\w+(Error|Exception)\b|/tmp|/home|/root|0x[0-9a-f]{6}"
)


CONFIG = """
repository: {allow_load: true}
limits:
  max_body_bytes: 1000000
  max_body_chunks: 500
  max_headers: 40
  max_header_bytes: 8192
  max_target_bytes: 1024
  header_timeout_s: 1.0
  body_timeout_s: 1.0
"""


class Connection(Client):
    """A socket to the server's data port, or another, that closes with the block."""

    def __init__(self, server: RunningServer, port: int | None = None) -> None:
        super().__init__(port or server.port)

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


@contextlib.contextmanager
def besieged(folder: Path) -> Iterator[RunningServer]:
    """One worker with a few good models and many hostile ones, and narrow limits."""
    repository = zoo.build_hostile(folder / "repository")
    save(repository / "linear" / "1", linear())
    save(repository / "words" / "1", identity(("rows", 1), TensorProto.STRING))
    save(repository / "open" / "1", identity(("rows", "a", "b")))
    save(repository / "open_words" / "1", identity(("rows", "a", "b"), TensorProto.STRING))
    unbatched = save(repository / "open_unbatched" / "1", identity(("rows", "a", "b")))
    (unbatched.parent.parent / "config.pbtxt").write_text("max_batch_size: 0\n")
    with running(folder, repository, "--workers", "1", config=CONFIG, ready=False) as started:
        yield started


@contextlib.contextmanager
def unharmed(server: RunningServer) -> Iterator[RunningServer]:
    """The server, which is well afterwards, and has not been restarted by anybody."""
    before = {child.pid for child in server.children()}
    yield server
    assert server.get("/v2/health/live").status == 200
    assert server.get("/v2/health/ready").status == 200
    assert server.request("POST", INFER, GOOD).status == 200
    assert {child.pid for child in server.children()} == before
    assert "Traceback" not in server.log


def told(answer: Answer) -> str:
    """The message of a refusal, which says nothing of the server's insides."""
    message = answer.json()["error"]
    assert list(answer.json()) in (["error"], ["error", "code"])
    assert not INSIDES.search(message), message
    assert "penstock-request-id" in answer.headers
    return message
