"""How far figures of outcomes lie from scikit-learn's of the same rows, without a server.

Knows records, sums and figures, as the product has them. Knows nothing of load.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from gateway.outcomes.figures import Performance, performance
from kernels import _jit
from kernels.ledger import OUTCOME, RECORD_WORDS, SCORE, SERIES_AND_ROW, TOP_AND_CORRECTIONS
from kernels.performance import BINARY, VALUE, Reals, add, no_sums
from loadtest.bench import Bench
from loadtest.turns import Measure, Result

ROWS: Final = 200_000
CLASSES: Final = 12
SEED: Final = 20250304
EXACT: Final = 1e-9
_SERIES: Final = 1


def figures(bench: Bench) -> list[Result]:
    """A model of each kind, of fresh rows each turn."""
    from loadtest import by_scikit_learn as sk  # only this scenario needs it

    _jit.compile_all()
    rng = np.random.default_rng(SEED)
    apart: dict[str, list[float]] = {}
    for number in range(bench.turns(5)):
        scores = rng.beta(0.5, 0.5, ROWS)
        outcomes = (rng.random(ROWS) < scores**1.2).astype(float)
        binary = _figures(scores, outcomes, BINARY)
        _note(apart, "two classes", _largest(binary, sk.binary(scores, outcomes)))
        beyond = abs((binary["roc_auc"] or 0.0) - sk.roc_auc(scores, outcomes))
        _note(apart, "roc_auc", beyond - (binary["roc_auc_error"] or 0.0))

        chances = rng.dirichlet(np.ones(CLASSES), ROWS)
        outcomes = (chances.cumsum(axis=1) < rng.random(ROWS)[:, None]).sum(axis=1).astype(float)
        top, tops = chances.max(axis=1), chances.argmax(axis=1)
        classes = _figures(top, outcomes, tops)
        _note(apart, "classes", _largest(classes, sk.multiclass(top, outcomes, tops)))

        outcomes = rng.normal(1e3, 1.0, ROWS)
        scores = outcomes + rng.normal(0.2, 0.5, ROWS)
        values = _figures(scores, outcomes, VALUE)
        _note(apart, "values", _largest(values, sk.values(scores, outcomes)))
        _note(apart, "quantiles", _largest(values, sk.residual_quantiles(scores, outcomes)))
        bench.show(number + 1, {name: turns[-1] for name, turns in apart.items()})
    measures = [
        Measure("of two classes, largest relative difference", apart["two classes"], "<=", EXACT),
        Measure(f"of {CLASSES} classes", apart["classes"], "<=", EXACT),
        Measure("of values", apart["values"], "<=", EXACT),
        Measure("quantiles of errors", apart["quantiles"], "<=", 1 / 64),
        Measure("ROC AUC, beyond its stated error", apart["roc_auc"], "<=", 0.0),
    ]
    title = f"Every figure against scikit-learn's of the same {ROWS:,} rows"
    return [Result("figures-by-scikit-learn", title, measures)]


def _note(apart: dict[str, list[float]], name: str, found: float) -> None:
    apart.setdefault(name, []).append(found)


def _largest(told: Mapping[str, float | None], wanted: Mapping[str, float]) -> float:
    """One that is not told at all is as far away as can be."""
    found = [told[name] for name in wanted]
    return max(
        float("inf") if one is None else abs(one - true) / abs(true)
        for one, true in zip(found, wanted.values(), strict=True)
    )


def _figures(scores: Reals, outcomes: Reals, tops: Any) -> Mapping[str, float | None]:
    words = np.zeros((len(scores), RECORD_WORDS), np.int64)
    reals = words.view(np.float64)
    words[:, SERIES_AND_ROW] = _SERIES << 32
    words[:, TOP_AND_CORRECTIONS] = np.asarray(tops, np.int64) << 32
    reals[:, SCORE], reals[:, OUTCOME] = scores, outcomes
    sums = no_sums()
    add(sums, words, _SERIES, 0, 1)
    found: Performance = performance(sums)
    return found.figures
