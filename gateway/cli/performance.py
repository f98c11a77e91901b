"""`penstock performance`: how right a version was, by the outcomes that are known.

Knows what the control port answers and how it is shown. Knows nothing of how figures are made.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Final

from gateway.cli.arguments import add_version
from gateway.cli.output import say, say_json, table
from gateway.cli.serve import add_home

TIMEOUT_S: Final = 120.0
_SHOWN: Final = {
    "accuracy": "share of outcomes that were predicted",
    "balanced_accuracy": "mean of what is right of each class",
    "precision": "of those predicted positive, how many were",
    "recall": "of the positive ones, how many were predicted",
    "specificity": "of the negative ones, how many were predicted",
    "f1": "harmonic mean of precision and recall",
    "mcc": "correlation of what was predicted and what was",
    "roc_auc": "chance that a positive one scores higher",
    "log_loss": "nats an outcome",
    "brier": "mean squared error of the probability",
    "mean_outcome": "share of positive ones, or mean of what came",
    "calibration_in_the_large": "mean of outcome minus score",
    "calibration_slope": "of outcomes over log-odds of scores: below 1, scores are too sure",
    "calibration_intercept": "of the same line",
    "ece": "expected calibration error, bins of equal width",
    "ece_equal_mass": "the same, bins of equal mass",
    "mce": "largest calibration error of a bin",
    "mae": "mean absolute error",
    "rmse": "root of the mean squared error",
    "bias": "mean of prediction minus outcome",
    "r2": "share of the outcomes' variance that is explained",
    **{
        f"residual_p{share}": f"{int(share)} % of prediction minus outcome lie below"
        for share in ("05", "25", "50", "75", "95")
    },
}
_OF_CLASSES: Final = {
    "accuracy": "share of outcomes that were the top class",
    "precision": "mean over the classes, of those predicted it, how many were",
    "recall": "mean over the classes, of those in it, how many were predicted",
    "f1": "mean over the classes",
    "precision_weighted": "the same by how often classes came",
    "f1_weighted": "the same",
    "log_loss": "nats, of the top class' being right",
    "brier": "mean squared error of the top class' score",
    "mean_outcome": "share of top classes that were right",
}


def configure(subparsers: Any) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "performance",
        help="show how right a model is, by the outcomes that are known",
        description=(
            "Shows how right a version was, by the outcomes that were joined to its answers: of"
            " all that it ever answered, or of a window. Intervals hold with probability 0.95"
            " however often one looks."
        ),
    )
    add_version(parser)
    parser.add_argument("--window", help="of what was answered so long ago at most, 1m to 30d")
    parser.add_argument("--slice", metavar="NAME:GROUP", help="of the rows of one slice alone")
    add_home(parser)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Asks the running server."""
    from gateway.cli import running

    query = {"window": args.window, "slice": args.slice}
    found = running.ask_of_version(
        args.home.resolve(), args.model, args.version, "performance", query, TIMEOUT_S
    )
    if args.json:
        say_json(found)
    else:
        print_report(found)
    return 0


def print_report(found: dict[str, Any]) -> None:
    """The report as tables."""
    window = "ever" if found["window_s"] is None else f"of the last {found['window_s']:g} s"
    of = f"version {found['version']}" + (f", {found['slice']}" if found["slice"] else "")
    coverage = f" ({found['coverage']:.1%})" if found["records"] else ""
    say(
        f"{found['model']} {of}: {found['records']} rows answered {window},"
        f" {found['labelled']} with an outcome{coverage}"
    )
    if found["labelled"]:
        _print_truth(found)
    else:
        say("nothing is known of how right they were")
    if found["held_out"] is not None:
        _print_held_out(found["held_out"], found["figures"])
    if found["estimate"] is not None:
        _print_estimate(found["estimate"])
    if found["metrics"]:
        say()
        head = ("METRIC", "ROWS", "MEAN", "WITHIN", "STD", "SUM", "MIN", "MAX")
        say(table(head, _metrics(found["metrics"])))


def _print_truth(found: dict[str, Any]) -> None:
    say(_delays(found))
    if found["unscored"]:
        say(f"{found['unscored']} rows have a score that is no number or no probability")
    if found["confusion"] is not None:
        say(_confusion(found["confusion"], found["threshold"]))
    say()
    say(table(("FIGURE", "VALUE", "ROWS", "WITHIN", "WHAT"), _figures(found)))
    for header, lines in (
        (("CLASS", "PREDICTED", "CAME", "BOTH", *_CLASS_FIGURES), _classes(found["classes"])),
        (("SCORE TO", "ROWS", "MEAN SCORE", "MEAN OUTCOME", "WITHIN"), _bins(found["reliability"])),
    ):
        if lines:
            say()
            say(table(header, lines))


_CLASS_FIGURES: Final = ("PRECISION", "WITHIN", "RECALL", "WITHIN", "F1", "WITHIN")


