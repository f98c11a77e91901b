"""Which dialect is spoken at which path, for errors that are told before any endpoint is asked.

Knows paths. Knows nothing of endpoints.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.errors import GatewayError
from gateway.exchange import Header
from gateway.wire import answers
from gateway.wire.llm import azure
from gateway.wire.llm.errors import error_body, request_id_header
from gateway.wire.llm.words import PATHS, Dialect

_BELOW = (b"/v1/", azure.BELOW)
_DIALECTS = {path: dialect for dialect, path in PATHS.items()}
_WITHOUT = {path.removeprefix(b"/v1"): dialect for path, dialect in _DIALECTS.items()}
WITHOUT_V1 = (*_WITHOUT, b"/models")
"""Where clients ask whose base URL lacks the version: nothing is there, and they are told so."""


def refusal(
    error: GatewayError, path: bytes, request_id: bytes, echo: bytes | None
) -> tuple[bytes, Sequence[Header]]:
    """What tells of one error as whoever asks at this path expects it; `services.Refusal`."""
    dialect = _DIALECTS.get(path) or _WITHOUT.get(path)
    if dialect is None:
        if not path.startswith(_BELOW) and path not in WITHOUT_V1:
            return answers.refusal(error, path, request_id, echo)
        dialect = Dialect.CHAT  # a list of models: whose client it is, headers would say
    error.request_id = request_id.decode()
    return error_body(dialect, error), request_id_header(dialect, request_id, echo)
