"""Every command and program in README.md is run, in its order, against the server it starts.

Commands that need a container or a clone stand in the text, not in blocks.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.end_to_end.shell import ROOT, Shell, blocks

README = (ROOT / "README.md").read_text()
BLOCKS = blocks(ROOT / "README.md")

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the README's lines use curl")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What each block printed, by its first line; the blocks share one terminal."""
    with ExitStack() as servers:
        shell = Shell(tmp_path_factory.mktemp("readme"), servers)
        # The rest of the demo takes half a minute and is `test_demo.py`'s.
        os.environ["DEMO"] = "--answers"
        servers.callback(os.environ.pop, "DEMO")
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
