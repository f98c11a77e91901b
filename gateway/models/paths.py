"""Files of a model, found inside the model's own folder or not at all.

Knows paths and symlinks. Knows nothing of what the files hold.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath

from gateway.errors import ModelRefused


def inside(folder: Path, relative: str, what: str) -> Path:
    """The real path of a regular file that `folder` holds under a relative name.

    Symlinks are followed as long as they end inside `folder`, which may itself be reached by one.

    Args:
        folder: where the file must lie.
        relative: the name as some file or person gave it; it may be hostile.
        what: names the file in refusals.

    Raises:
        ModelRefused: absolute, empty, with `..` or NUL, leading outside, missing, no regular file.
    """
    shown = relative if len(relative) <= 80 else relative[:77] + "..."
    pure = PurePosixPath(relative)
    if not relative.strip() or "\0" in relative or "\\" in relative or relative.endswith("/"):
        raise ModelRefused(f"{what} {shown!r}: wanted the name of a file in the model's folder")
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise ModelRefused(
            f"{what} {shown!r}: wanted a file inside the model's folder, got a path out of it"
        )
    try:
        home = folder.resolve(strict=True)
        path = (home / pure).resolve(strict=True)
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise ModelRefused(f"{what} {shown!r}: no such file in the model's folder") from error
    except (OSError, RuntimeError, ValueError) as error:
        # ValueError: lone surrogates, RuntimeError: symlinks in a circle (Python 3.11 and 3.12).
        raise ModelRefused(f"{what} {shown!r}: cannot be opened: {_reason(error)}") from error
    if not path.is_relative_to(home):
        raise ModelRefused(
            f"{what} {shown!r}: wanted a file inside the model's folder, got a link out of it"
        )
    if not stat.S_ISREG(mode):
        raise ModelRefused(f"{what} {shown!r}: wanted a regular file")
    return path


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return type(error).__name__
