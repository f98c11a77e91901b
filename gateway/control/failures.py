"""The one shape in which the control port tells of an error.

Knows errors. Knows nothing of what was asked.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from starlette.responses import Response

from gateway.errors import GatewayError


def failure(error: GatewayError, headers: Mapping[str, str] | None = None) -> Response:
    """The answer that tells of an error."""
    given = dict(headers or {})
    if error.status in (429, 503):
        given["retry-after"] = str(error.retry_after_s)
    if error.status == 401:
        given["www-authenticate"] = 'Bearer realm="penstock"'
    return Response(error_body(error), error.status, given, media_type="application/json")


def error_body(error: GatewayError) -> bytes:
    """The JSON of an error."""
    # A message may quote what a client sent, lone surrogates included.
    text = str(error).encode("utf-8", "replace").decode()
    return orjson.dumps({"error": text, "code": error.code})
