"""What an exchange does the same way whoever carries it: calling the endpoint, and its failures.

Knows heads, endpoints and errors. Knows nothing of how an answer gets to the client.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from gateway.errors import GatewayError
from gateway.exchange import JSON_TYPE, Endpoint, Header
from gateway.wire import answers
from gateway.wire.head import Head
from gateway.wire.services import Services

logger = logging.getLogger("penstock.wire")


class BaseExchange:
    """The half of `gateway.exchange.Exchange` that has nothing to do with the carrier."""

    __slots__ = (
        "_answered",
        "_callbacks",
        "_endpoint",
        "arrived",
        "body",
        "gone",
        "head",
        "headers",
        "method",
        "path",
        "query",
    )

    method: bytes
    path: bytes
    query: bytes
    headers: Sequence[Header]
    body: bytes
    arrived: float
    gone: bool
    head: Head
    _endpoint: Endpoint
    _answered: bool
    _callbacks: list[Callable[[], None]] | None

    @property
    def services(self) -> Services:
        """The worker's."""
        raise NotImplementedError

    @property
    def request_id(self) -> bytes:
        """What penstock-request-id says."""
        raise NotImplementedError

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header; `name` in lower case."""
        return self.head.first(name)

    def on_gone(self, callback: Callable[[], None]) -> None:
        """Calls back, once, if the client leaves before the answer is written."""
        if self.gone:
            callback()
        elif self._callbacks is None:
            self._callbacks = [callback]
        else:
            self._callbacks.append(callback)

    def reply(
        self,
        status: int,
        body: bytes,
        headers: Sequence[Header] = (),
        content_type: bytes = JSON_TYPE,
    ) -> None:
        """Writes the whole answer."""
        raise NotImplementedError

    def begin(self) -> None:
        """Calls the endpoint."""
        try:
            self._endpoint(self)  # type: ignore[arg-type]  # subclasses add what is missing
        except GatewayError as error:
            self.refuse(error)
        except Exception:
            logger.exception("request %s: the endpoint failed", self.request_id.decode())
            self.services.counters.refused(GatewayError.code)
            self._give_up(500, answers.INTERNAL_BODY)

    def refuse(self, error: GatewayError) -> None:
        """Counts an error, and answers with it."""
        self.services.counters.refused(error.code)
        body = answers.error_body(str(error))
        self._give_up(error.status, body, answers.error_headers(error))

    def _tell_gone(self) -> None:
        self.gone = True
        callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            try:
                callback()
            except Exception:
                logger.exception("request %s: an on_gone failed", self.request_id.decode())

    def _give_up(self, status: int, body: bytes, headers: Sequence[Header] = ()) -> None:
        if self._answered:
            # An answer that has begun can only be broken off: so the client sees it is not whole.
            self._break_off()
        else:
            self.reply(status, body, headers)

    def _break_off(self) -> None:
        raise NotImplementedError
