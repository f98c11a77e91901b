"""Every command and program in README.md is run, in its order, against the server it starts.

Ports are replaced by free ones and state goes to an empty home; everything else is as written.
Commands that need a container or a clone stand in the text, not in blocks.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.end_to_end.server import RunningServer, running

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(bash|console|python)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the README's lines use curl")


@dataclass
class Shell:
    """One terminal: its home, and the server that runs in its background."""

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
        words = shlex.split(text.removesuffix(" &\n"))[2:]
        self.server = self.servers.enter_context(running(self.home, *words, "--workers", "1"))
        return self.server.log

    def _moved(self, text: str) -> str:
        if self.server is None:
            return text
        data, control = f":{self.server.port}", f":{self.server.admin_port}"
        return text.replace(":8000", data).replace(":8002", control)

    def _call(self, command: list[str]) -> str:
        tools = Path(sys.executable).parent
        environment = os.environ | {
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "PENSTOCK_HOME": str(self.home),
        }
        # What runs this test may be make; the README's make is one of its own.
        for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
            environment.pop(name, None)
        run = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200
        )
        assert run.returncode == 0, f"{command[-1]}\n{run.stdout}\n{run.stderr}"
        return run.stdout


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What each block printed, by its first line; the blocks share one terminal."""
    with ExitStack() as servers:
        shell = Shell(tmp_path_factory.mktemp("readme"), servers)
        yield {text.splitlines()[0]: shell.run(language, text) for language, text in BLOCKS}


def output(outputs: dict[str, str], start: str) -> str:
    (found,) = [printed for line, printed in outputs.items() if line.startswith(start)]
    return found


def test_every_block_runs(outputs):
    assert len(outputs) == len(BLOCKS) >= 6


def test_the_demo_prints_its_table(outputs):
    assert "requests/s" in output(outputs, "make demo")


def test_the_first_request_is_answered(outputs):
    printed = output(outputs, "curl http://127.0.0.1:8000/v2/models/breast_cancer")
    assert '"name":"label","datatype":"INT64"' in printed
    assert '"outputs":[' in printed


def test_the_triton_client_gets_labels_and_probabilities(outputs):
    printed = output(outputs, "import numpy")
    assert re.search(r"\[[01 ]+\] \[0\.\d+", printed)


def test_the_python_client_gets_labels_and_probabilities(outputs):
    printed = output(outputs, "from gateway.client")
    assert re.search(r"True \(-1, 30\)\n1 \[[01]\] \[\[[01]\.\d* +[01]\.\d*\]\] \S+-\d", printed)


def test_rows_of_a_file_are_answered(outputs):
    header, *lines = output(outputs, "penstock infer").splitlines()
    assert header.startswith("label,probabilities[")
    assert len(lines) == 3


def test_the_registered_model_is_listed(outputs):
    assert re.search(r"^cancer +1 +.*champion", output(outputs, "penstock register"), re.MULTILINE)


def test_the_metrics_named_in_the_readme_are_there(outputs):
    printed = output(outputs, "curl http://127.0.0.1:8002/metrics")
    named = re.findall(r"^\| (`penstock_.+?) \|", README, re.MULTILINE)
    names = [name for cell in named for name in re.findall(r"`(penstock_\w+)`", cell)]
    assert len(names) > 8
    assert [name for name in names if f"# TYPE {name} " not in printed] == []
