"""What these tests may use."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """The loop that workers have: its transports are not asyncio's own."""
    return "asyncio", {"use_uvloop": True}
