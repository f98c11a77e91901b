"""API keys as text: how they are made, what they look like, and the digest that stands for them.

Knows randomness and HMAC. Knows nothing of where digests are kept. A raw key exists in the caller's
hands and, for the length of one look-up, here; what is stored, sent and compared is its digest.
"""

from __future__ import annotations

import hmac
import re
import secrets

from gateway.errors import InvalidParameter

PREFIX = "psk_"
# 32 characters of 6 bits: 192 bits, beyond any search.
RANDOM_BYTES = 24
MAX_KEY_BYTES = 128
_KEY = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{{RANDOM_BYTES * 4 // 3}}}")
NAME_PATTERN = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_NAME = re.compile(NAME_PATTERN)
RESERVED_NAMES = frozenset({"other", "token"})
"""What metrics call the callers that have no name of their own."""


def new_key() -> str:
    """A fresh raw key."""
    return PREFIX + secrets.token_urlsafe(RANDOM_BYTES)


def read_key(text: bytes) -> str:
    """A raw key that somebody else has made, white space around it taken off.

    Raises:
        InvalidParameter: it does not look like one of ours. The message does not quote it.
    """
    raw = text.decode("latin-1").strip()
    if not _KEY.fullmatch(raw):
        raise InvalidParameter(
            f"expected '{PREFIX}' and {RANDOM_BYTES * 4 // 3} letters, digits, dashes or"
            f" underscores, got something else ({len(raw)} characters)"
        )
    return raw


def digest(secret: bytes, raw: bytes) -> str:
    """What is known of a key: HMAC-SHA256 under the server's secret, in hex.

    With the secret elsewhere, a stolen database neither holds keys nor lets guesses be checked.
    """
    return hmac.digest(secret, raw, "sha256").hex()


def is_name(name: str) -> bool:
    """Whether something may be the name of a key: it becomes a label of metrics."""
    return _NAME.fullmatch(name) is not None and name not in RESERVED_NAMES
