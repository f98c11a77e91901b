"""`python -m loadtest`: runs scenarios, keeps their results, renders the page.

    python -m loadtest all                      # 20 turns of everything, half an hour
    python -m loadtest single-row-json reload   # these; the page keeps the others' last figures
    python -m loadtest all --quick              # three turns: does everything run? No claims.

Knows scenarios by name. Knows nothing of what any of them does.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loadtest import report
from loadtest.bench import Bench
from loadtest.scenarios import SCENARIOS
from loadtest.servers import CannotRun
from loadtest.turns import Result

ROUNDS, QUICK_ROUNDS = 20, 3


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    if args.list:
        for name, scenario in SCENARIOS.items():
            print(f"{name:20} {(scenario.__doc__ or '').splitlines()[0]}")
        return 0
    unknown = sorted(set(args.scenarios) - set(SCENARIOS) - {"all"})
    if unknown:
        named = ", ".join(unknown)
        sys.exit(f"no such scenario: {named}; there are: all, {', '.join(SCENARIOS)}")
    _raise_file_limit()
    names = list(SCENARIOS) if "all" in args.scenarios else args.scenarios or list(SCENARIOS)
    rounds = args.rounds or (QUICK_ROUNDS if args.quick else ROUNDS)
    document: dict[str, Any] = {"machine": report.machine(), "results": []}
    for name in names:
        document["results"] += [report.stamp(r, rounds) for r in run(name, rounds)]
        _keep(document, args)
    print(report.render(document))
    missed = [r["name"] for r in document["results"] if r["reached"] is False]
    if missed:
        print(f"not reached: {', '.join(missed)}")
    broken = any(not r["measures"] and not r["skipped"] for r in document["results"])
    return 1 if broken or (args.strict and missed) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "scenarios", nargs="*", metavar="SCENARIO", help="by name; all, or none named: everything"
    )
    parser.add_argument("--list", action="store_true", help="name the scenarios and end")
    parser.add_argument(
        "--quick", action="store_true", help="few turns; nothing kept but in --json"
    )
    parser.add_argument("--rounds", type=int, help=f"turns of each contestant (default {ROUNDS})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there instead")
    parser.add_argument("--strict", action="store_true", help="status 1 where a target is missed")
    return parser


def run(name: str, rounds: int) -> list[dict[str, Any]]:
    """One scenario's results; what keeps it from running is a result as well."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    began = time.monotonic()
    try:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="loadtest-")))
            bench = Bench(folder, rounds, stack=stack)
            found = [result.document() for result in SCENARIOS[name](bench)]
    except CannotRun as error:
        found = [Result(name, name, skipped=str(error)).document()]
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        # The others shall still run; this one is a failure, not a gap.
        broken = Result(name, name, faults=1, detail={"error": f"{type(error).__name__}: {error}"})
        found = [broken.document()]
    for result in found:
        said = result.get("skipped") or result.get("measured", result["detail"].get("error"))
        print(f"  {result['name']}: {said}, reached: {result['reached']}", file=sys.stderr)
    print(f"  {time.monotonic() - began:.0f} s", file=sys.stderr)
    return found


def _keep(document: dict[str, Any], args: argparse.Namespace) -> None:
    """Writes what there is so far: a run that is broken off has not been for nothing."""
    if args.json:
        report.write(document, args.json)
    elif not args.quick:
        whole = report.merge(report.read(report.LATEST), document)
        report.write(whole, report.LATEST)
        report.PAGE.write_text(report.render(whole), encoding="utf-8")
        readme = report.README.read_text(encoding="utf-8")
        report.README.write_text(report.insert(whole, readme), encoding="utf-8")


def _raise_file_limit() -> None:
    """For 2,000 connections; servers started here inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
