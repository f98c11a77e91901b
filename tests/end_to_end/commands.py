"""A command as somebody runs it, from its start to its end."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping

from tests.end_to_end import nursery

# For one that reads what it is sent, must begin from nothing, or is stopped on its way.
PENSTOCK = (sys.executable, "-m", "gateway")
PATIENCE_S = 60.0


def penstock(
    *words: object, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs `penstock WORDS`; what it printed and ended with.

    Args:
        words: of the command line.
        environment: all of it; None: this process' own.
    """
    line = [str(word) for word in words]
    given = os.environ if environment is None else environment
    changed = [name for name in given if os.environ.get(name) != given[name]]
    if any(name.startswith(nursery.READ_WHILE_STARTING) for name in changed):
        command = [*PENSTOCK, *line]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE_S, env=given, check=False
        )
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = nursery.penstock(line, given, out, err)
        try:
            status = process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(line, status, out.read(), err.read())
