"""Takes the credential out of a request's headers, and refuses whatever is not plainly one.

Knows three headers and the characters of a credential. Knows nothing of which credentials are good.
A request that could be read in two ways (several headers, odd spaces, another scheme) is
refused: the proxy before this server may have read it the other way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from gateway.errors import Unauthenticated

Header = tuple[bytes, bytes]

# A token of an identity provider carries claims; 8 KB is what proxies allow a header line.
MAX_CREDENTIAL_BYTES = 8192
_AUTHORIZATION = b"authorization"
# Anthropic's clients send the one, Azure's the other.
_API_KEYS = frozenset((b"x-api-key", b"api-key"))
# RFC 6750's b64token, one space after the scheme.
_BEARER = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] ([A-Za-z0-9._~+/-]+=*)")
_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
_EXPECTED = "expected one 'Authorization: Bearer KEY', 'x-api-key: KEY' or 'api-key: KEY'"


def credential(headers: Iterable[Header]) -> bytes:
    """The one credential of a request.

    Args:
        headers: names in lower case.

    Raises:
        Unauthenticated: there is none, or it is not plainly one. The message never quotes it.
    """
    found = presented(headers)
    if found is None:
        raise Unauthenticated(f"credentials: {_EXPECTED}, got none")
    return found


def presented(headers: Iterable[Header]) -> bytes | None:
    """The one credential of a request; None where it comes without any.

    Raises:
        Unauthenticated: what it has is not plainly one.
    """
    bearer = api_key = None
    for name, value in headers:
        if name == _AUTHORIZATION:
            if bearer is not None:
                raise Unauthenticated(f"credentials: {_EXPECTED}, got several")
            bearer = _read(_BEARER, value)
        elif name in _API_KEYS:
            if api_key is not None:
                raise Unauthenticated(f"credentials: {_EXPECTED}, got several")
            api_key = _read(_TOKEN, value)
    if bearer is not None and api_key is not None and bearer != api_key:
        raise Unauthenticated(f"credentials: {_EXPECTED}, got two that differ")
    return bearer or api_key


def _read(form: re.Pattern[bytes], value: bytes) -> bytes:
    # Before anything looks at it: what is too long costs nothing.
    if len(value) > MAX_CREDENTIAL_BYTES:
        raise Unauthenticated(f"credentials: expected at most {MAX_CREDENTIAL_BYTES} bytes")
    found = form.fullmatch(value.strip(b" \t"))  # the space around a value is not part of it
    if found is None:
        raise Unauthenticated(f"credentials: {_EXPECTED}, got something else")
    return found[found.re.groups]
