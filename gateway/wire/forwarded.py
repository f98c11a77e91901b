"""Whose word about the client's address is believed.

Knows addresses, networks and the X-Forwarded-For header. Knows nothing of connections.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from gateway.errors import ConfigInvalid
from gateway.exchange import Header

# A chain of proxies is short; a header of a thousand addresses is somebody's joke.
MAX_HOPS = 32


class TrustedProxies:
    """The peers whose X-Forwarded-For tells the truth."""

    def __init__(self, places: Iterable[str] = ()) -> None:
        """Reads addresses and networks.

        Raises:
            ConfigInvalid: one is neither.
        """
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for number, place in enumerate(places):
            try:
                self._networks.append(ipaddress.ip_network(place, strict=False))
            except ValueError as error:
                raise ConfigInvalid(
                    f"server.trusted_proxies[{number}]: expected an address or network, "
                    f"got '{place}'"
                ) from error

    def client(self, peer: str, headers: Sequence[Header]) -> str:
        """The client's address: the nearest in the chain whom no trusted proxy vouches further for.

        Args:
            peer: who holds the other end of the connection.
            headers: names in lower case.
        """
        if not self._networks or not self._trusts(peer):
            return peer
        lines = [value for name, value in headers if name == b"x-forwarded-for"]
        chain = b",".join(lines).decode("latin-1").split(",")
        client = peer
        for hop in reversed(chain[-MAX_HOPS:]):
            address = _address(hop)
            if address is None:
                break
            client = str(address)
            if not self._trusts(client):
                break
        return client

    def _trusts(self, place: str) -> bool:
        address = _address(place)
        return address is not None and any(address in network for network in self._networks)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # A dual-stack socket sees IPv4 peers as ::ffff:10.0.0.1.
    return getattr(address, "ipv4_mapped", None) or address
