"""The search names slices that are worse off, and hardly ever one that only seems to be."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from gateway.outcomes.worst import worst_slices
from kernels.groups import add_cells, no_cells
from kernels.marks import grouped
from tests.outcomes.records import NOON_MS, records

SLICINGS = (("age", ("young", "old")), ("region", ("n", "e", "s", "w")), ("day", ("mo", "tu")))
LOOKED_AT = 2 + 4 + 2 + 2 * 4 + 2 * 2 + 4 * 2


class World:
    """Rows in random groups; right scores, but where a test says otherwise."""

    def __init__(self, seed, count=6000):
        rng = self.rng = np.random.default_rng(seed)
        self.count = count
        self.groups = [rng.integers(1, len(names) + 1, count) for _, names in SLICINGS]
        self.scores = rng.beta(0.7, 0.7, count)
        self.outcomes = (rng.random(count) < self.scores).astype(float)

    def where(self, **groups):
        found = np.ones(self.count, bool)
        for place, (name, names) in enumerate(SLICINGS):
            if name in groups:
                found &= self.groups[place] == names.index(groups[name]) + 1
        return found

    def cells(self, end=None):
        marks = np.zeros(self.count, np.int64)
        for place, some in enumerate(self.groups):
            marks |= some * grouped(place, 1)[1]
        words = records(range(self.count), scores=self.scores, outcomes=self.outcomes, marks=marks)[
            :end
        ]
        cells = no_cells(len(SLICINGS))
        add_cells(cells, words, 1, 0, 2 * NOON_MS)
        return cells

    def worst(self, figure="error_rate", end=None, min_rows=50):
        return worst_slices(figure, SLICINGS, self.cells(end), min_rows)


def flipped(world, where):
    world.outcomes[where] = 1.0 - world.outcomes[where]


def test_a_pair_of_groups_that_is_worse_is_named_with_its_figures():
    world = World(1)
    bad = world.where(age="old", region="s")
    flipped(world, bad)
    found = world.worst()
    assert found.looked_at == LOOKED_AT
    first = found.slices[0]
    assert {"age", "region"} <= first.groups.keys() or first.groups == {"region": "s"}
    named = next(one for one in found.slices if one.groups == {"age": "old", "region": "s"})
    wrong = (world.scores > 0.5) != world.outcomes
    assert named.n == bad.sum()
    assert named.value == pytest.approx(wrong[bad].mean())
    assert named.rest == pytest.approx(wrong[~bad].mean())
    assert named.difference == pytest.approx(named.value - named.rest)
    assert named.low <= named.value <= named.high
    assert 0 < named.difference_low <= named.difference <= named.difference_high


@pytest.mark.parametrize(
    ("figure", "spoil"),
    [
        ("error_rate", lambda w, bad: flipped(w, bad)),
        ("squared_error", lambda w, bad: flipped(w, bad)),
        ("false_negative_rate", lambda w, bad: w.scores.__setitem__(bad, w.scores[bad] / 2)),
        ("false_positive_rate", lambda w, bad: w.scores.__setitem__(bad, w.scores[bad] / 2 + 0.5)),
        ("selection_rate", lambda w, bad: w.scores.__setitem__(bad, w.scores[bad] / 2)),
        ("calibration_gap", lambda w, bad: w.scores.__setitem__(bad, w.scores[bad] / 2)),
    ],
)
def test_every_figure_names_the_group_that_it_is_worse_in(figure, spoil):
    world = World(2)
    spoil(world, world.where(day="tu"))
    found = world.worst(figure)
    assert {"day": "tu"} in [one.groups for one in found.slices]
    assert not any(one.groups.get("day") == "mo" for one in found.slices)


def test_figures_are_means_of_their_rows():
    world = World(3)
    bad = world.where(day="tu")
    world.scores[bad] /= 2
    said = world.scores > 0.5
    positive = world.outcomes == 1
    wanted = {
        "error_rate": (said[bad] != positive[bad]).mean(),
        "squared_error": ((world.scores - world.outcomes)[bad] ** 2).mean(),
        "false_negative_rate": (~said[bad & positive]).mean(),
        "selection_rate": said[bad].mean(),
        "calibration_gap": (world.outcomes - world.scores)[bad].mean(),
    }
    for figure, value in wanted.items():
        named = [one for one in world.worst(figure).slices if one.groups == {"day": "tu"}]
        assert [one.value for one in named] == pytest.approx([value]), figure


def test_evidence_is_the_ratio_of_two_likelihoods():
    """Of few rows, by integration over all rates rather than by gamma functions."""
    grid = (np.arange(20_000) + 0.5) / 20_000
    (x, n), (y, m) = (9, 12), (3, 30)

    def mixture(hits, trials):
        return (grid**hits * (1 - grid) ** (trials - hits)).mean()

    same = (grid ** (x + y) * (1 - grid) ** (n + m - x - y)).max()
    wanted = math.log10(mixture(x, n) * mixture(y, m) / same)
    inside, outside = np.zeros(n, int), np.ones(m, int)
    outcomes = np.array([1.0] * (n - x) + [0.0] * x + [1.0] * (m - y) + [0.0] * y)
    marks = (np.concatenate((inside, outside)) + 1) * grouped(0, 1)[1]
    cells = no_cells(1)
    add_cells(
        cells, records(range(n + m), scores=0.9, outcomes=outcomes, marks=marks), 1, 0, 1 << 60
    )
    (found,) = worst_slices("error_rate", [("s", ("in", "out"))], cells, 1).slices
    assert found.groups == {"s": "in"}
    assert found.log10_e == pytest.approx(wanted, abs=1e-3)


def test_slices_that_only_seem_worse_are_hardly_ever_named_however_often_somebody_looks():
    runs, named = 80, 0
    for seed in range(runs):
        world = World(100 + seed, count=3000)
        looks = itertools.product(("error_rate",), range(300, 3001, 300))
        named += any(world.worst(figure, end).slices for figure, end in looks)
    assert named / runs <= 0.05


def test_slices_of_few_rows_or_beside_few_are_not_looked_at():
    world = World(4, count=100)
    assert world.worst(min_rows=101).looked_at == 0
    assert world.worst(min_rows=60).looked_at < LOOKED_AT
    assert worst_slices("error_rate", (), no_cells(0)).looked_at == 0
