"""docs/rollouts.md is walked through from its first step to its last."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from gateway.config.rollout import parse_plan
from tests.end_to_end.shell import ROOT, blocks, walked

PAGE = ROOT / "docs" / "rollouts.md"
FENCED = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
TOLD = [text.splitlines() for language, text in FENCED if not language]


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[list[str]]]:
    """The lines that each block printed, without those of the server's beginning."""
    with walked(PAGE, tmp_path_factory.mktemp("rollouts")) as found:
        assert len(found) == len(blocks(PAGE))
        yield [text.splitlines() for text in found[2:]]


def test_its_plans_are_some():
    plans = [parse_plan(text, "page") for language, text in FENCED if language == "yaml"]
    assert [[one.percent for one in plan.steps] for plan in plans] == [[None, 5, 100], [100]]


def test_a_rollout_starts_and_clients_go_on_as_on_the_page(printed):
    assert masked(printed[0]) == masked(TOLD[0])
    assert printed[1] == TOLD[1]


def test_its_story_is_told_as_on_the_page(printed):
    story = [line for line in printed[2] if not _is_a_figure(line)]
    assert masked(story) == masked([line for line in TOLD[2] if not _is_a_figure(line)])


def test_people_move_it_as_on_the_page(printed):
    assert masked(printed[3]) == masked(TOLD[3])


def _is_a_figure(line: str) -> bool:
    """Verdicts come when they come, and their figures are other ones each time."""
    return re.search(r"  (pass|fail|inconclusive): ", line) is not None


def masked(lines: list[str]) -> list[str]:
    """Without what is another each time: when, who, how long and how many."""
    text = "\n".join(re.sub(r"  +", "  ", line) for line in lines)
    text = re.sub(r"\d{4}-\d\d-\d\d \S+", "WHEN", text)
    text = re.sub(r"stood \S+ (s|min) and [\d,]+ rows", "stood", text)
    return re.sub(r"\(\w+\)$|  \w+$", "WHO", text, flags=re.MULTILINE).splitlines()
