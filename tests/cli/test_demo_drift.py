"""What the demo calls wrong with an alarm."""

from __future__ import annotations

import pytest

from gateway.cli.demo_drift import SHIFTED, Drifted, Seen
from gateway.cli.demo_rows import read_rows


def seen(**alarms: str) -> dict[str, Seen]:
    return {name: Seen(name, 2000, 0.1, 0.1, 1.0, alarm) for name, alarm in alarms.items()}


CLEAN = seen(**{SHIFTED: "ok", "label": "watch"})
SHIFT = seen(**{SHIFTED: "drift", "label": "watch"})
BOTH = seen(**{SHIFTED: "drift", "label": "drift"})


@pytest.mark.parametrize(
    ("named", "before", "after", "faults"),
    [
        ((SHIFTED,), CLEAN, SHIFT, []),
        ((SHIFTED,), SHIFT, SHIFT, [f"{SHIFTED}: alarm on clean traffic"]),
        ((SHIFTED, "label"), CLEAN, SHIFT, ["label: named, but was not shifted"]),
        ((SHIFTED,), CLEAN, BOTH, ["label: named, but was not shifted"]),
        ((), CLEAN, SHIFT, [f"{SHIFTED}: shifted, but not named"]),
    ],
)
def test_the_shifted_feature_is_named_and_nothing_else(named, before, after, faults):
    assert Drifted(1000, named, before, after).faults() == faults


def test_the_shifted_feature_is_one_of_the_data():
    rows = read_rows()
    assert {row.features for row in rows} == {rows[0].features}
    assert SHIFTED in rows[0].features
    assert len(rows[0].features) == len(rows[0].values) == 30