def _delays(found: dict[str, Any]) -> str:
    mean, half, most, last = (
        f"{found[name]:.3g} s"
        for name in ("delay_mean_s", "delay_p50_s", "delay_p95_s", "delay_max_s")
    )
    return (
        f"outcomes came after {mean} on average, half within {half}, 95 % within {most}, all within"
        f" {last}; {found['corrected']} were corrected"
    )


def _confusion(counts: dict[str, int], threshold: float) -> str:
    return (
        f"predicted positive, above {threshold:g}: {counts['tp']} right, {counts['fp']} wrong;"
        f" negative: {counts['tn']} right, {counts['fn']} wrong"
    )


def _figures(found: dict[str, Any]) -> Sequence[tuple[str, ...]]:
    shown = _SHOWN | (_OF_CLASSES if found["kind"] == "multiclass" else {})
    lines = []
    for name, what in shown.items():
        value = found["figures"][name]
        if value is not None:
            n, within = str(found["n"][name]), _within(found["intervals"].get(name))
            lines.append((name, f"{value:.4g}", n, within, what))
    return lines


def _within(ends: dict[str, float] | None) -> str:
    return "" if ends is None else f"{ends['low']:.4g} to {ends['high']:.4g}"


def _classes(lines: list[dict[str, Any]]) -> Sequence[tuple[str, ...]]:
    found = []
    for one in lines:
        cells = [str(one["name"] or one["number"])]
        cells += [str(one[name]) for name in ("predicted", "actual", "right")]
        for name in ("precision", "recall", "f1"):
            cells.append("-" if one[name] is None else f"{one[name]:.4g}")
            cells.append(_within(one["intervals"].get(name)))
        found.append(tuple(cells))
    return found


def _metrics(lines: list[dict[str, Any]]) -> Sequence[tuple[str, ...]]:
    return [
        (
            one["name"],
            str(one["n"]) if one["coverage"] is None else f"{one['n']} ({one['coverage']:.1%})",
            f"{one['mean']:.4g}",
            "" if one["low"] is None else f"{one['low']:.4g} to {one['high']:.4g}",
            "" if one["std"] is None else f"{one['std']:.4g}",
            *(f"{one[name]:.6g}" for name in ("sum", "min", "max")),
        )
        for one in lines
    ]


def _bins(lines: list[dict[str, Any]]) -> Sequence[tuple[str, ...]]:
    return [
        (
            f"{one['le']:.3f}",
            str(one["n"]),
            f"{one['mean_score']:.4f}",
            f"{one['mean_outcome']:.4f}",
            _within(one),
        )
        for one in lines
        if one["n"]
    ]


# ---- those who were held out ---------------------------------------------------------------------


def _print_held_out(found: dict[str, Any], of_all: dict[str, float | None]) -> None:
    known = f", {found['labelled']} with an outcome" + (
        f" ({found['coverage']:.1%})" if found["records"] else ""
    )
    say()
    say(f"held out, policy '{found['policy']}': {found['records']} rows{known}")
    lines = [
        (
            *(name, f"{value:.4g}", str(found["n"][name])),
            *(_within(found["intervals"].get(name)), f"{of_all[name]:.4g}"),
        )
        for name, value in found["figures"].items()
        if name in _SHOWN and value is not None and of_all[name] is not None
    ]
    if lines:
        say(table(("OF ALL ANSWERS", "VALUE", "ROWS", "WITHIN", "OF WHAT IS LABELLED"), lines))


# ---- estimates ----------------------------------------------------------------------------------


def _print_estimate(found: dict[str, Any]) -> None:
    say()
    meant = (
        "calibrated with the labels of its profile"
        if found["calibrated"]
        else "not calibrated: taken for probabilities, which nobody vouched for"
    )
    say(f"estimated from the scores of {found['rows']} rows, {meant}")
    header = ("ESTIMATE", "VALUE", "WITHIN", "OF LABELLED ROWS", "THEIR TRUTH", "WITHIN")
    say(table(header, _estimates(found)))


def _estimates(found: dict[str, Any]) -> Sequence[tuple[str, ...]]:
    lines = []
    for name, value in found["figures"].items():
        if value is None:
            continue
        cells = [name, f"{value:.4g}", _within(found["bands"][name]), "", "", ""]
        if beside := found["beside"].get(name):
            cells[3:5] = [f"{beside[one]:.4g}" for one in ("estimated", "realised")]
            cells[5] = _expected(beside)
        lines.append(tuple(cells))
    return lines


def _expected(beside: dict[str, Any]) -> str:
    """Whether the truth is what scores lead to expect."""
    if beside["low"] is None:
        return ""
    expected = beside["low"] <= beside["realised"] <= beside["high"]
    return f"{_within(beside)}{'' if expected else ': NOT AS EXPECTED'}"
