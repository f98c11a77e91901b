"""One request and the one answer it gets, whoever carries them.

Knows method, target, headers, body and how to answer. Knows nothing of HTTP parsing, sockets, ASGI
or models. `gateway/wire/http.py` implements it on uvicorn's protocol, `gateway/wire/asgi.py` behind
any ASGI server; endpoints cannot tell which.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

Header = tuple[bytes, bytes]
JSON_TYPE = b"application/json"


Phases = tuple[float, float, float]
"""When a request went from one room to the next, in seconds of `time.perf_counter`: when it was
decoded and joined the queue, when its batch was released, and when the outputs were there. A plain
tuple, since with an access log every request has one."""


Model = tuple[str, str]
"""Name and version; the version is empty where it is not known."""


class Stream(Protocol):
    """The open end of a streamed answer."""

    __slots__ = ()

    @property
    def gone(self) -> bool:
        """The client left; what is written goes nowhere."""

    def write(self, data: bytes) -> bool:
        """Sends one piece. False: the client reads slowly, wait for `on_drain` before the next."""

    def on_drain(self, callback: Callable[[], None]) -> None:
        """Calls back, once, when writing may go on (maybe at once) or the client is gone."""

    def end(self) -> None:
        """Finishes the answer. Called exactly once."""


class Exchange(Protocol):
    """A request that has wholly arrived, to be answered exactly once, on the event loop.

    Attributes:
        method: upper case, `b"POST"`.
        path: the raw, still percent-encoded path without its query.
        query: the raw query, without the question mark.
        headers: names in lower case, in the order in which they came.
        body: the whole body as sent (still compressed if it came compressed).
        arrived: when its first byte was read, seconds of `time.perf_counter`.
        sequence: its number among those of its process: the last part of its request id.
        gone: the client left before it was answered.
        client: the peer's address (the forwarded one only where the peer is trusted).
        about: what log lines about it carry: its request id, and the trace that it is part of.
    """

    __slots__ = ()

    method: bytes
    path: bytes
    query: bytes
    headers: Sequence[Header]
    body: bytes
    arrived: float
    sequence: int
    gone: bool

    @property
    def about(self) -> Mapping[str, str]:
        """Fields for a log line."""

    @property
    def client(self) -> str:
        """The peer's address."""

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header; `name` in lower case."""

    def on_gone(self, callback: Callable[[], None]) -> None:
        """Calls back, once, if the client leaves before the answer is written."""

    def note_phases(self, phases: Phases) -> None:
        """Keeps for the answer or the access log when what happened; before `reply`."""

    def note_model(self, model: Model) -> None:
        """Keeps for the access log and traces who answers, where its path does not say so."""

    def note_generation(self, happened: object) -> None:
        """Keeps for traces what happens to a request to a language model; before `reply`."""

    def reply(
        self,
        status: int,
        body: bytes,
        headers: Sequence[Header] = (),
        content_type: bytes = JSON_TYPE,
    ) -> None:
        """Writes the whole answer. `headers` come after Content-Type and Content-Length."""

    def stream(self, status: int, headers: Sequence[Header] = ()) -> Stream:
        """Starts an answer whose length is not known yet."""


Endpoint = Callable[[Exchange], None]
