"""Draws the pictures that lie beside it: run `python -m docs.pictures.generate`.

Knows what happens to figures where nothing has changed, where something has, and where rows depend
on each other. Draws with the product's own kernels, rules and seeds, so that a picture changes
whenever a threshold does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import erf, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from docs.pictures.chart import Axis, Line, Threshold, chart
from gateway.drift.baseline import Baseline, joined
from gateway.drift.design_effect import DesignEffect
from gateway.drift.rules import DEFAULT
from kernels import divergences, evidence, ordered
from kernels.chi_square import psi_null_quantile

FOLDER = Path(__file__).resolve().parent
SEED, BINS, REFERENCE, COLUMNS = 7, 60, 5000, 30
BLUE, ORANGE, GREEN, GREY = "#2563c9", "#d97706", "#15803d", "#888"
Array = np.ndarray[Any, np.dtype[Any]]
Points = list[tuple[float, float]]


class Source:
    """A normal column, its reference of 5,000 rows in 60 bins, and live rows of it."""

    def __init__(self, rng: np.random.Generator) -> None:
        sample = np.sort(rng.normal(size=REFERENCE))
        upto = REFERENCE * np.arange(1, BINS) // BINS
        self.edges = sample[upto - 1]
        self.counts = np.diff(np.concatenate([[0], upto, [REFERENCE]]))[None]
        self.bins = np.array([BINS])
        self.baseline = Baseline.of(self.counts, self.bins, np.array([True]))

    def binned(self, values: Array) -> Array:
        """(1, BINS) counts of values."""
        return np.bincount(np.searchsorted(self.edges, values), minlength=BINS)[None]

    def drawn(self, rng: np.random.Generator, rows: int, shift: float = 0.0) -> Array:
        """(1, BINS) counts of so many live rows."""
        upto = [0.5 + 0.5 * erf((edge - shift) / sqrt(2)) for edge in self.edges]
        return rng.multinomial(rows, np.diff([0.0, *upto, 1.0]))[None]

    def log10_e(self, live: Array, effect: float = 1.0) -> float:
        """The evidence of live counts."""
        base = self.baseline
        grouped = joined(live, base.group_of)
        found = evidence.log10_e(
            base.grouped, grouped, base.groups, base.effect, np.array([effect])
        )
        return float(found[0])


def level() -> float:
    """log10 of the e-value that one column of 30 needs, by e-BH."""
    return float(np.log10(COLUMNS) - DEFAULT.log10_level)


def psi() -> str:
    """What PSI is where nothing has changed."""
    rng, lines, marks = np.random.default_rng(SEED), [], []
    for rows, colour in ((600, ORANGE), (2000, GREEN), (10_000, BLUE)):
        found = np.empty(1000)
        for at in range(len(found)):
            source = Source(rng)
            live = source.drawn(rng, rows)
            found[at] = divergences.divergences(source.counts, live, source.bins).psi[0]
        lines.append(Line(f"windows of {rows} rows", _density(found, 0.0, 0.2, 60), colour))
        null = psi_null_quantile(np.array([REFERENCE]), np.array([rows]), np.array([BINS]))
        marks.append(Threshold(f"p95 {null[0]:.3f}", x=float(null[0]), colour=colour))
    x = Axis("PSI", 0.0, 0.2, (0, 0.05, 0.1, 0.15, 0.2))
    y = Axis("density", 0.0, 120.0, (0, 40, 80, 120))
    title = "PSI without any change: 60 bins against a reference of 5,000 rows"
    return chart(title, x, y, lines, marks)


def watching() -> str:
    """The e-value as rows come in."""
    rng, lines = np.random.default_rng(SEED), []
    for label, shift, colour in (
        ("nothing has changed", 0.0, GREY),
        ("a quarter standard deviation", 0.25, BLUE),
    ):
        lines += [
            Line(label, _watched(Source(rng), rng.normal(shift, 1, 4000)), colour, 1.0)
            for _ in range(15)
        ]
    x = Axis("live rows", 0, 4000, (0, 1000, 2000, 3000, 4000))
    y = Axis("log10 e", -6, 30, (0, 10, 20, 30))
    mark = Threshold(f"{level():.1f}: a false alarm a hundred days, 30 features", y=level())
    return chart("Evidence as rows come in, looked at all the time", x, y, lines, [mark])


def floor() -> str:
    """Why evidence is not enough: the distance of a reference from what it was drawn from."""
    rng, lines = np.random.default_rng(SEED), []
    for label, shift, colour in (
        ("nothing has changed", 0.0, GREY),
        ("an eighth of a standard deviation", 0.125, ORANGE),
        ("a quarter", 0.25, BLUE),
    ):
        found = np.empty(1000)
        for at in range(len(found)):
            source = Source(rng)
            live = source.drawn(rng, 20_000, shift)
            found[at] = ordered.kolmogorov_smirnov(source.counts, live, source.bins).low[0]
        lines.append(Line(label, _density(found, 0.0, 0.16, 60), colour))
    x = Axis("KS distance, windows of 20,000 rows", 0.0, 0.16, (0, 0.05, 0.1, 0.15))
    y = Axis("density", 0.0, 160.0, (0, 80, 160))
    mark = Threshold(f"floor {DEFAULT.ks_floor:g}", x=DEFAULT.ks_floor)
    return chart("The distance that a verdict of drift asks for", x, y, lines, [mark])


def dependence() -> str:
    """What rows that follow each other do to evidence, and what the design effect makes of it."""
    rng, lines = np.random.default_rng(SEED), []
    for _ in range(10):
        source = Source(rng)
        values = _following(rng, 20_000)
        effects = _effects(source, values)
        lines.append(Line("taken as independent", _watched(source, values), ORANGE, 1.0))
        points = _watched(source, values, effects)
        lines.append(Line("by the design effect", points, BLUE, 1.0))
    x = Axis("live rows, ten a second", 0, 20_000, (0, 5000, 10_000, 15_000, 20_000))
    y = Axis("log10 e", -6, 18, (-6, 0, 6, 12, 18))
    mark = Threshold(f"{level():.1f}", y=level())
    title = "Nothing has changed, but each row follows the one before it (correlation 0.9)"
    return chart(title, x, y, lines, [mark])


PICTURES: dict[str, Callable[[], str]] = {
    "psi": psi,
    "watching": watching,
    "floor": floor,
    "dependence": dependence,
}


def _watched(source: Source, values: Array, effects: Sequence[float] = ()) -> Points:
    """The evidence of more and more rows, by their design effect after each ten where given."""
    step = len(values) // 50
    found = []
    for rows in range(step, len(values) + 1, step):
        d = effects[rows // 10 - 1] if effects else 1.0
        if not np.isnan(d):
            found.append((float(rows), source.log10_e(source.binned(values[:rows]), d)))
    return found


def _effects(source: Source, values: Array) -> list[float]:
    """The design effect as it is known after each second of ten rows."""
    learnt, found = DesignEffect.unknown(source.baseline), []
    for second in values.reshape(-1, 10):
        learnt.add(source.baseline, source.binned(second))
        found.append(float(learnt.estimate()[0]))
    return found


def _following(rng: np.random.Generator, rows: int) -> Array:
    values, state = np.empty(rows), rng.normal()
    for row, fresh in enumerate(rng.normal(size=rows)):
        state = 0.9 * state + np.sqrt(1 - 0.81) * fresh
        values[row] = state
    return values


def _density(values: Array, low: float, high: float, cells: int) -> Points:
    heights, edges = np.histogram(values, np.linspace(low, high, cells + 1))
    middle = (edges[1:] + edges[:-1]) / 2
    scale = len(values) * (edges[1] - edges[0])
    return list(zip(middle.tolist(), (heights / scale).tolist(), strict=True))


def drawn() -> Iterator[tuple[Path, str]]:
    """Every picture's file, and what is to stand in it."""
    for name, draw in PICTURES.items():
        yield FOLDER / f"{name}.svg", draw()


if __name__ == "__main__":
    for file, text in drawn():
        file.write_text(text)
