"""Replaces a file of the home's in one step, so that nobody reads half of one.

Knows one folder's files. Knows nothing of what is in them, and promises nothing about a power cut:
what must survive that is in the store.
"""

from __future__ import annotations

import os
from pathlib import Path


def replace(path: Path, data: bytes) -> bool:
    """Writes the file; False where it says this already. Blocks: not for an event loop.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    if path.exists() and path.read_bytes() == data:
        return False
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return True
