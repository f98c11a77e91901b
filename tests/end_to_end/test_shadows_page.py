"""docs/shadows.md is walked through from its first step to its last."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from gateway import config
from tests.end_to_end.shell import ROOT, blocks, walked

PAGE = ROOT / "docs" / "shadows.md"
FENCED = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
TOLD = [text.splitlines() for language, text in FENCED if not language]


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[list[str]]]:
    """The lines that each block printed, without those of the server's beginning."""
    with walked(PAGE, tmp_path_factory.mktemp("shadows")) as found:
        assert len(found) == len(blocks(PAGE))
        yield [text.splitlines() for text in found[3:]]


def test_its_configuration_is_one():
    (document,) = [text for language, text in FENCED if language == "yaml"]
    (shadow,) = config.parse(document).routes["cancer"].shadows
    assert shadow == config.Shadow(alias="candidate")  # its values are the defaults


def test_a_shadow_is_set_and_told_as_on_the_page(printed):
    assert printed[0] == TOLD[0]


def test_what_it_says_is_what_is_on_the_page(printed):
    assert _without_cost(printed[2]) == _without_cost(TOLD[1])


def test_the_rows_that_differ_most_are_those_on_the_page(printed):
    assert _without_ids(printed[3]) == _without_ids(TOLD[2])


def _without_cost(lines: list[str]) -> list[str]:
    """What a row costs is another each time."""
    assert any(re.fullmatch(r"cost +[0-9.]+ times", line) for line in lines)
    return [line for line in lines if not line.startswith("cost ")]


def _without_ids(lines: list[str]) -> list[list[str]]:
    """Requests have other ids, and come at another time."""
    rows = [re.split(r" {2,}", line) for line in lines]
    assert [row[:2] for row in rows[:1]] == [["REQUEST", "ROW"]]
    return [row[1:2] + row[3:] for row in rows]
