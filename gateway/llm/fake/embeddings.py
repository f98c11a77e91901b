"""OpenAI's embeddings, and its lists of models: answers that never stream.

A text's vector is made of its digest: equal texts have equal vectors. Knows the dialects. Knows
nothing of connections.
"""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from collections.abc import Mapping
from typing import Any

from gateway.llm.fake.content import CHARS_PER_TOKEN, Counted
from gateway.llm.fake.script import Script

DIMENSIONS = 8
MODELS = ("gpt-4o-mini", "claude-sonnet-4-5", "vendor/with-slash")
_BORN = 1_700_000_000


def answer(values: Mapping[str, Any], script: Script) -> tuple[dict[str, Any], Counted]:
    """A vector for each input.

    Raises:
        ValueError: an encoding that servers refuse, null included.
    """
    form = values.get("encoding_format", "float")
    if form not in ("float", "base64"):
        raise ValueError(f"encoding_format: expected float or base64, got {form!r}")
    inputs = values["input"]
    if isinstance(inputs, str) or (inputs and isinstance(inputs[0], int)):
        inputs = [inputs]
    size = values.get("dimensions") or DIMENSIONS
    vectors = [vector(str(one), size) for one in inputs]
    data = [
        {"object": "embedding", "index": n, "embedding": _encoded(vector, form)}
        for n, vector in enumerate(vectors)
    ]
    chars = sum(len(x) if isinstance(x, str) else CHARS_PER_TOKEN * len(x) for x in inputs)
    told = script.input if script.input >= 0 else -(-chars // CHARS_PER_TOKEN)
    usage = {"prompt_tokens": told, "total_tokens": told}
    found = {"object": "list", "model": script.model or values["model"], "data": data}
    if script.usage != "absent":
        found["usage"] = usage
    return found, Counted(input=told, output=0)


def vector(text: str, size: int = DIMENSIONS) -> list[float]:
    """The vector of a text, of length 1 (to the precision of a float32)."""
    digest = hashlib.sha256(text.encode()).digest()
    raw = [digest[n % len(digest)] - 127.5 for n in range(size)]
    norm = math.sqrt(sum(x * x for x in raw))
    return list(struct.unpack(f"<{size}f", struct.pack(f"<{size}f", *(x / norm for x in raw))))


def models(anthropic: bool) -> dict[str, Any]:
    """The models there are."""
    if anthropic:
        data = [
            {
                "id": name,
                "type": "model",
                "display_name": name,
                "created_at": "2025-01-01T00:00:00Z",
            }
            for name in MODELS
        ]
        return {"data": data, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]}
    return {"object": "list", "data": [model(name) for name in MODELS]}


def model(name: str) -> dict[str, Any]:
    """One of them."""
    return {"id": name, "object": "model", "created": _BORN, "owned_by": "fake"}


def _encoded(values: list[float], form: str) -> Any:
    if form == "float":
        return values
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
