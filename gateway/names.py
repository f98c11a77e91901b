"""Which names a model may have, on disk, in the registry and on the wire alike; and how many.

Knows characters. Knows nothing of models that exist.
"""

from __future__ import annotations

import unicodedata

from gateway.errors import InvalidParameter

MAX_NAME = 200
# A name is also a folder, and a folder's name has at most 255 bytes.
MAX_NAME_BYTES = 255
MAX_VERSION = (1 << 31) - 1
# Each business metric takes 8 bytes for every record of a file that has a number of it.
MAX_METRICS = 32


def name_fault(name: str) -> str | None:
    """Why `name` cannot be a model's name; None where it can.

    Odd but harmless names such as `...`, `..my_model` and `model..1` are allowed.
    """
    if not name or not name.strip():
        return "model name must not be empty"
    if name in (".", "..") or "/" in name or "\\" in name:
        return "model name must not contain path traversal characters"
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        return "model name must not contain control characters"
    if len(name) > MAX_NAME or len(name.encode()) > MAX_NAME_BYTES:
        return f"model name must have at most {MAX_NAME} characters, got {len(name)}"
    return None


def check_name(name: str) -> str:
    """`name`, where it can be a model's.

    Raises:
        InvalidParameter: it cannot.
    """
    fault = name_fault(name)
    if fault is not None:
        raise InvalidParameter(f"{fault}: {name[:80]!r}")
    return name


def version_of(text: str) -> int | None:
    """The version a folder or a path names: a positive number in plain digits, else None."""
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return None
    version = int(text)
    return version if 0 < version <= MAX_VERSION and str(version) == text else None


def check_alias(alias: str) -> str:
    """`alias`, where it can be one: a name by the same rules that no version number looks like.

    Raises:
        InvalidParameter: it cannot.
    """
    if name_fault(alias) is not None or alias.isdigit():
        raise InvalidParameter(
            f"alias {alias[:80]!r}: wanted 1 to {MAX_NAME} characters that are not all digits,"
            " without slashes or control characters"
        )
    return alias
