"""A share of requests is held out, by chance and for good, and that is written down."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.monitor.hold_out import HoldOut
from kernels import marks

REQUESTS = 40_000


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5])
def test_the_share_is_held_out_by_chance(share):
    chosen = HoldOut(share, "approve", seed=5)
    held = np.array([chosen.holds(one) for one in range(REQUESTS)])
    deviation = (share * (1 - share) / REQUESTS) ** 0.5
    assert abs(held.mean() - share) < 4 * deviation
    # Neighbours do not know of each other.
    pairs = (held[:-1] & held[1:]).mean()
    assert abs(pairs - share**2) < 5 * (share**2 / REQUESTS) ** 0.5


def test_another_process_holds_out_others_and_the_same_asks_the_same_again():
    one, other = (HoldOut(0.5, "approve", seed) for seed in (1, 2))
    said = [one.holds(sequence) for sequence in range(200)]
    assert said == [one.holds(sequence) for sequence in range(200)]
    assert said != [other.holds(sequence) for sequence in range(200)]


def test_every_row_says_whether_it_was_held_out_and_how_probable_that_was():
    chosen = HoldOut(0.25, "approve", seed=1)
    sequences, rows = range(50), [1, 3] * 25
    words = chosen.marks(sequences, rows)
    wanted = [
        chosen.holds(one) for one, many in zip(sequences, rows, strict=True) for _ in range(many)
    ]
    assert [bool(word & marks.HELD_OUT) for word in words] == wanted
    assert {marks.chance(word) for word in words[wanted]} == {0.25}
    assert {marks.chance(word) for word in words[~np.array(wanted)]} == {0.75}
