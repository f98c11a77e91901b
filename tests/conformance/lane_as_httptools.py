"""A pytest plugin: whoever asks uvicorn for its httptools protocol gets the lane.

Loaded by name into a run of uvicorn's tests, in which `tests` is their package: so it stands alone.
"""

from __future__ import annotations

from typing import Any

import pytest
from uvicorn.protocols.http import httptools_impl

from gateway.wire.http import Lane

made: list[type] = []


class HttpToolsProtocol(Lane):
    """The lane under the name by which the tests choose what applies to a protocol."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        made.append(type(self))


httptools_impl.HttpToolsProtocol = HttpToolsProtocol  # type: ignore[misc]


def pytest_sessionfinish(session: pytest.Session) -> None:
    # A run that never met the lane would say nothing about it.
    if not made:
        session.exitstatus = pytest.ExitCode.USAGE_ERROR


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"{len(made)} connections were the lane's")
