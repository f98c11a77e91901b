"""The access log: one JSON object a line for each answered request.

Knows what a record says, and which requests get one. Knows nothing of connections or descriptors.
Records of one turn of the event loop are written together.
"""

from __future__ import annotations

import asyncio
import functools
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Protocol
from urllib.parse import unquote

import orjson

from gateway.wire.trace import Trace

# In bytes of JSON. With these a record fits into one piece of a pipe, whatever has to be escaped.
MAX_PATH = 1536
MAX_NAME = 512
_MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/([0-9]{1,19}))?(?:/|$)")

Model = tuple[str, str]
"""Name and version; the version is empty where it is not known."""


class Answered(Protocol):
    """A request that was answered. It may have `phases`, a `code`, a `model` and a `key`, too."""

    @property
    def method(self) -> bytes:
        """Upper case; empty where the request was not understood so far."""

    @property
    def path(self) -> bytes:
        """Raw and without its query."""

    @property
    def client(self) -> str:
        """Its address."""

    @property
    def request_id(self) -> bytes:
        """Ours."""

    @property
    def echo(self) -> bytes | None:
        """The client's."""

    @property
    def trace(self) -> Trace | None:
        """That it is part of."""

    @property
    def arrived(self) -> float:
        """When its first byte was read, seconds of `time.perf_counter`."""

    @property
    def received(self) -> int:
        """Bytes of its body."""


class Lines(Protocol):
    """Where records go."""

    def write(self, lines: Sequence[bytes]) -> None:
        """Takes whole lines; must not wait."""


Note = Callable[[int, int, Answered], None]
"""Is told of an answer: its status, the bytes of its body, and the request."""


def both(first: Note, second: Note) -> Note:
    """Tells two of each answer."""

    def note(status: int, sent: int, request: Answered) -> None:
        first(status, sent, request)
        second(status, sent, request)

    return note


class AccessLog:
    """Composes records and hands them on; see the module.

    Attributes:
        note: takes an answer's status, the bytes of its body, and the request.
    """

    def __init__(
        self,
        mode: str,
        sink: Lines,
        process: str,
        loop: asyncio.AbstractEventLoop,
        share: float = 1.0,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """What is logged is chosen here, not asked for each request.

        Args:
            mode: `all`, `errors` (statuses from 400 on), or `sampled`.
            sink: where records go.
            process: who writes them, `"worker-0"`.
            loop: the worker's.
            share: of the requests that a sample takes.
            draw: a number in [0, 1).
        """
        modes: dict[str, Note] = {
            "all": self._note,
            "errors": self._note_error,
            "sampled": self._note_some,
        }
        self.note = modes[mode]
        self._sink = sink
        self._loop = loop
        self._share = share
        self._draw = draw
        self._who = b'"logger":"penstock.access","process":%b' % orjson.dumps(process)
        # until replaced
        self._targets: dict[bytes, bytes] = {}
        self._second = 0
        self._stamp = b""
        self._offset = 0.0
        # for one turn of the loop
        self._lines: list[bytes] = []

    def know(self, models: Mapping[bytes, Model]) -> None:
        """The paths that requests are POSTed to, and which model answers there."""
        self._targets = {path: _target(b"POST", path, model) for path, model in models.items()}

    def flush(self) -> None:
        """Writes what there is."""
        lines, self._lines = self._lines, []
        if lines:
            self._sink.write(lines)

    def _note_error(self, status: int, sent: int, request: Answered) -> None:
        if status >= 400:
            self._note(status, sent, request)

    def _note_some(self, status: int, sent: int, request: Answered) -> None:
        if self._draw() < self._share:
            self._note(status, sent, request)

    def _note(self, status: int, sent: int, request: Answered) -> None:
        now = perf_counter()
        wall = now + self._offset
        if not 0.0 <= wall - self._second < 1.0:
            wall = self._set_second(now)
        target = self._targets.get(request.path) if request.method == b"POST" else None
        if target is None:
            target = _target(request.method, request.path, getattr(request, "model", None))
        line = (
            b'{"at":"%b.%03dZ",%b,"client":%b,%b"status":%d,"request_id":"%b",'
            b'"bytes_in":%d,"bytes_out":%d,"ms":%.3f%b}\n'
        ) % (
            self._stamp,
            (wall - self._second) * 1000,
            self._who,
            _quoted(request.client),
            target,
            status,
            request.request_id,
            request.received,
            sent,
            (now - request.arrived) * 1000,
            _rest(request),
        )
        if not self._lines:
            self._loop.call_soon(self.flush)
        self._lines.append(line)

    def _set_second(self, now: float) -> float:
        """Follows the wall clock, which may be set; gives what it says."""
        wall = time.time()
        self._offset = wall - now
        self._second = int(wall)
        self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self._second)).encode()
        return wall


def _rest(request: Answered) -> bytes:
    """What not every record has."""
    rest = b""
    phases = getattr(request, "phases", None)
    if phases is not None:
        queued, started, finished = phases
        spans = (started - queued) * 1000, (finished - started) * 1000
        rest = b',"queue_ms":%.3f,"infer_ms":%.3f' % spans
    code = getattr(request, "code", None)
    if code is not None:
        rest += b',"code":%b' % orjson.dumps(code)
    key = getattr(request, "key", None)
    if key is not None:
        rest += b',"key":%b' % _quoted(key)
    if request.echo is not None:
        rest += b',"x_request_id":%b' % orjson.dumps(request.echo.decode("ascii"))
    if request.trace is not None:
        rest += b',"trace_id":"%b"' % request.trace.trace_id
    return rest


def _target(method: bytes, path: bytes, model: Model | None) -> bytes:
    """Members for what was asked; none where that was not understood. Ends with a comma."""
    if not method:
        return b""
    shown = cut(path.decode("ascii", "backslashreplace"), MAX_PATH)
    members = {"method": method.decode("ascii", "backslashreplace"), "path": shown}
    name, version = model or model_in(shown)
    if name:
        members["model"] = cut(name, MAX_NAME)
    if version:
        members["version"] = version
    return orjson.dumps(members)[1:-1] + b","


def model_in(path: str) -> Model:
    """The model that a path names; empty where it names none."""
    found = _MODEL.match(path)
    # What does not decode to UTF-8 comes out as the character that stands for that.
    return (unquote(found[1]), found[2] or "") if found else ("", "")


@functools.lru_cache(maxsize=1024)
def _quoted(text: str) -> bytes:
    return orjson.dumps(cut(text.encode("utf-8", "backslashreplace").decode(), MAX_NAME))


def cut(text: str, limit: int) -> str:
    """As much of its beginning as takes few enough bytes of JSON."""
    text = text[:limit]
    while (size := len(orjson.dumps(text)) - 2) > limit:
        text = text[: len(text) * limit // size]
    return text
