"""What the columns of a model are called, where its rows bring no names along.

Knows the metadata of an ONNX file, and which names go first. Knows nothing of rows or of files, or
of where a configuration says something.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

Named = Mapping[str, Sequence[str]]
Configured = Sequence[str] | Named
"""Names of the columns of a model's one input, or by input."""

FEATURE_NAMES = "feature_names"
"""The key of an ONNX file's own metadata under which it names its columns: a JSON list, or names
with commas between them."""


MAX_NAME = 1000
"""Characters; with what is put behind them, names stay texts that a profile may hold."""


def feature_names(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The columns' names that an ONNX file brings along; none where it brings none to be read."""
    given = metadata.get(FEATURE_NAMES, "").strip()
    try:
        names: Any = orjson.loads(given) if given.startswith("[") else given.split(",")
    except orjson.JSONDecodeError:
        return ()
    cleaned = [str(name).strip() for name in names]
    usable = all(0 < len(name) <= MAX_NAME for name in cleaned)
    return tuple(cleaned) if usable and len(set(cleaned)) == len(cleaned) else ()


def by_input(own: Sequence[str], configured: Configured, inputs: Sequence[str]) -> Named:
    """Names of columns by input: what the model brings along, else what is configured.

    Args:
        own: see `feature_names`.
        configured: of the model, in the configuration.
        inputs: of the model; a plain list of names is of the one that there is, or of none.
    """
    given = own or configured
    if isinstance(given, Mapping):
        return given
    return {inputs[0]: list(given)} if given and len(inputs) == 1 else {}
