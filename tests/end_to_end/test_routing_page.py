"""docs/routing.md is walked through from its first step to its last."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from gateway import config
from tests.end_to_end.shell import ROOT, blocks, walked

PAGE = ROOT / "docs" / "routing.md"
FENCED = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
TOLD = [text.splitlines() for language, text in FENCED if not language]


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[list[str]]]:
    """The lines that each block printed, without those of the server's beginning."""
    with walked(PAGE, tmp_path_factory.mktemp("routing")) as found:
        assert len(found) == len(blocks(PAGE))
        yield [text.splitlines() for text in found[2:]]


def test_its_configuration_is_one():
    (document,) = [text for language, text in FENCED if language == "yaml"]
    route = config.parse(document).routes["cancer"]
    assert [one.weight for one in route.variants] == [90, 10]


def test_a_route_is_set_and_told_as_on_the_page(printed):
    assert printed[0] == TOLD[0]


def test_variants_answer_as_on_the_page(printed):
    assert printed[1] == TOLD[1]


def test_a_stopped_route_is_told_as_on_the_page(printed):
    assert _without_person(printed[2]) == _without_person(TOLD[2])


def test_the_audit_says_why_it_was_stopped_and_it_goes_on(printed):
    assert printed[3] == TOLD[3]


def _without_person(lines: list[str]) -> list[str]:
    """Who runs this, and when, is another each time."""
    return [re.sub(r"^stopped by .* at [^,]*", "stopped by somebody", line) for line in lines]
