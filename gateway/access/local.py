"""The token with which commands on the server's own machine speak to its control port.

Knows the server's secret and the time. Knows nothing of ports. Whoever may read the secret of a
home may change everything in it anyway, so knowing it is shown instead of keeping one more key; a
token is good for a minute or two.
"""

from __future__ import annotations

import hmac

PREFIX = "psl_"
_STEP_S = 60


def local_token(secret: bytes, now: float) -> str:
    """A token for now; `now` is seconds since 1970."""
    return _token(secret, int(now) // _STEP_S)


def is_local(secret: bytes, credential: bytes, now: float) -> bool:
    """Whether a credential was made from the secret just now."""
    step = int(now) // _STEP_S
    near = range(step - 1, step + 2)
    return any(hmac.compare_digest(credential, _token(secret, at).encode()) for at in near)


def _token(secret: bytes, step: int) -> str:
    return PREFIX + hmac.digest(secret, b"penstock local command %d" % step, "sha256").hex()
