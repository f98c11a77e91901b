"""Which dialect is spoken at which path, for errors that are told before any endpoint is asked.

Knows paths. Knows nothing of endpoints.
"""

from __future__ import annotations

from gateway.errors import GatewayError
from gateway.wire import answers
from gateway.wire.llm.errors import error_body
from gateway.wire.llm.words import PATHS

_DIALECTS = {path: dialect for dialect, path in PATHS.items()}


def refusal(error: GatewayError, path: bytes) -> bytes:
    """The body of one error, as whoever asks at this path expects it."""
    dialect = _DIALECTS.get(path)
    return answers.refusal(error) if dialect is None else error_body(dialect, error)
