"""Carries calls out over httpx: connections, deadlines and retries, synchronous and not.

Knows HTTP's failures and when a call may be sent again. Knows nothing of what is asked.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from gateway.client import tls
from gateway.client.calls import Call, Reply
from gateway.client.errors import ConnectionLost, TimedOut, Unreachable
from gateway.client.tls import Cert, Verify
from gateway.errors import GatewayError

T = TypeVar("T")

DEFAULT_TIMEOUT_S = 30.0
# A server that is being started again is there within a second or two.
FIRST_PAUSE_S = 0.2
# Many clients are told to come back after the same second; they should not all come at once.
SPREAD = 0.25


class Deadline:
    """When a call must be over; with None it has any time."""

    def __init__(self, timeout_s: float | None) -> None:
        self.timeout_s = timeout_s
        self._end = None if timeout_s is None else time.monotonic() + timeout_s

    def left_s(self) -> float | None:
        """Seconds that are left, at least a millisecond; None: any."""
        return None if self._end is None else max(1e-3, self._end - time.monotonic())

    def allows(self, pause_s: float) -> bool:
        """Whether there is time left after a pause."""
        left = self.left_s()
        return left is None or pause_s < left


def pause_before_retry_s(error: GatewayError, tried: int, repeatable: bool) -> float | None:
    """How long to wait before a call is sent again.

    Args:
        error: what came of it.
        tried: how often it has been sent again already.
        repeatable: it changes nothing.

    Returns:
        Seconds; None: not again. What nobody received may always be sent again; what was refused
        for now, if it is repeatable; what was lost or timed out, never.
    """
    if isinstance(error, Unreachable):
        return FIRST_PAUSE_S * 2.0**tried
    if isinstance(error, TimedOut | ConnectionLost) or not (error.retryable and repeatable):
        return None
    return error.retry_after_s * (1 + SPREAD * random.random())


def _options(
    url: str, key: str | None, connections: int, verify: Verify, cert: Cert
) -> dict[str, Any]:
    # Left alone, httpx asks for compressed answers: tensors are not worth the time.
    headers = {"accept-encoding": "identity"}
    if key is not None:
        headers["authorization"] = f"Bearer {key}"
    return {
        "base_url": url,
        "headers": headers,
        "limits": httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        # Reading the certificates takes longer than a request; where there is no TLS, no need.
        "verify": tls.context(verify, cert) if url.startswith("https:") else False,
        # A gateway is asked by address: neither a proxy nor a password from the environment.
        "trust_env": False,
    }


def _failure(url: str, error: httpx.HTTPError, left_s: float | None) -> GatewayError:
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol):
        return Unreachable(f"{url}: no connection: {error}")
    if isinstance(error, httpx.TimeoutException):
        return TimedOut(f"{url}: no answer within {left_s:.3g} s")
    return ConnectionLost(f"{url}: no whole answer: {error}")


def _request(call: Call[Any], deadline: Deadline, tried: int) -> dict[str, Any]:
    # At first the time as it was given: requests that differ in nothing stay the same bytes, which
    # servers know how to take short.
    payload = call.payload(deadline.left_s() if tried else deadline.timeout_s)
    return {
        "method": call.method,
        "url": call.path,
        "content": payload.body,
        "headers": payload.headers,
        "timeout": deadline.left_s(),
    }


def _reply(response: httpx.Response) -> Reply:
    return Reply(response.status_code, response.headers, response.content)


class _Settings:
    """What both lines are told."""

    def __init__(self, url: str, timeout_s: float | None, retries: int) -> None:
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._retries = retries

    def _deadline(self, timeout_s: float | None) -> Deadline:
        return Deadline(self._timeout_s if timeout_s is None else timeout_s)

    def _pause_s(
        self, error: GatewayError, call: Call[Any], deadline: Deadline, tried: int
    ) -> float:
        """Seconds to wait before the next try; raises the error where there is none."""
        pause = pause_before_retry_s(error, tried, call.repeatable)
        if pause is None or tried >= self._retries or not deadline.allows(pause):
            raise error
        return pause


class Line(_Settings):
    """Connections to one server, kept open between calls; may be shared by threads.

    Use it as a context manager, or close it.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
        retries: int = 0,
        connections: int = 100,
        verify: Verify = True,
        cert: Cert = None,
    ) -> None:
        """Opens nothing yet.

        Args:
            url: of the server: `http://127.0.0.1:8000`.
            key: sent as a bearer token.
            timeout_s: how long a call may take, tries and pauses included; each of connecting,
                sending and receiving may take what is left of it. None: any time.
            retries: how often a call is sent again that found nobody there, or that was refused
                for now and changes nothing, after the pause that the server asked for.
            connections: at most so many at a time; further calls wait for one.
            verify: with https, what to check the server's certificate against: a PEM file of
                issuers, or a context; True: the usual issuers; False: nothing.
            cert: the certificate to show: a PEM file with its key in it, or one of each.

        Raises:
            ConfigInvalid: `verify` or `cert` name files that will not do.
        """
        super().__init__(url, timeout_s, retries)
        self._http = httpx.Client(**_options(url, key, connections, verify, cert))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def _do(self, call: Call[T], timeout_s: float | None = None) -> T:
        deadline = self._deadline(timeout_s)
        for tried in itertools.count():
            try:
                return call.read(self._send(call, deadline, tried))
            except GatewayError as error:
                pause = self._pause_s(error, call, deadline, tried)
            time.sleep(pause)  # between two tries, as the server asked or ever longer
        raise AssertionError("tries do not end")

    def _send(self, call: Call[Any], deadline: Deadline, tried: int) -> Reply:
        try:
            return _reply(self._http.request(**_request(call, deadline, tried)))
        except httpx.HTTPError as error:
            raise _failure(self.url, error, deadline.timeout_s) from error


class AsyncLine(_Settings):
    """The same for asyncio; belongs to the loop that it is first used on."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
        retries: int = 0,
        connections: int = 100,
        verify: Verify = True,
        cert: Cert = None,
    ) -> None:
        """Opens nothing yet; the arguments are those of `Line`."""
        super().__init__(url, timeout_s, retries)
        self._http = httpx.AsyncClient(**_options(url, key, connections, verify, cert))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def _do(self, call: Call[T], timeout_s: float | None = None) -> T:
        deadline = self._deadline(timeout_s)
        for tried in itertools.count():
            try:
                return call.read(await self._send(call, deadline, tried))
            except GatewayError as error:
                pause = self._pause_s(error, call, deadline, tried)
            await asyncio.sleep(pause)
        raise AssertionError("tries do not end")

    async def _send(self, call: Call[Any], deadline: Deadline, tried: int) -> Reply:
        try:
            return _reply(await self._http.request(**_request(call, deadline, tried)))
        except httpx.HTTPError as error:
            raise _failure(self.url, error, deadline.timeout_s) from error
