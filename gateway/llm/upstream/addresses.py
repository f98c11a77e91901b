"""Which addresses may be connected to.

Knows networks that are not the open internet. Knows nothing of names: what a name stands for is
checked after it was looked up, and the address that was checked is the one that is connected to.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from socket import AI_NUMERICHOST, gaierror, getaddrinfo

Address = IPv4Address | IPv6Address

# Clouds answer whoever asks there with credentials of the machine; the address looks public.
_METADATA = frozenset((ip_address("168.63.129.16"),))
# What IANA hands out of IPv6, and what stands for all of IPv4 where there is none (RFC 6052).
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")


def public(address: str) -> bool:
    """Whether it is one of the open internet, however it is written.

    Not so: loopback, private, shared (CGNAT), link-local, metadata services, documentation,
    multicast, unspecified, reserved; nor an address of IPv6 that stands for such a one of IPv4.

    Args:
        address: of IPv4 or IPv6, maybe with a zone (`fe80::1%eth0`).

    Raises:
        ValueError: it is none.
    """
    parsed = ip_address(address.partition("%")[0])
    return all(map(_public, _meant(parsed)))


def literal(host: str) -> str | None:
    """The address that a host is a way of writing (`127.1`, `0x7f000001`); None: it is a name."""
    try:
        found = getaddrinfo(host, None, flags=AI_NUMERICHOST)
    except (gaierror, UnicodeError):
        return None
    return str(found[0][4][0])


def _public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return address in _NAT64
    return address.is_global and not address.is_multicast and address not in _METADATA


def _meant(address: Address) -> list[Address]:
    """The address, and what is reached through it; a mapped one stands for nothing else."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped:
        return [address.ipv4_mapped]
    meant: list[Address] = [address]
    if address.sixtofour:
        meant.append(address.sixtofour)
    if address.teredo:
        meant += address.teredo
    if address in _NAT64:
        meant.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return meant
