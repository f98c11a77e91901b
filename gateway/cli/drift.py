"""`penstock drift`: how a model's live traffic compares with its reference.

Knows what the control port answers and how it is shown. Knows nothing of how figures are made.
"""

from __future__ import annotations

import argparse
from typing import Any

from gateway.cli.arguments import add_version, positive
from gateway.cli.output import printable, say, say_json, table
from gateway.cli.serve import add_home

MAX_SHOWN = 40
MAX_NAMED = 8
# Characters of a name: figures stand beside it.
MAX_NAME = 60
DRIFTED = 3  # not 1, which a server that is away gives: whoever watches must tell them apart
HEAD = (
    *("ROWS", "PSI", "NULL P95", "KS", "LOG10 E", "MEAN", "MISSING"),
    *("VERDICT", "ALARM", "REFERENCE", "LIVE"),
)
FIGURES = ("psi", "psi_null_p95", "distance", "log10_e", "mean")
VERDICTS = ("drift", "watch", "too_few_rows", "self_referenced", "ok")


def configure(subparsers: Any) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "drift",
        help="compare live traffic with its reference",
        description=(
            "Compares a window of a model's live traffic with its reference profile, as the server"
            " that runs on this home has counted it: the columns that have drifted first. The"
            " verdict is on the window; the alarm looks for the change itself, in the newest"
            " rows. Exit status 3: something has drifted; 1: there is no report; else 0."
        ),
    )
    add_version(parser)
    parser.add_argument("--window", help="how far to look back, 1m to 30d (10m)")
    parser.add_argument(
        "--rows", type=positive, metavar="N", help="look back over so many rows instead"
    )
    parser.add_argument("--variant", metavar="NAME", help="of a route (default: all together)")
    parser.add_argument("--slice", metavar="NAME:GROUP", help="of the rows of one slice alone")
    parser.add_argument(
        "--reference",
        metavar="fixed|rolling:7d|same-hours:4w",
        help=(
            "compare with what came so long before the window, or in the same hours of the last"
            " weeks (default: with the profile)"
        ),
    )
    parser.add_argument(
        "--against",
        type=positive,
        metavar="VERSION",
        help="compare with what another version that shares the route had in the same time",
    )
    parser.add_argument("--all", action="store_true", help="every column, however many")
    add_home(parser)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Asks the running server."""
    from gateway.cli import running

    query = {name: getattr(args, name) for name in ("window", "reference", "variant", "slice")}
    numbers = {name: getattr(args, name) for name in ("rows", "against")}
    query |= {name: None if one is None else str(one) for name, one in numbers.items()}
    query["bins"] = "1"
    found = running.ask_of_version(args.home.resolve(), args.model, args.version, "drift", query)
    if args.json:
        say_json(found)
    else:
        print_report(found, None if args.all else MAX_SHOWN)
    return status_of(found)


def status_of(found: dict[str, Any]) -> int:
    """How the command ends: features and predictions in the window, and the alarm."""
    verdicts = (found["verdict"], found["prediction_verdict"], found["alarm"])
    return DRIFTED if "drift" in verdicts else 0


def print_report(found: dict[str, Any], shown: int | None = MAX_SHOWN) -> None:
    """The report as a table, the most alarming columns first."""
    of = f"version {found['version']}" + (f", {found['slice']}" if found.get("slice") else "")
    alarm = "" if _between_versions(found) else f", alarm {found['alarm']}"
    say(
        f"{found['model']} {of}: {found['verdict']}, predictions"
        f" {found['prediction_verdict']}{alarm}"
        f" ({found['rows']} rows of the last {found['window_s']:g} s against"
        f" {found['reference_rows']} of {_reference(found)})"
    )
    if found["reference_weeks"] is not None:
        asked = found["reference_kind"].removeprefix("same-hours:").removesuffix("w")
        say(f"rows came in these hours in {found['reference_weeks']} of the last {asked} weeks")
    elif not found["reference_rows"]:
        before = "by the other version" if _between_versions(found) else "before this window"
        say(f"no rows came {before}: there is nothing to hold it against")
    if found["verdict"] == "too_few_rows" and found["reference_rows"]:
        say("some 20 s of traffic and 200 rows are needed before anything is said")
    if found["coarse_columns"]:
        say(f"{found['coarse_columns']} columns are counted at coarser detail: in 10 bins at most")
    if found["skipped_rows"]:
        say(f"{found['skipped_rows']} rows could not be counted")
    for title, lines in (("FEATURE", found["features"]), ("OUTPUT", found["outputs"])):
        if lines:
            say()
            _print(title, sorted(lines, key=_alarm), shown, not _between_versions(found))
    if (contract := found.get("contract")) and contract["violations"]:
        say()
        say(_broken(contract))


def _between_versions(found: dict[str, Any]) -> bool:
    """Whether another version stands in the profile's place; no alarm is about that."""
    return str(found["reference_kind"]).startswith("version:")


