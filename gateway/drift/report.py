"""The drift report of one window as plain values.

Knows figures and names. Knows nothing of HTTP or of terminals. A figure that does not exist is
None: there is no NaN in JSON.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from gateway.drift.figures import QUANTILES, Figures
from gateway.drift.look_back import Alarm
from gateway.drift.reference import Reference
from gateway.drift.verdict import DRIFT, overall
from gateway.profiles.values import FEATURE, OUTPUT, Column

# Fields of a column that are figures by the same name.
NUMBERS: Final = (
    "psi",
    "psi_null_p95",
    "kl",
    "ks",
    "ks_bound",
    "ks_p_value",
    "js",
    "hellinger",
    "total_variation",
    "wasserstein",
    "wasserstein_error",
    "chi2",
    "chi2_p_value",
    "l_infinity",
    "mean",
    "std",
    "min",
    "max",
    "missing_ratio",
    "below_ratio",
    "above_ratio",
    "infinite_ratio",
    "wrong_type_ratio",
    "unseen_ratio",
)


@dataclass(frozen=True, slots=True)
class About:
    """What a report is about.

    Attributes:
        model, version, variant: whose traffic; variant None: all there are.
        window_s: how far it was asked to look back.
        start, end: seconds since 1970 of the panes that were added up.
        rows: that were counted.
        skipped_rows: that could not be.
        digest: of the reference profile.
        kind: of the reference: `fixed`, the profile's own counts, `rolling:7d`, `same-hours:4w`.
        weeks: of the last, in how many of its weeks rows were counted.
    """

    model: str
    version: int
    variant: str | None
    window_s: float
    start: float
    end: float
    rows: int
    skipped_rows: int
    digest: str
    kind: str = "fixed"
    weeks: int | None = None


def report(
    about: About, reference: Reference, found: Figures, alarm: Alarm, bins: bool = False
) -> dict[str, Any]:
    """The whole report.

    Args:
        about: what it is about.
        reference: what was compared with.
        found: the window's figures.
        alarm: what the newest rows say, whatever the window.
        bins: shows each column's counts, with the reference's beside them.
    """
    lines = [
        (frame.role, _column(reference, found, alarm, place, bins))
        for place, (frame, _) in enumerate(reference.columns)
    ]
    features = [line for role, line in lines if role == FEATURE]
    drifting = sum(line["verdict"] == DRIFT for line in features)
    return {
        "model": about.model,
        "version": about.version,
        "variant": about.variant,
        "window_s": about.window_s,
        "start": about.start,
        "end": about.end,
        "rows": about.rows,
        "skipped_rows": about.skipped_rows,
        "reference_rows": reference.rows,
        "reference": about.digest,
        "reference_kind": about.kind,
        "reference_weeks": about.weeks,
        "self_referenced": reference.live,
        "coarse_columns": sum(
            len(frame.columns) - frame.detailed for frame in reference.profile.frames
        ),
        "verdict": overall([line["verdict"] for line in features]),
        "drifting_features": drifting,
        "drifting_share": drifting / len(features) if features else 0.0,
        "alarm": overall([line["alarm"] for _, line in lines]),
        "prediction_verdict": overall([ln["verdict"] for role, ln in lines if role == OUTPUT]),
        "features": features,
        "outputs": [line for role, line in lines if role == OUTPUT],
    }


def _column(
    reference: Reference, found: Figures, alarm: Alarm, place: int, bins: bool
) -> dict[str, Any]:
    frame, column = reference.columns[place]
    line: dict[str, Any] = {
        "name": column.name,
        "tensor": frame.tensor,
        "type": column.type if column.kind != "category" else "category",
        "rows": int(found.rows[place]),
        "reference_rows": int(reference.kinds.counts[place].sum()),
    }
    line.update((name, number(getattr(found, name)[place])) for name in NUMBERS)
    line["quantiles"] = None
    if reference.numeric[place] and found.rows[place]:
        shares = (f"p{round(share * 100)}" for share in QUANTILES)
        line["quantiles"] = dict(zip(shares, map(number, found.quantiles[place]), strict=True))
    judged = found.judgement
    line["distance"] = number(judged.distance[place])
    line["effect_floor"] = found.effect_floor
    line["log10_e"] = number(judged.log10_e[place])
    line["verdict"] = str(judged.verdicts[place])
    line["alarm"] = str(alarm.verdicts[place])
    line["alarm_log10_e"] = number(alarm.log10_e[place])
    line["alarm_rows"] = int(alarm.rows[place])
    if bins:
        line["bins"] = _bins(column, reference, found, place)
    return line


def _bins(column: Column, reference: Reference, found: Figures, place: int) -> list[dict[str, Any]]:
    counts = found.counts[place, : column.bins].tolist()
    ends = [*column.edges.tolist(), None] if column.kind != "category" else [None] * column.bins
    names: list[Any] = list(column.categories) or list(range(column.bins))
    return [
        {
            "le": ends[at],
            "category": names[at] if column.kind == "category" else None,
            "count": count,
            "reference": int(reference.baseline.counts[place, at]),
        }
        for at, count in enumerate(counts)
    ]


def number(value: float) -> float | None:
    """A figure for JSON."""
    return float(value) if math.isfinite(value) else None
