"""A terminal that types in the blocks of a page, in their order, as its reader would.

Ports are replaced by free ones and state goes to an empty home; everything else is as written.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.end_to_end.errand import NURSERY
from tests.end_to_end.nursery import listening
from tests.end_to_end.server import RunningServer, running

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of every block that is to be run."""
    fenced = r"^```(bash|console|python)\n(.*?)^```"
    return re.findall(fenced, page.read_text(), re.MULTILINE | re.DOTALL)


@contextmanager
def walked(page: Path, folder: Path) -> Iterator[list[str]]:
    """What each block of a page printed; they share one terminal, whose home begins empty."""
    with ExitStack() as servers:
        shell = Shell(folder / "home", servers)
        shell.home.mkdir()
        yield [shell.run(language, text) for language, text in blocks(page)]


@dataclass
class Shell:
    """One terminal: its home, and the server that runs in its background until the next one."""

    home: Path
    servers: ExitStack
    server: RunningServer | None = None
    outputs: list[str] = field(default_factory=list)

    def run(self, language: str, text: str) -> str:
        if text.startswith("penstock serve "):
            return self._serve(text)
        if language == "python":
            return self._call([sys.executable, "-c", self._moved(text)])
        return self._call(["bash", "-euo", "pipefail", "-c", self._moved(text)])

    def _serve(self, text: str) -> str:
        assert text.endswith(" &\n"), "a server belongs into the background"
        self.servers.close()
        text = os.path.expandvars(text.replace("$PENSTOCK_HOME", str(self.home)))
        words = shlex.split(text.removesuffix(" &\n"))[2:]
        self.server = self.servers.enter_context(running(self.home, *words, "--workers", "1"))
        return self.server.log

    def _moved(self, text: str) -> str:
        if self.server is None:
            return text
        data, control = f":{self.server.port}", f":{self.server.admin_port}"
        return text.replace(":8000", data).replace(":8002", control)

    def _call(self, command: list[str]) -> str:
        nursery = listening().fileno()
        tools = [str(HERE / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        environment = os.environ | {
            "PATH": os.pathsep.join(tools),
            "PENSTOCK_HOME": str(self.home),
            NURSERY: str(nursery),
        }
        # What runs this test may be make; the README's make is one of its own.
        for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
            environment.pop(name, None)
        run = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            pass_fds=[nursery],
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert run.returncode == 0, f"{command[-1]}\n{run.stdout}\n{run.stderr}"
        return run.stdout
