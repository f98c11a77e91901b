"""Which proxy the environment wants between this machine and an origin.

Knows HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, in either case, as curl reads them. Knows
nothing of connections.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import unquote, urlsplit

from gateway.llm.upstream.words import Proxy

_WITH_PORT = re.compile(r"(\[.*\]|[^:]*):([0-9]{1,5})")


def proxy_for(scheme: str, host: str, port: int, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy on the way to an origin; None: it is connected to directly.

    HTTP_PROXY in capitals does not count where there is REQUEST_METHOD: a server's client could
    have set it by a header (`Proxy:`).

    Raises:
        ValueError: the variable holds no proxy that can be used; the message tells no password.
    """
    name = f"{scheme}_proxy"
    url = environ.get(name) or environ.get(name.upper(), "")
    if name == "http_proxy" and "REQUEST_METHOD" in environ:
        url = environ.get(name, "")
    if not url:
        name = "all_proxy"
        url = environ.get(name) or environ.get(name.upper(), "")
    if not url or _spared(host, port, environ.get("no_proxy") or environ.get("NO_PROXY", "")):
        return None
    return _parsed(url, name)


def _parsed(url: str, name: str) -> Proxy:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.scheme != "http" or not parts.hostname or port == 0:
        where = f"{parts.scheme}://{parts.hostname or ''}"
        raise ValueError(f"{name}: expected http://[USER:PASSWORD@]HOST[:PORT], got {where}...")
    authorization = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    return Proxy(parts.hostname, port or 80, authorization)


def _spared(host: str, port: int, no_proxy: str) -> bool:
    """Whether NO_PROXY names it: `*`, a domain and all below it, an address or a network."""
    host = host.lower().rstrip(".")
    for entry in no_proxy.lower().split(","):
        entry = entry.strip()
        if entry == "*" or (entry and (_names(entry, host, port) or _holds(entry, host))):
            return True
    return False


def _names(entry: str, host: str, port: int) -> bool:
    with_port = _WITH_PORT.fullmatch(entry)
    if with_port:
        if int(with_port[2]) != port:
            return False
        entry = with_port[1]
    entry = entry.removeprefix("*").strip(".[]")
    return host == entry or host.endswith(f".{entry}")


def _holds(entry: str, host: str) -> bool:
    try:
        return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return False
