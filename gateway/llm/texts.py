"""What was asked and answered, word for word, where somebody wants it kept.

Knows bodies of requests and readings of answers. Knows nothing of who wants it, or of what is
hidden of it: that is done where it is written down, and not where requests are answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import orjson

from gateway.tensors import Array
from gateway.wire.llm.reading import Reading

TEXTS: Final = ("prompt", "answer")
"""Names of the columns: a request's body, and the parts of an answer, both as JSON."""


def worded(asked: Sequence[bytes], said: Sequence[Reading | None]) -> list[Array]:
    """The columns of TEXTS, (rows, 1) each.

    Args:
        asked: bodies of requests.
        said: answers to them.
    """
    made: Array = np.empty((len(TEXTS), len(asked), 1), object)
    made[0, :, 0] = asked
    for place, reading in enumerate(said):
        made[1, place, 0] = b"[]" if reading is None else orjson.dumps(_parts(reading))
    return list(made)


def _parts(reading: Reading) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [{"text": text} for text in reading.texts]
    parts += [{"tool": call.name, "arguments": call.arguments} for call in reading.calls]
    return parts
