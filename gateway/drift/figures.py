"""Every statistic of every column of one window.

Knows a reference, a window's counts and moments, and the rules. Knows nothing of where windows come
from or of how figures are shown. The conventions of each figure stand in docs/monitoring.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gateway.drift import panes
from gateway.drift.baseline import Counts, Floats
from gateway.drift.kinds import Effects, judge_columns
from gateway.drift.panes import Moments
from gateway.drift.reference import Reference
from gateway.drift.rules import DEFAULT, Rules
from gateway.drift.verdict import Judgement
from kernels import columns as words
from kernels import divergences, ordered
from kernels.chi_square import contingency, psi_null_quantile

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True)
class Figures:
    """Each (columns,), NaN where a figure does not exist, but for what says otherwise.

    Attributes:
        rows: values of any kind.
        counts: (columns, width) of the bins.
        psi, psi_null_p95: and what PSI stays below in 95 of 100 windows without drift.
        ks, ks_bound, ks_p_value: from bins; the values' own distance lies between the first two.
        kl: of the live rows from the reference.
        js, hellinger, total_variation, l_infinity: distances of the shares.
        wasserstein, wasserstein_error: in reference standard deviations; the values' own differs by
            the error at most.
        chi2, chi2_p_value: two samples against each other.
        mean, std, min, max: of finite values.
        quantiles: (columns, QUANTILES), within a bin of the true ones.
        missing_ratio: NaN and null.
        below_ratio, above_ratio: outside the reference's range.
        infinite_ratio, wrong_type_ratio, unseen_ratio: of all values.
        effect_floor: one number, the distance that it takes to call something drift.
        judgement: evidence and verdicts.
    """

    rows: Counts
    counts: Counts
    psi: Floats
    psi_null_p95: Floats
    kl: Floats
    ks: Floats
    ks_bound: Floats
    ks_p_value: Floats
    js: Floats
    hellinger: Floats
    total_variation: Floats
    l_infinity: Floats
    wasserstein: Floats
    wasserstein_error: Floats
    chi2: Floats
    chi2_p_value: Floats
    mean: Floats
    std: Floats
    min: Floats
    max: Floats
    quantiles: Floats
    missing_ratio: Floats
    below_ratio: Floats
    above_ratio: Floats
    infinite_ratio: Floats
    wrong_type_ratio: Floats
    unseen_ratio: Floats
    effect_floor: float
    judgement: Judgement


def figures(
    reference: Reference,
    vector: Counts,
    moments: Moments,
    effects: Effects,
    rules: Rules = DEFAULT,
) -> Figures:
    """Evaluates a window.

    Args:
        reference: what it should look like.
        vector: (words,) what was counted.
        moments: (columns, panes.MOMENTS) of finite values.
        effects: of live rows.
        rules: when to call it drift.
    """
    base = reference.baseline
    live = reference.bins_of(vector)
    specials = reference.specials_of(vector)
    binned = live.sum(axis=1)
    # What is below or above is in a bin as well.
    beside = specials.sum(axis=1) - specials[:, words.BELOW] - specials[:, words.ABOVE]
    rows = binned + beside
    apart = divergences.divergences(base.counts, live, base.bins)
    ks = ordered.kolmogorov_smirnov(base.counts, live, base.bins)
    for one in reference.exact:
        at_points = ordered.exact_ks(one.counts, vector[one.at])
        for from_bins, exact in zip(ks, at_points, strict=True):
            from_bins[one.place] = exact
    chi2 = contingency(base.counts, live, base.bins)
    order = np.where(reference.numeric, 1.0, np.nan)
    finite = moments[:, panes.N]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        offset = moments[:, panes.SUM] / finite
        spread = moments[:, panes.SUM_SQ] / finite - offset**2
        shares = specials / rows[:, np.newaxis]
    some = finite > 0
    far, error = _wasserstein(reference, live, specials, moments)
    return Figures(
        rows=rows,
        counts=live,
        psi=apart.psi,
        psi_null_p95=psi_null_quantile(base.counts.sum(axis=1), binned, base.bins),
        kl=apart.kl,
        ks=ks.low * order,
        ks_bound=ks.high * order,
        ks_p_value=ks.p_value * order,
        js=apart.js_distance,
        hellinger=apart.hellinger,
        total_variation=apart.total_variation,
        l_infinity=apart.l_infinity,
        wasserstein=far * order,
        wasserstein_error=error * order,
        chi2=chi2.statistic,
        chi2_p_value=chi2.p_value,
        mean=reference.centres + offset,
        std=np.sqrt(np.maximum(spread, 0.0)),
        min=np.where(some, moments[:, panes.MIN], np.nan),
        max=np.where(some, moments[:, panes.MAX], np.nan),
        quantiles=ordered.quantiles(live, base.bins, reference.edges, np.array(QUANTILES))
        * order[:, np.newaxis],
        missing_ratio=shares[:, words.NAN] + shares[:, words.NULL],
        below_ratio=shares[:, words.BELOW],
        above_ratio=shares[:, words.ABOVE],
        infinite_ratio=shares[:, words.POS_INF] + shares[:, words.NEG_INF],
        wrong_type_ratio=shares[:, words.WRONG_TYPE],
        unseen_ratio=shares[:, words.UNSEEN],
        effect_floor=rules.ks_floor,
        judgement=judge_columns(reference, vector, effects, rules),
    )


def _wasserstein(
    reference: Reference, live: Counts, specials: Counts, moments: Moments
) -> tuple[Floats, Floats]:
    """W1 and its error in the reference's standard deviations; NaN where that has none, or is 0."""
    extremes = moments[:, [panes.MIN, panes.MAX]]
    found = ordered.wasserstein(
        reference.baseline.counts,
        live,
        reference.baseline.bins,
        reference.edges,
        specials[:, words.BELOW].astype(float),
        specials[:, words.ABOVE].astype(float),
        np.where(np.isfinite(extremes), extremes, np.nan),
    )
    unit = np.where(reference.std > 0, reference.std, np.nan)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return found.distance / unit, found.error / unit
