"""API keys as text: how they are made, what they look like, and the digest that stands for them.

Knows randomness and HMAC. Knows nothing of where digests are kept. A raw key exists in the caller's
hands and, for the length of one look-up, here; what is stored, sent and compared is its digest.
"""

from __future__ import annotations

import hmac
import re
import secrets

PREFIX = "psk_"
# 32 characters of 6 bits: 192 bits, beyond any search.
RANDOM_BYTES = 24
MAX_KEY_BYTES = 128
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
RESERVED_NAMES = frozenset({"other", "token"})
"""What metrics call the callers that have no name of their own."""


def new_key() -> str:
    """A fresh raw key."""
    return PREFIX + secrets.token_urlsafe(RANDOM_BYTES)


def digest(secret: bytes, raw: bytes) -> str:
    """What is known of a key: HMAC-SHA256 under the server's secret, in hex.

    With the secret elsewhere, a stolen database neither holds keys nor lets guesses be checked.
    """
    return hmac.digest(secret, raw, "sha256").hex()


def is_name(name: str) -> bool:
    """Whether something may be the name of a key: it becomes a label of metrics."""
    return _NAME.fullmatch(name) is not None and name not in RESERVED_NAMES
