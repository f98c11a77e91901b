"""docs/capture.md is walked through from its first step to its last."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from gateway import config
from tests.end_to_end.shell import ROOT, blocks, walked

PAGE = ROOT / "docs" / "capture.md"
BLOCKS = blocks(PAGE)
FENCED = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
TOLD = [text.splitlines() for language, text in FENCED if not language]


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """What each block printed."""
    with walked(PAGE, tmp_path_factory.mktemp("capture")) as found:
        yield found


def test_its_configuration_is_one():
    (document,) = [text for language, text in FENCED if language == "yaml"]
    assert config.parse(document).capture_of("fraud").mode == "rules"


def test_rows_are_captured_and_exported_with_their_outcomes(printed):
    assert len(printed) == len(BLOCKS)
    lines = [line.rpartition("/")[2] for line in printed[3].splitlines()]
    assert lines[:3] == TOLD[0][:3]
    assert lines[3].split() == TOLD[0][3].split()
    *told, nbytes, _, _ = lines[4].split()
    assert told == TOLD[0][4].split()[:6]
    assert 0 < int(nbytes) < 300_000


def test_a_stock_script_learns_from_them(printed):
    assert printed[4].splitlines() == TOLD[1]


def test_a_subject_is_erased_and_the_audit_tells_of_it(printed):
    lines = printed[5].splitlines()
    assert lines[:4] == TOLD[3]
    assert sum("subject/" in line for line in lines[4:]) == 2
    assert "p-17" not in "".join(lines[4:])
