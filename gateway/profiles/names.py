"""What the columns of a model are called, where its rows bring no names along.

Knows the metadata of an ONNX file. Knows nothing of rows, of files or of the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

FEATURE_NAMES = "feature_names"
"""The key of an ONNX file's own metadata under which it names its columns: a JSON list, or names
with commas between them."""


def feature_names(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The columns' names that an ONNX file brings along; none where it brings none to be read."""
    given = metadata.get(FEATURE_NAMES, "").strip()
    try:
        names: Any = orjson.loads(given) if given.startswith("[") else given.split(",")
    except orjson.JSONDecodeError:
        return ()
    cleaned = [str(name).strip() for name in names]
    return tuple(cleaned) if all(cleaned) and len(set(cleaned)) == len(cleaned) else ()
