"""docs/experiments.md is walked through from its first step to its last."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from gateway.config.experiments import parse_experiment
from tests.end_to_end.shell import ROOT, blocks, walked

PAGE = ROOT / "docs" / "experiments.md"
FENCED = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
TOLD = [text.splitlines() for language, text in FENCED if not language]


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[list[str]]]:
    """The lines that each block printed, without those of the server's beginning."""
    with walked(PAGE, tmp_path_factory.mktemp("experiments")) as found:
        assert len(found) == len(blocks(PAGE))
        yield [text.splitlines() for text in found[2:]]


def test_its_file_is_an_experiment():
    (document,) = [text for language, text in FENCED if language == "yaml"]
    found = parse_experiment(document, str(PAGE))
    assert [one.name for one in found.guardrails] == ["error_rate", "complaint"]  # type: ignore


@pytest.mark.parametrize("block", range(4), ids=["plan", "start", "undecided", "decided"])
def test_an_ab_test_goes_as_on_the_page(printed, block):
    assert printed[block] == TOLD[block]


def test_a_bandit_gives_the_better_variant_nearly_all(printed):
    assert printed[4] == TOLD[4]
    lines = {line.split()[0]: line.split() for line in printed[5]}
    assert float(lines["novel"][2].rstrip("%")) > 80.0
    assert int(lines["stable"][3]) + int(lines["novel"][3]) == 1600


def test_a_replay_finds_what_each_variant_is_worth(printed):
    rows = [line.split() for line in printed[6]]
    alone, halves = (row for row in rows if row[0] == "snips")
    assert float(alone[3]) < 1 / 10 < float(alone[5])
    assert float(halves[3]) < (1 / 10 + 1 / 6) / 2 < float(halves[5])
    assert printed[6][-1] == TOLD[6][-1]
