"""docs/monitoring.md is walked through from its first step to its last."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.end_to_end.shell import ROOT, blocks, walked

PAGE = ROOT / "docs" / "monitoring.md"
BLOCKS = blocks(PAGE)


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """What each block printed."""
    with walked(PAGE, tmp_path_factory.mktemp("monitoring")) as found:
        yield found


def test_a_profile_is_made_and_shown(printed):
    assert len(printed) == len(BLOCKS)
    shown = printed[0]
    assert "of 569 rows" in shown
    assert any(line.startswith("mean_radius") and "█" in line for line in shown.splitlines())


def test_live_rows_are_compared_with_the_profile(printed):
    table, _, report = printed[2].partition('{"model"')
    few = "too_few_rows"
    told = f"breast_cancer version 1: {few}, predictions {few}, alarm {few} (569 rows"
    assert table.startswith(told)
    found = json.loads('{"model"' + report)
    assert found["rows"] == found["reference_rows"] == 569
    # The reference's own rows: no distance at all.
    assert {line["psi"] for line in found["features"]} == {0.0}
    assert {line["ks"] for line in found["features"]} == {0.0}
