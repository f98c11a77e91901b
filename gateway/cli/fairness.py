"""`penstock fairness`: how groups of rows fare beside one another, and which fare worst.

Knows what the control port answers and how it is shown. Knows nothing of how figures are made.
"""

from __future__ import annotations

import argparse
from typing import Any, Final

from gateway.cli.arguments import add_version, positive
from gateway.cli.output import printable, say, say_json, table
from gateway.cli.serve import add_home

TIMEOUT_S: Final = 120.0
MAX_NAME: Final = 40
FIGURES: Final = {
    "error_rate": "wrong predictions",
    "squared_error": "mean squared error of the score",
    "false_negative_rate": "positive ones that were missed",
    "false_positive_rate": "negative ones that were taken for positive",
    "selection_rate": "predicted positive: the lower, the worse",
    "calibration_gap": "outcomes less scores, on average: the further from 0, the worse",
}
_RATES: Final = {
    "selection_rate": "SELECTED",
    "base_rate": "POSITIVE",
    "true_positive_rate": "TPR",
    "false_positive_rate": "FPR",
    "accuracy": "ACCURACY",
}


def configure(subparsers: Any) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "fairness",
        help="show how groups of rows fare beside one another",
        description=(
            "Shows, for each group of a model's slices (models.NAME.slices), how often it was"
            " predicted positive and how often rightly, how far groups lie apart, and which groups,"
            " and pairs of them, are worse off than all other rows, beyond chance. Intervals hold"
            " with probability 0.95 however often one looks."
        ),
    )
    add_version(parser)
    parser.add_argument("--slice", metavar="NAME", help="of this slicing alone")
    parser.add_argument("--window", help="of what was answered so long ago at most, 1m to 30d")
    parser.add_argument(
        "--min-rows", type=positive, metavar="N", help="compare what is of so many rows (50)"
    )
    parser.add_argument(
        "--figure",
        choices=FIGURES,
        default="error_rate",
        help="that the worst slices are searched by (error_rate)",
    )
    add_home(parser)
    parser.add_argument("--json", action="store_true", help="print both reports as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Asks the running server."""
    from gateway.cli import running

    def ask(what: str, **query: str | None) -> Any:
        few = None if args.min_rows is None else str(args.min_rows)
        query |= {"window": args.window, "min_rows": few}
        home = args.home.resolve()
        return running.ask_of_version(home, args.model, args.version, what, query, TIMEOUT_S)

    fairness = ask("fairness", slice=args.slice)
    worst = ask("slices/worst", figure=args.figure)
    if args.json:
        say_json({"fairness": fairness, "worst": worst})
    else:
        print_report(fairness, worst)
    return 0


def print_report(fairness: dict[str, Any], worst: dict[str, Any]) -> None:
    """Both reports as tables."""
    window = fairness["window_s"]
    told = "ever" if window is None else f"of the last {window:g} s"
    say(f"{fairness['model']} version {fairness['version']}, rows answered {told}")
    if not fairness["slicings"]:
        say("it has no slices: see models.NAME.slices")
        return
    for one in fairness["slicings"]:
        say()
        _print_slicing(one)
    say()
    say(f"*: of fewer than {fairness['min_rows']} rows, or of rows in no group; not compared")
    say()
    _print_worst(worst)


def _print_slicing(one: dict[str, Any]) -> None:
    head = (one["slicing"].upper(), "ROWS", "LABELLED", *_RATES.values())
    *groups, others = one["groups"]
    shown = one["groups"] if others["n"] else groups
    say(table(head, [_group(group) for group in shown]))
    lines = [
        (name, f"{found['value']:.4g}", f"{found['low']:.4g} to {found['high']:.4g}")
        for name, found in one["disparities"].items()
        if found["value"] is not None
    ]
    if lines:
        say()
        say(table(("DISPARITY", "VALUE", "WITHIN"), lines))


def _group(group: dict[str, Any]) -> tuple[str, ...]:
    rates = [_rate(group["rates"][name]) for name in _RATES]
    return (printable(group["name"], MAX_NAME), str(group["n"]), str(group["labelled"]), *rates)


def _rate(rate: dict[str, Any]) -> str:
    if rate["value"] is None:
        return "-"
    few = "" if rate["compared"] else " *"
    return f"{rate['value']:.2f} ({rate['low']:.2f}-{rate['high']:.2f}){few}"


def _print_worst(worst: dict[str, Any]) -> None:
    looked = f"{worst['looked_at']} slices of {worst['min_rows']} rows and more were looked at"
    if not worst["slices"]:
        say(f"{looked}: none has a worse {worst['figure']} than the rest, beyond chance")
        return
    say(f"{looked}; these have a worse {worst['figure']} than the rest, beyond chance:")
    say()
    lines = [
        (
            " and ".join(f"{printable(k)}:{printable(v)}" for k, v in one["groups"].items()),
            str(one["n"]),
            f"{one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})",
            f"{one['rest']:.3f}",
            f"{one['difference']:+.3f} ({one['difference_low']:+.3f} to"
            f" {one['difference_high']:+.3f})",
        )
        for one in worst["slices"]
    ]
    say(table(("SLICE", "ROWS", worst["figure"].upper(), "REST", "DIFFERENCE"), lines))
