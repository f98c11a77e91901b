"""What can be asked of shadows through the control port.

Knows parameters and answers. Knows nothing of how pairs are counted or rows are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from gateway.access.durations import read_duration
from gateway.access.roles import Permission
from gateway.control.operations import Asked, Operation
from gateway.control.shadow_documents import (
    DifferentRows,
    ShadowPath,
    ShadowReport,
    ShadowsPath,
    ShadowsQuery,
)
from gateway.control.shadows import HISTORY_S, LOOK_S, Reading, Shadows
from gateway.errors import InvalidParameter, NotFound, StoreFailed
from gateway.outcomes.intervals import Figure
from gateway.rollouts.answers import Answers, Aspect, Bin, Measure

_MICRO: Final = 1e6


def operations(shadows: Shadows) -> tuple[Operation, ...]:
    """The table."""

    async def show_shadows(asked: Asked) -> Any:
        model = asked.path.model
        window_s = _window(asked.query.window)
        found = shadows.readings(model, window_s)
        if not found:
            raise NotFound(f"route '{model}': it has no shadow and had none")
        return {"route": model, "pairs": [await _with_outcomes(one) for one in found]}

    async def _with_outcomes(one: Reading) -> dict[str, Any]:
        known = await shadows.discordance(one.model, one.answered, one.shadow)
        told = {"known": known.known, "answered": known.answered, "shadow": known.shadow}
        return {**_document(one), "right": {**told, "log10_e": known.log10_e}}

    async def show_different_rows(asked: Asked) -> Any:
        model, shadow = asked.path.model, asked.path.version
        found = [one for one in shadows.readings(model) if one.shadow == shadow]
        if not found:
            raise NotFound(f"route '{model}': version {shadow} is no shadow of it and was none")
        rows = [
            {"answered": one.answered, **row}
            for one in found
            for row in shadows.different(model, one.answered, shadow)
        ]
        rows.sort(key=lambda row: row["unlikeness"], reverse=True)
        return {"route": model, "shadow": shadow, "rows": rows}

    return (
        Operation(
            "GET",
            "/api/routes/{model}/shadows",
            show_shadows,
            "What a route's shadows say beside what was answered",
            Permission.READ,
            scope="model",
            answer=ShadowReport,
            path_parameters=ShadowsPath,
            query=ShadowsQuery,
            errors=(NotFound, InvalidParameter, StoreFailed),
        ),
        Operation(
            "GET",
            "/api/routes/{model}/shadows/{version}/rows",
            show_different_rows,
            "The rows about which a shadow differs most: what came in, and both answers",
            # Whoever may only read figures has no business with what clients sent.
            Permission.OPERATE,
            scope="model",
            answer=DifferentRows,
            path_parameters=ShadowPath,
            bulky=True,
            errors=(NotFound,),
        ),
    )


def _window(text: str | None) -> float | None:
    if text is None:
        return None
    window_s = read_duration(text, "window")
    if not LOOK_S <= window_s <= HISTORY_S:
        raise InvalidParameter(f"window: expected 10s to 1h, got '{text}'")
    return window_s


def _document(reading: Reading) -> dict[str, Any]:
    pairs = reading.pairs
    difference = pairs.difference
    low, high = difference.interval or (None, None)
    return {
        "answered": reading.answered,
        "shadow": reading.shadow,
        "share": reading.share,
        "rows": {
            "copied": pairs.copied,
            "compared": pairs.rows,
            "dropped": pairs.dropped,
            "failed": pairs.failed,
            "unlike": pairs.unlike,
            "waiting": pairs.waiting,
        },
        "disagreement": _share(pairs.disagreement, pairs.disagreeing),
        "failures": _share(pairs.failures, pairs.failed + pairs.unlike),
        "difference": {
            "compared": pairs.compared,
            "mean": difference.value,
            "low": low,
            "high": high,
            "higher": pairs.higher,
            "lower": pairs.lower,
            "log10_e": pairs.log10_e,
            "bins": _bins(pairs.histogram),
        },
        "calibration": {
            "gap": pairs.calibration_gap,
            "bins": [
                dict(zip(("above", "up_to", "rows", "answered", "shadow"), one, strict=True))
                for one in pairs.calibration
            ],
        },
        "cost": {
            "row_us": _micro(pairs.row_s),
            "answered_row_us": _micro(pairs.answered_row_s),
            "ratio": pairs.cost_ratio,
        },
        "answers": None if pairs.answers is None else _answers(pairs.answers),
        "window_s": reading.window_s,
    }


def _answers(answers: Answers) -> dict[str, Any]:
    likeness = answers.likeness
    low, high = likeness.interval or (None, None)
    return {
        "aspects": [_aspect(one) for one in answers.aspects],
        "measures": [_measure(one) for one in answers.measures],
        "likeness": {
            "value": likeness.value,
            "low": low,
            "high": high,
            "rows": likeness.n,
            "bins": _bins(answers.by_likeness),
        },
    }


def _aspect(aspect: Aspect) -> dict[str, Any]:
    differing, sides = aspect.differing, aspect.sides or (None, None)
    return {
        "name": aspect.name,
        "compared": differing.n,
        "differing": _share(differing, aspect.count),
        "answered_only": sides[0],
        "shadow_only": sides[1],
        "log10_e": aspect.log10_e,
    }


def _measure(measure: Measure) -> dict[str, Any]:
    (answered, shadow), ratio = measure.means, measure.ratio
    low, high = ratio.interval or (None, None)
    return {
        "name": measure.name,
        "rows": measure.known,
        "answered": answered,
        "shadow": shadow,
        "ratio": ratio.value,
        "low": low,
        "high": high,
        "higher": measure.higher,
        "lower": measure.lower,
        "log10_e": measure.log10_e,
        "bins": _bins(measure.bins),
    }


def _bins(bins: Sequence[Bin]) -> list[dict[str, Any]]:
    return [{"above": above, "up_to": up_to, "rows": rows} for above, up_to, rows in bins if rows]


def _share(figure: Figure, rows: int) -> dict[str, Any]:
    low, high = figure.interval or (None, None)
    return {"value": figure.value, "low": low, "high": high, "rows": rows}


def _micro(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * _MICRO
