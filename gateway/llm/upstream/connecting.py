"""Makes a connection: looks the name up, checks what it stands for, and goes through a proxy.

Knows DNS, TCP, TLS and CONNECT in their order. Knows nothing of what is sent on the connection.

Until all layers stand, a protocol that says nothing holds the transport: whoever waits may be
cancelled until then, and uvloop does not tell a protocol whose transport it closes for that.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

from gateway.errors import UpstreamFailed
from gateway.llm.upstream.addresses import public
from gateway.llm.upstream.names import Names
from gateway.llm.upstream.tunnel import Silent, Tunnel
from gateway.llm.upstream.words import Origin, Proxy

# For how long an address may keep the next one from being tried.
ADDRESS_S = 2.0

Holder = TypeVar("Holder", bound=Silent)


class Connector:
    """Connects protocols to origins."""

    def __init__(self, loop: asyncio.AbstractEventLoop, names: Names) -> None:
        self._loop = loop
        self._names = names
        self._contexts: dict[Path | None, ssl.SSLContext] = {}

    async def connect(self, origin: Origin, make: Callable[[], asyncio.Protocol]) -> None:
        """Gives a connection to what `make` makes, whose `connection_made` is called last of all.

        Raises:
            UpstreamFailed: it cannot be reached, or must not be.
        """
        try:
            transport = await self._transport(origin)
        except ssl.SSLError as error:
            raise UpstreamFailed(f"{origin}: TLS: {_reason(error)}") from error
        except OSError as error:
            raise UpstreamFailed(f"{origin}: {_why(error)}") from error
        protocol = make()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)

    async def _transport(self, origin: Origin) -> asyncio.Transport:
        """The finished one; nothing has been said on it."""
        context = await self._context(origin) if origin.scheme == "https" else None
        proxy = origin.proxy
        if proxy is None:
            held, transport = await self._first_of(
                await self.allowed(origin), origin.host, origin.port, Silent, context
            )
        else:
            held, transport = await self._through(origin, proxy, context)
        if held.spoiled:
            transport.abort()
            raise OSError("it spoke first, or closed the connection at once")
        return transport

    async def allowed(self, origin: Origin) -> list[str]:
        """Its addresses that may be connected to; those, and no others, then are.

        Raises:
            UpstreamFailed: it has none.
        """
        found = await self._names.addresses(origin.host, origin.port)
        allowed = found if origin.allow_private else [a for a in found if public(a)]
        if not allowed:
            raise UpstreamFailed(
                f"{origin}: its address is not a public one, and allow_private is not set"
            )
        return allowed

    async def _first_of(
        self,
        addresses: list[str],
        host: str,
        port: int,
        hold: Callable[[], Holder],
        context: ssl.SSLContext | None,
    ) -> tuple[Holder, asyncio.Transport]:
        """Tries one address after another."""
        last = OSError("no address")
        name = host if context else None
        for number, address in enumerate(addresses, 1):
            try:
                async with asyncio.timeout(ADDRESS_S if number < len(addresses) else None):
                    transport, held = await self._loop.create_connection(
                        hold, address, port, ssl=context, server_hostname=name
                    )
            except ssl.SSLError:
                raise  # it answered: another address would answer the same
            except OSError as error:  # TimeoutError is one
                last = error
            else:
                return held, transport
        self._names.forget(host)
        raise last

    async def _through(
        self, origin: Origin, proxy: Proxy, context: ssl.SSLContext | None
    ) -> tuple[Silent, asyncio.Transport]:
        """By way of a proxy, which looks the name up: what can be checked here is an address."""
        if not origin.allow_private and _is_address(origin.host) and not public(origin.host):
            raise UpstreamFailed(f"{origin}: not a public address, and allow_private is not set")
        addresses = await self._names.addresses(proxy.host, proxy.port)
        if context is None:  # each request tells the proxy the whole URL
            return await self._first_of(addresses, proxy.host, proxy.port, Silent, None)
        tunnel, transport = await self._first_of(
            addresses, proxy.host, proxy.port, lambda: Tunnel(origin, proxy, self._loop), None
        )
        try:
            await tunnel.opened
            encrypted = await self._loop.start_tls(
                transport, tunnel, context, server_hostname=origin.host
            )
            if encrypted is None:
                raise OSError("the tunnel was closed")
        except BaseException:
            transport.abort()
            raise
        return tunnel, encrypted

    async def _context(self, origin: Origin) -> ssl.SSLContext:
        known = self._contexts.get(origin.ca_file)
        if known is None:
            # Reads files, those of the machine's trust store among them.
            known = await self._loop.run_in_executor(None, client_context, origin.ca_file)
            self._contexts[origin.ca_file] = known
        return known


def client_context(ca_file: Path | None) -> ssl.SSLContext:
    """Trusts who has signed `ca_file`, or whom the machine trusts; speaks HTTP/1.1 alone.

    Raises:
        OSError: the file cannot be read, or holds no certificates (ssl.SSLError).
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _why(error: OSError) -> str:
    """In the system's words where it has a number for it: a loop's own may name the address."""
    if error.errno:
        return os.strerror(error.errno)
    return str(error) or "it closed the connection before one stood"


def _reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate: {error.verify_message}"
    return error.reason or str(error)
