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

from gateway.exchange import Model
from gateway.wire.trace import Trace

# In bytes of JSON. With these a record fits into one piece of a pipe, whatever has to be escaped.
MAX_PATH = 1536
MAX_NAME = 512
# Clients times paths times statuses whose part of a record is kept, some 200 bytes each.
MAX_ABOUTS = 4096
_MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/([0-9]{1,19}))?(?:/|$)")

About = tuple[str, bytes, int, Model | None]
"""A client's address, a path, a status, and who answers where the path alone does not say so."""


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


class Note(Protocol):
    """Is told of an answer: its status, the bytes of its body, and the request."""

    def __call__(self, status: int, sent: int, request: Answered, more: bool = True) -> None:
        """`more`: it may have a code, a key, an id of the client's or a trace."""


def both(first: Note, second: Note) -> Note:
    """Tells two of each answer."""

    def note(status: int, sent: int, request: Answered, more: bool = True) -> None:
        first(status, sent, request, more)
        second(status, sent, request, more)

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
        self._targets: dict[bytes, bytes | None] = {}
        self._abouts: dict[About, bytes] = {}
        self._second = 0
        self._stamp = ""
        self._offset = 0.0
        # for one millisecond, from `_since` on
        self._since = -1.0
        self._opening = b""
        # for one run
        self._started = self._finished = 0.0
        self._infer = b"0.000"
        # for one turn of the loop
        self._lines: list[bytes] = []

    def know(self, models: Mapping[bytes, Model | None]) -> None:
        """The paths that requests are POSTed to, and which model answers there.

        None: a route chooses, and the request says which it was.
        """
        self._targets = {
            path: None if model is None else _target(b"POST", path, model)
            for path, model in models.items()
        }
        self._abouts = {}

    def flush(self) -> None:
        """Writes what there is."""
        lines, self._lines = self._lines, []
        if lines:
            self._sink.write(lines)

    def _note_error(self, status: int, sent: int, request: Answered, more: bool = True) -> None:
        if status >= 400:
            self._note(status, sent, request, more)

    def _note_some(self, status: int, sent: int, request: Answered, more: bool = True) -> None:
        if self._draw() < self._share:
            self._note(status, sent, request, more)

    def _note(self, status: int, sent: int, request: Answered, more: bool = True) -> None:
        # What is the same for many requests is kept as text: a third of what a record costs.
        now = perf_counter()
        if not 0.0 <= now - self._since < 0.001:
            self._set_opening(now)
        about = None
        if request.method == b"POST":
            about = self._abouts.get((request.client, request.path, status, None))
        if about is None:
            about = self._about(status, request)
        phases = getattr(request, "phases", None)
        ms = (now - request.arrived) * 1000
        line = b'%b%b%b","bytes_in":%d,"bytes_out":%d,"ms":%.3f%b%b}\n' % (
            self._opening,
            about,
            request.request_id,
            request.received,
            sent,
            ms,
            self._spans(*phases) if phases is not None else b"",
            _rest(request) if more else b"",
        )
        if not self._lines:
            self._loop.call_soon(self.flush)
        self._lines.append(line)

    def _set_opening(self, now: float) -> None:
        """Begins the lines of one millisecond, by the wall clock, which may be set."""
        wall = now + self._offset
        if not 0.0 <= wall - self._second < 1.0:
            wall = time.time()
            self._offset = wall - now
            self._second = int(wall)
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self._second))
        milliseconds = int((wall - self._second) * 1000)
        self._since = self._second + milliseconds / 1000 - self._offset
        at = f"{self._stamp}.{milliseconds:03d}Z".encode()
        self._opening = b'{"at":"%b",%b,"client":' % (at, self._who)

    def _spans(self, queued: float, started: float, finished: float) -> bytes:
        if finished != self._finished or started != self._started:
            # The same for all who shared a run.
            self._started, self._finished = started, finished
            self._infer = b"%.3f" % ((finished - started) * 1000)
        return b',"queue_ms":%.3f,"infer_ms":%b' % ((started - queued) * 1000, self._infer)

    def _about(self, status: int, request: Answered) -> bytes:
        """Members from the client to the request's id, which follows."""
        client, path = request.client, request.path
        known = request.method == b"POST" and path in self._targets
        target = self._targets[path] if known else None
        model = getattr(request, "model", None) if target is None else None
        key = (client, path, status, model)
        about = self._abouts.get(key) if known else None
        if about is None:
            # Who came before the route divided its requests does not say who answered: kept, it
            # would be found for those who do.
            settled = target is not None or model is not None
            target = target or _target(request.method, path, model)
            about = b'%b,%b"status":%d,"request_id":"' % (_quoted(client), target, status)
            if known and settled:  # else every path that somebody thinks of would be kept
                if len(self._abouts) >= MAX_ABOUTS:
                    self._abouts.clear()
                self._abouts[key] = about
        return about


def _rest(request: Answered) -> bytes:
    """What few records have."""
    rest = b""
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
