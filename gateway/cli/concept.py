"""`penstock concept`: whether a version is still as right as it was.

Knows what the control port answers and how it is shown. Knows nothing of how figures are made.
"""

from __future__ import annotations

import argparse
from typing import Any, Final

from gateway.cli.arguments import add_version
from gateway.cli.drift import DRIFTED
from gateway.cli.output import say, say_json, table
from gateway.cli.serve import add_home

_TESTS: Final = {
    "page_hinkley_loss": "Page-Hinkley, log-loss or absolute error",
    "page_hinkley_error": "Page-Hinkley, errors",
    "adwin_loss": "ADWIN, log-loss or absolute error",
    "adwin_error": "ADWIN, errors",
}


def configure(subparsers: Any) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "concept",
        help="show whether a model is still as right as it was",
        description=(
            "Holds the outcomes that came in for a version against its first ones: has the error"
            " rate risen, or calibration changed? Both verdicts hold however often one looks; the"
            " tests below them are quicker, and wrong now and then. Exit status 3: one of the two"
            " has drifted; 1: there is no report; else 0."
        ),
    )
    add_version(parser)
    add_home(parser)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Asks the running server."""
    from gateway.cli import running

    home = args.home.resolve()
    found = running.ask_of_version(home, args.model, args.version, "concept-drift", {})
    if args.json:
        say_json(found)
    else:
        print_report(found)
    return DRIFTED if found["verdict"] == "drift" else 0


def print_report(found: dict[str, Any]) -> None:
    """The report as tables."""
    say(
        f"{found['model']} version {found['version']}: {found['verdict']}, by"
        f" {found['outcomes']} outcomes against the first {found['baseline_outcomes']}"
    )
    if found["error_rate"]["limit"] is None:
        missing = found["baseline_wanted"] - found["baseline_outcomes"]
        say(f"the baseline still wants {missing} outcomes: nothing is said until then")
        return
    say()
    head = ("FIGURE", "FIRST", "NOW", "WITHIN", "OUTCOMES", "LIMIT", "ALARMS", "VERDICT")
    lines = [_figure("error rate", found["baseline_error_rate"], found["error_rate"])]
    if found["calibration"] is not None:
        lines.append(_figure("calibration moved", 0.0, found["calibration"]))
    say(table(head, lines))
    for name in ("error_rate", "calibration"):
        if (figure := found[name]) and figure["raised"]:
            say(_raised(name.replace("_", " "), figure))
    say()
    tests = ("TEST", "RISES", "LAST AT", "MEAN NOW", "OUTCOMES", "VERDICT")
    say(table(tests, [_test(what, found["tests"][name]) for name, what in _TESTS.items()]))


def _figure(name: str, first: float, one: dict[str, Any]) -> tuple[str, ...]:
    within = "-"
    if one["low"] is not None:
        high = "" if one["high"] is None else f" to {one['high']:.4f}"
        within = f"{one['low']:.4f}{high or ' at least'}"
    value = "-" if one["value"] is None else f"{one['value']:.4f}"
    counts = (str(one["outcomes"]), f"{one['limit']:.4f}", str(one["alarms"]))
    return (name, f"{first:.4f}", value, within, *counts, one["verdict"])


def _raised(name: str, figure: dict[str, Any]) -> str:
    last = figure["raised"]
    state = "since" if figure["verdict"] == "drift" else "last alarm, which is over:"
    return (
        f"{name}: {state} outcome {last['outcome']}, of {last['outcomes']} outcomes"
        f" {last['value']:.4f}, {last['low']:.4f} at least, above {last['limit']:.4f}"
    )


def _test(what: str, one: dict[str, Any]) -> tuple[str, ...]:
    last = "-" if one["outcome"] is None else f"outcome {one['outcome']}"
    mean = "-" if one["mean"] is None else f"{one['mean']:.4f}"
    return (what, str(one["rises"]), last, mean, str(one["outcomes"]), one["verdict"])
