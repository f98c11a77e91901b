"""The server's secret: what digests of keys are made with.

Knows the file in the home and the variable that names another one. Knows nothing of what it is
used for. It never stands in the configuration, and nothing prints it.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import stat
from pathlib import Path

from gateway.errors import ConfigInvalid, StoreFailed

VARIABLE = "PENSTOCK_SECRET_FILE"
FILE = "secret"
BYTES = 32
SUBJECT, VALUE, ERASED = "subject", "value", "erased"
"""What hashes are made of: those of one kind say nothing of another's."""


def server_secret(home: Path, make: bool = True) -> bytes:
    """Reads the secret of a home, making one at first use unless `make` is false.

    Raises:
        ConfigInvalid: the file that the environment names cannot be read or is too short.
        StoreFailed: the home's own cannot be read or made, is too short, or others may read it.
    """
    named = os.environ.get(VARIABLE)
    if named:
        try:
            given = Path(named).read_bytes()
        except OSError as error:
            raise ConfigInvalid(f"{VARIABLE}: {named}: {error.strerror}") from error
        if len(given) < BYTES:
            raise ConfigInvalid(f"{VARIABLE}: {named}: expected at least {BYTES} bytes")
        return given
    path = home / FILE
    try:
        if make and not path.exists():
            _make(path)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise StoreFailed(f"{path}: others may read it: chmod 600, and rotate every key")
        kept = path.read_bytes()
    except OSError as error:
        raise StoreFailed(f"{path}: {error.strerror or error}") from error
    if len(kept) < BYTES:
        raise StoreFailed(f"{path}: expected {BYTES} bytes, got {len(kept)}: restore it")
    return kept


def keyed_hash(secret: bytes, kind: str, text: str) -> bytes:
    """16 bytes that stand for a text: whoever has no secret cannot tell which, or try them all."""
    return hmac.digest(secret, f"{kind}\0{text}".encode(errors="surrogatepass"), "sha256")[:16]


def _make(path: Path) -> None:
    """Makes the file whole or not at all; of two processes at once, one is first."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{FILE}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another process was first: its secret counts
            os.link(draft, path)
    finally:
        draft.unlink()
