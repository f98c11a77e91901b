"""docs/outcomes.md is walked through from its first step to its last."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.end_to_end.shell import ROOT, blocks, walked

PAGE = ROOT / "docs" / "outcomes.md"
BLOCKS = blocks(PAGE)


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """What each block printed."""
    with walked(PAGE, tmp_path_factory.mktemp("outcomes")) as found:
        yield found


def test_outcomes_of_a_file_are_joined_once(printed):
    assert len(printed) == len(BLOCKS)
    lines = printed[3].splitlines()
    told = PAGE.read_text().split("truth.ndjson: ")[1].splitlines()
    assert lines[0] == "truth.ndjson: " + told[0]
    assert lines[1].startswith("569 records since ")
    assert lines[2:] == told[2:5]


def test_figures_are_those_of_the_page(printed):
    table, _, report = printed[4].partition('{"model"')
    told = PAGE.read_text().split("```\nbreast_cancer version 1: ")[1].partition("```")[0]
    assert _figures(table) == _figures(told)
    found = json.loads('{"model"' + report)
    assert (found["records"], found["labelled"], found["window_s"]) == (569, 569, 3600.0)


def test_slices_are_those_of_the_page(printed):
    block = next(n for n, (_, text) in enumerate(BLOCKS) if "penstock fairness" in text)
    told = PAGE.read_text().split(BLOCKS[block][1] + "```\n\n```\n")[1].partition("```")[0]
    assert printed[block].rstrip() == told.rstrip()


def test_concept_drift_is_told_as_on_the_page(printed):
    block = next(n for n, (_, text) in enumerate(BLOCKS) if text.startswith("penstock concept"))
    table, _, report = printed[block].partition('{"model"')
    told = PAGE.read_text().split(BLOCKS[block][1] + "```\n\n```\n")[1].partition("```")[0]
    assert [line.rstrip() for line in table.splitlines()] == told.splitlines()
    assert json.loads('{"model"' + report)["verdict"] == "ok"


def test_figures_of_those_held_out_stand_beside_those_of_what_is_labelled(printed):
    block = next(
        n
        for n, (_, text) in enumerate(BLOCKS)
        if "outcomes import" in text and "biopsies.ndjson" in text
    )
    lines = printed[block].splitlines()
    assert lines[0].startswith("biopsies.ndjson: ")
    assert lines[1].startswith("held out, policy 'biopsy': ")
    assert lines[1].endswith(" with an outcome (100.0%)")
    specificity = next(line.split() for line in lines if line.startswith("specificity"))
    # Whom the model overlooks is seen by chance alone.
    assert float(specificity[-1]) > 207 / 212
    assert len(printed) == len(BLOCKS)


def _figures(table: str) -> list[str]:
    """All lines but the one with times."""
    lines = table.removeprefix("breast_cancer version 1: ").rstrip().splitlines()
    return [line.rstrip() for line in lines if not line.startswith("outcomes came after")]
