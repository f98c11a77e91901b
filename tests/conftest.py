"""What every test may use. Nothing here starts a server: see tests/end_to_end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# An example has no deadline: on a busy machine any of them may take a while.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

# As in `penstock serve`: ORT's telemetry thread connects out and does not survive a fork.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def pytest_configure(config: pytest.Config) -> None:
    # Before anything imports kernels: compiled ones are kept from run to run, which saves seconds.
    cache = getattr(config, "cache", None)  # not with -p no:cacheprovider
    if cache is not None:
        os.environ.setdefault("NUMBA_CACHE_DIR", str(cache.mkdir("numba")))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home folder."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder
