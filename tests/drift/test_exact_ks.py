"""A column with points: KS as SciPy has it from the values, and every other figure as without."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gateway.drift.figures import figures
from gateway.drift.kinds import Effects
from gateway.drift.panes import no_moments
from gateway.drift.reference import Reference
from gateway.drift.report import NUMBERS
from gateway.profiles.layout import layouts_of
from gateway.profiles.live import places
from gateway.profiles.points import MAX_POINTS
from kernels import columns
from tests.profiles.test_builder import profile_of

NAMES = ("a", "b")
DATATYPES = {np.float32: "FP32", np.float64: "FP64", np.int64: "INT64"}


class Watched:
    """A profile, and rows counted into its bins as a worker counts them."""

    def __init__(
        self, rows: np.ndarray, exact: tuple[str, ...] = ("a",), names: tuple[str, ...] = NAMES
    ) -> None:
        datatype = DATATYPES[rows.dtype.type]
        self.profile = profile_of(rows, datatype, names=names, exact=exact)
        self.places = places(self.profile)
        self.reference = Reference.of(self.profile, self.places)

    def counted(self, rows: np.ndarray) -> np.ndarray:
        (layout,) = layouts_of(self.profile.frames)
        block = np.zeros(layout.block_words, np.int64)
        columns.count_rows(np.ascontiguousarray(rows), block, layout.words, 1, 0)
        return block[self.places.counts]

    def figures(self, rows: np.ndarray, reference: Reference | None = None):
        ones = Effects(np.ones(2), np.ones(2))
        return figures(reference or self.reference, self.counted(rows), no_moments(2), ones)


def draw(rng, rows, dtype, shift=0.0):
    values = rng.normal(shift, 1.0, (rows, 2))
    return (values * 40).round().astype(dtype) if dtype == np.int64 else values.astype(dtype)


@pytest.mark.parametrize("dtype", DATATYPES)
@pytest.mark.parametrize("shift", [0.0, 0.3, 5.0])
def test_ks_and_its_bound_are_scipys_d(dtype, shift):
    rng = np.random.default_rng(5)
    before, live = draw(rng, 900, dtype), draw(rng, 700, dtype, shift)
    found = Watched(before).figures(live)
    wanted = stats.ks_2samp(before[:, 0], live[:, 0], method="asymp").statistic
    assert found.ks[0] == found.ks_bound[0] == pytest.approx(wanted, abs=1e-12)
    assert found.ks[1] < found.ks_bound[1]  # from bins


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(-9, 9), min_size=2, max_size=80),
    st.lists(st.integers(-12, 12), min_size=1, max_size=80),
)
def test_values_that_repeat_or_lie_between_or_outside_change_nothing_of_that(before, live):
    before, live = (
        np.repeat(np.array(some, np.float32)[:, None] / 3, 2, 1) for some in (before, live)
    )
    found = Watched(before).figures(live)
    wanted = stats.ks_2samp(before[:, 0], live[:, 0], method="asymp").statistic
    assert found.ks[0] == found.ks_bound[0] == pytest.approx(wanted, abs=1e-12)


def test_every_other_figure_is_that_of_its_bins():
    rng = np.random.default_rng(6)
    before, live = draw(rng, 900, np.float32), draw(rng, 700, np.float32, 0.2)
    exact, plain = (Watched(before, some).figures(live) for some in (("a",), ()))
    for name in {*NUMBERS, "counts", "rows"} - {"ks", "ks_bound", "ks_p_value"}:
        assert np.array_equal(getattr(exact, name), getattr(plain, name), equal_nan=True), name
    assert exact.judgement.log10_e.tolist() == plain.judgement.log10_e.tolist()
    assert plain.ks[0] <= exact.ks[0] <= plain.ks_bound[0]


def test_a_reference_of_more_values_than_points_has_a_bound_of_a_thousandth():
    rng = np.random.default_rng(7)
    before, live = draw(rng, 30_000, np.float64), draw(rng, 5_000, np.float64, 0.1)
    found = Watched(before).figures(live)
    wanted = stats.ks_2samp(before[:, 0], live[:, 0], method="asymp").statistic
    assert found.ks[0] <= wanted <= found.ks_bound[0] <= found.ks[0] + 1.1 / (MAX_POINTS - 59)


def test_earlier_traffic_in_the_references_place_is_held_against_at_its_points_too():
    rng = np.random.default_rng(8)
    watched = Watched(draw(rng, 900, np.int64))
    earlier, live = draw(rng, 800, np.int64, 0.5), draw(rng, 700, np.int64, 0.6)
    rolled = watched.reference.rolled(watched.counted(earlier), 800)
    found = watched.figures(live, rolled)
    wanted = stats.ks_2samp(earlier[:, 0], live[:, 0], method="asymp").statistic
    assert found.ks[0] <= wanted + 1e-12
    assert wanted <= found.ks_bound[0] + 1e-12
