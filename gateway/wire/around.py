"""An exchange that stands for another: what is asked of it, it asks the other.

Knows what an exchange is. Knows nothing of why somebody stands between it and an endpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gateway.exchange import JSON_TYPE, Exchange, Header, Model, Phases, Stream
from gateway.wire.head import Head


class Around(Exchange):
    """Around one exchange; whoever has something to add overrides it."""

    __slots__ = (
        "_exchange",
        "arrived",
        "body",
        "headers",
        "method",
        "path",
        "query",
        "sequence",
    )

    def __init__(self, exchange: Exchange, body: bytes | None = None) -> None:
        """Stands for an exchange; `body`: in place of its own."""
        self._exchange = exchange
        self.method = exchange.method
        self.path = exchange.path
        self.query = exchange.query
        self.headers = exchange.headers
        self.body = exchange.body if body is None else body
        self.arrived = exchange.arrived
        self.sequence = exchange.sequence

    @property
    def gone(self) -> bool:  # type: ignore[override]  # only its carrier says so
        """The client left before it was answered."""
        return self._exchange.gone

    @property
    def head(self) -> Head:
        """The head that it came with."""
        head: Head = self._exchange.head  # type: ignore[attr-defined]  # every carrier has one
        return head

    @property
    def request_id(self) -> bytes:
        """What penstock-request-id says."""
        found: bytes = self._exchange.request_id  # type: ignore[attr-defined]  # as above
        return found

    @property
    def client(self) -> str:
        """The peer's address."""
        return self._exchange.client

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header; `name` in lower case."""
        return self._exchange.header(name)

    @property
    def about(self) -> Mapping[str, str]:
        """Fields for a log line."""
        return self._exchange.about

    def note_phases(self, phases: Phases) -> None:
        """Keeps when what happened."""
        self._exchange.note_phases(phases)

    def note_model(self, model: Model) -> None:
        """Keeps who answers."""
        self._exchange.note_model(model)

    def note_generation(self, happened: object) -> None:
        """Keeps what happens to a request to a language model."""
        self._exchange.note_generation(happened)

    def on_gone(self, callback: Callable[[], None]) -> None:
        """Calls back, once, if the client leaves before the answer is written."""
        self._exchange.on_gone(callback)

    def reply(
        self,
        status: int,
        body: bytes,
        headers: Sequence[Header] = (),
        content_type: bytes = JSON_TYPE,
    ) -> None:
        """Writes the whole answer."""
        self._exchange.reply(status, body, headers, content_type)

    def stream(self, status: int, headers: Sequence[Header] = ()) -> Stream:
        """Starts an answer."""
        return self._exchange.stream(status, headers)
