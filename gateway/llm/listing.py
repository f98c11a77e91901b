"""Tells which language models there are, as OpenAI's and Anthropic's clients want to know it.

Knows both shapes. Knows nothing of HTTP, or of how models are found.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

OWNER = "penstock"


def openai_model(name: str, since: float) -> dict[str, Any]:
    """One model; `since`: when this worker began, seconds since 1970, for want of a better date."""
    return {"id": name, "object": "model", "created": int(since), "owned_by": OWNER}


def openai_list(names: Iterable[str], since: float) -> dict[str, Any]:
    """All models, by name."""
    return {"object": "list", "data": [openai_model(name, since) for name in sorted(names)]}


def anthropic_model(name: str, since: float) -> dict[str, Any]:
    """As `openai_model`, for Anthropic's clients."""
    created = datetime.fromtimestamp(int(since), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": "model", "id": name, "display_name": name, "created_at": created}


def anthropic_list(names: Iterable[str], since: float) -> dict[str, Any]:
    """As `openai_list`; all of them are on the first page."""
    data = [anthropic_model(name, since) for name in sorted(names)]
    return {
        "data": data,
        "has_more": False,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }
