"""The token with which commands on the server's own machine speak to its control port.

Knows the server's secret and the time. Knows nothing of ports. Whoever may read the secret of a
home may change everything in it anyway, so knowing it is shown instead of keeping one more key; a
token is good for a minute or two.
"""

from __future__ import annotations

import base64
import binascii
import hmac

PREFIX = "psl_"
_STEP_S = 60


def local_token(secret: bytes, user: str, now: float) -> str:
    """A token for now.

    Args:
        secret: the server's.
        user: who runs the command; signed along, so that it stands in the audit.
        now: seconds since 1970.
    """
    return _token(secret, _written(user), int(now) // _STEP_S)


def local_user(secret: bytes, credential: bytes, now: float) -> str | None:
    """Who made a credential from the secret just now; None where it was not."""
    written = credential.rpartition(b".")[2]
    step = int(now) // _STEP_S
    near = [_token(secret, written, at).encode("latin-1") for at in range(step - 1, step + 2)]
    if not any(hmac.compare_digest(credential, one) for one in near):
        return None
    try:
        return base64.urlsafe_b64decode(written + b"=" * (-len(written) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def _written(user: str) -> bytes:
    return base64.urlsafe_b64encode(user.encode("utf-8", "replace")).rstrip(b"=")


def _token(secret: bytes, written: bytes, step: int) -> str:
    proof = hmac.digest(secret, b"penstock local command %d %b" % (step, written), "sha256").hex()
    return f"{PREFIX}{proof}.{written.decode('latin-1')}"
