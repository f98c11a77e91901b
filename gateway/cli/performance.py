"""`penstock performance`: how right a version was, by the outcomes that are known.

Knows what the control port answers and how it is shown. Knows nothing of how figures are made.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Final

from gateway.cli.output import say, say_json, table
from gateway.cli.serve import add_home

TIMEOUT_S: Final = 120.0
_SHOWN: Final = {
    "accuracy": "share of outcomes that were predicted",
    "precision": "of those predicted positive, how many were",
    "recall": "of the positive ones, how many were predicted",
    "f1": "harmonic mean of both",
    "log_loss": "nats an outcome",
    "brier": "mean squared error of the probability",
    "roc_auc": "chance that a positive one scores higher",
    "ece": "expected calibration error, bins of equal width",
    "ece_equal_mass": "the same, bins of equal mass",
    "mce": "largest calibration error of a bin",
    "mae": "mean absolute error",
    "rmse": "root of the mean squared error",
    "bias": "mean of prediction minus outcome",
    "r2": "share of the outcomes' variance that is explained",
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
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("version", nargs="?", type=int, metavar="VERSION", help="default: served")
    parser.add_argument("--window", help="of what was answered so long ago at most, 1m to 30d")
    add_home(parser)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Asks the running server."""
    from gateway.cli import running

    query = {"window": args.window}
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
    coverage = f" ({found['coverage']:.1%})" if found["records"] else ""
    say(
        f"{found['model']} version {found['version']}: {found['records']} rows answered {window},"
        f" {found['labelled']} with an outcome{coverage}"
    )
    if found["labelled"]:
        _print_figures(found)
    else:
        say("nothing is known of how right they were")
    if found["metrics"]:
        say()
        head = ("METRIC", "ROWS", "MEAN", "WITHIN", "STD", "SUM", "MIN", "MAX")
        say(table(head, _metrics(found["metrics"])))


def _print_figures(found: dict[str, Any]) -> None:
    say(
        f"outcomes came after {found['delay_mean_s']:.3g} s on average, {found['delay_max_s']:.3g}"
        f" s at the latest; {found['corrected']} were corrected"
    )
    if found["unscored"]:
        say(f"{found['unscored']} rows have a score that is no number or no probability")
    say()
    say(table(("FIGURE", "VALUE", "WITHIN", "WHAT"), _figures(found)))
    if found["reliability"]:
        say()
        say(table(("SCORE TO", "ROWS", "MEAN SCORE", "MEAN OUTCOME"), _bins(found["reliability"])))


def _figures(found: dict[str, Any]) -> Sequence[tuple[str, ...]]:
    lines = []
    for name, what in _SHOWN.items():
        value = found["figures"][name]
        if value is not None:
            lines.append((name, f"{value:.4g}", _within(found, name), what))
    return lines


def _within(found: dict[str, Any], name: str) -> str:
    ends = found["intervals"].get(name)
    if ends is not None:
        return f"{ends['low']:.4g} to {ends['high']:.4g}"
    if name == "roc_auc":
        return f"binning: {found['figures']['roc_auc_error']:.1g}"
    return ""


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
        )
        for one in lines
        if one["n"]
    ]
