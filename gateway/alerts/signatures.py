"""Signs what is sent, so that its receiver knows from whom it is and that it is not an old one.

Knows bytes, a secret and a time that is handed in. Knows nothing of who receives.

Source: Standard Webhooks, https://github.com/standard-webhooks/standard-webhooks: HMAC-SHA256 over
`id.timestamp.body`, for which there are libraries in most languages. Receivers refuse a timestamp
that is minutes away, and drop an id that they have seen.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

_PREFIX: Final = "whsec_"


def read_secret(text: str) -> bytes:
    """A secret as it is written down: `whsec_` and base64, or any text.

    Raises:
        ValueError: it is empty, or what follows `whsec_` is no base64.
    """
    text = text.strip()
    if text.startswith(_PREFIX):
        try:
            secret = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
        except binascii.Error as error:
            raise ValueError("expected base64 behind whsec_") from error
    else:
        secret = text.encode()
    if not secret:
        raise ValueError("expected a secret, got nothing")
    return secret


def signature(secret: bytes, event: str, timestamp: int, body: bytes) -> str:
    """What stands in the header `webhook-signature`."""
    signed = b"%s.%d.%s" % (event.encode(), timestamp, body)
    return "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()


def headers(secret: bytes | None, event: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of what is sent; without a secret those that name it alone."""
    named = {"webhook-id": event, "webhook-timestamp": str(timestamp)}
    if secret is not None:
        named["webhook-signature"] = signature(secret, event, timestamp, body)
    return named