def _reference(found: dict[str, Any]) -> str:
    """What a window was held against."""
    kind, profile = found["reference_kind"], f"profile {found['reference'][:12]}"
    if _between_versions(found):
        return f"version {kind.removeprefix('version:')}, by {profile}"
    if kind != "fixed":
        return f"{profile}, {kind}"
    return f"{profile}, self-referenced" if found["self_referenced"] else profile


def _broken(contract: dict[str, Any]) -> str:
    """What inputs broke of the contract, the most frequent first."""
    lines = sorted(contract["violations"], key=lambda one: -one["count"])
    named = ", ".join(
        f"{printable(one['feature'], MAX_NAME)}={one['rule']}:{one['count']}"
        for one in lines[:MAX_NAMED]
    )
    more = f", and {len(lines) - MAX_NAMED} more" if len(lines) > MAX_NAMED else ""
    return f"contract ({contract['policy']}), in this time: {named}{more}"


def _print(title: str, lines: list[dict[str, Any]], shown: int | None, alarmed: bool) -> None:
    head = (title, *HEAD)
    say(table(head, [_line(line, alarmed) for line in lines[:shown]]))
    if shown is not None and len(lines) > shown:
        say(f"... and {len(lines) - shown} more; --all prints them")


def _alarm(line: dict[str, Any]) -> tuple[int, int, float]:
    evidence = line["alarm_log10_e"]
    places = VERDICTS.index(line["alarm"]), VERDICTS.index(line["verdict"])
    return (*places, -(evidence if evidence is not None else -1e300))


def _line(line: dict[str, Any], alarmed: bool) -> tuple[object, ...]:
    figures = [_short(line[name]) for name in FIGURES]
    missing = line["missing_ratio"]
    figures.append(f"{missing:.1%}" if missing else "-")
    # No alarm is about another version.
    verdicts = (line["verdict"], line["alarm"] if alarmed else "-")
    return (
        printable(line["name"], MAX_NAME),
        str(line["rows"]),
        *figures,
        *verdicts,
        *_pictures(line["bins"]),
    )


def _pictures(bins: list[dict[str, Any]]) -> tuple[str, str]:
    """Both distributions over the same bins, joined to few; equal ones look equal."""
    from gateway.cli.pictures import WIDTH, bars

    groups = [bins[at * len(bins) // WIDTH : (at + 1) * len(bins) // WIDTH] for at in range(WIDTH)]
    groups = [group for group in groups if group]
    before = [float(sum(one["reference"] for one in group)) for group in groups]
    now = [float(sum(one["count"] for one in group)) for group in groups]
    # One scale for both, or a flat distribution could not be told from a shifted one.
    shares = [[h / max(1.0, sum(some)) for h in some] for some in (before, now)]
    most = max([0.0, *shares[0], *shares[1]])
    return bars([*shares[0], most])[:-1], bars([*shares[1], most])[:-1]


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
