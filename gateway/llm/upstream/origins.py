"""From a provider's URL to the origin that its requests go to.

Knows URLs, and the environment's proxies. Knows nothing of providers' APIs or of connections.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from gateway.llm.upstream.proxies import proxy_for
from gateway.llm.upstream.words import Origin

_PORTS = {"http": 80, "https": 443}


def origin_at(
    base_url: str,
    environ: Mapping[str, str],
    *,
    ca_file: Path | None = None,
    allow_private: bool = False,
    max_connections: int = 1000,
) -> tuple[Origin, str]:
    """The origin, and the path that the API's own paths go behind, without a slash at its end.

    Args:
        base_url: http or https, without credentials, query or fragment.
        environ: may name proxies.
        ca_file: see `Origin`, as the rest.
        allow_private: ditto.
        max_connections: ditto.

    Raises:
        ValueError: it is no such URL, or the environment names a proxy that cannot be used.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        raise ValueError("expected http://HOST[:PORT][/PATH] or https://..., without credentials")
    if parts.query or parts.fragment:
        raise ValueError(f"expected no query or fragment, got {base_url!r}")
    host = _ascii(parts.hostname)
    port = _PORTS[parts.scheme] if parts.port is None else parts.port
    if not port:
        raise ValueError(f"expected a port of 1 to 65535, got {base_url!r}")
    proxy = proxy_for(parts.scheme, host, port, environ)
    origin = Origin(parts.scheme, host, port, ca_file, allow_private, proxy, max_connections)
    return origin, parts.path.rstrip("/")


def _ascii(host: str) -> str:
    """As names are looked up, certificates spell them and heads tell them."""
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ValueError(f"expected a name of a host, got {host!r}") from error
