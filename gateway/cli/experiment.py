"""`penstock experiment`: plan, start, show, list, stop experiments, and replay other policies.

Knows options. Knows nothing of statistics, but for `plan`, which needs no server: it asks the
server. Tables are `experiment_tables`'.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from gateway.cli import experiment_tables as tables
from gateway.cli.actions import add_action
from gateway.cli.arguments import positive
from gateway.cli.output import say, say_json
from gateway.errors import InvalidParameter

if TYPE_CHECKING:
    from gateway.experiments.sizes import Design

TIMEOUT_S = 330.0  # longer than workers may take to load a version
POLICIES = ("thompson", "epsilon_greedy", "ucb")
_MEASURE = "figure:NAME|metric:NAME[:lower|:higher]"
_WAYS = ("lower", "higher")
_DAYS = (1, 3, 7, 14, 28)


def configure(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "experiment",
        help="compare variants of a route, or have shares follow what they are worth",
        description="Asks the server that runs on this home about its experiments, or changes"
        " them. See docs/experiments.md.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _configure_plan(add_action(actions, "plan", plan, "how long a test takes, without a server"))
    _configure_start(add_action(actions, "start", start, "start a test, or a bandit"))
    add_action(actions, "list", list_experiments, "show all experiments")
    show = add_action(actions, "show", show_experiment, "show one, with figures of now")
    stop = add_action(actions, "stop", stop_experiment, "end one")
    for action in (show, stop):
        action.add_argument("number", type=positive, metavar="NUMBER")
    stop.add_argument("--why", default="", metavar="TEXT", help="for whoever reads it later")
    stop.add_argument(
        "--winner", metavar="ARM", help="it has all from now on (default: as it was before)"
    )
    _configure_replay(add_action(actions, "replay", replay, "what other shares would have come to"))


def _configure_plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--base", type=float, required=True, metavar="MEAN", help="what control's mean is now"
    )
    parser.add_argument(
        "--std", type=float, help="of a number (default: numbers are 0 or 1, MEAN is their rate)"
    )
    parser.add_argument("--effect", type=float, help="the difference that is to be shown")
    parser.add_argument("--rows-per-day", type=float, metavar="ROWS", help="of all arms together")
    parser.add_argument(
        "--weights", default="1,1", metavar="CONTROL,ARM...", help="of the arms (default: 1,1)"
    )
    parser.add_argument("--alpha", type=float, default=0.05, help="default: 0.05")
    parser.add_argument("--power", type=float, default=0.8, help="default: 0.8")
    parser.add_argument(
        "--rows-alike",
        type=float,
        default=1.0,
        metavar="ROWS",
        help="that say as much as one independent one (default: 1; `show` tells it as EFFECT)",
    )


def _configure_start(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("route", metavar="ROUTE", help="the model that clients call")
    parser.add_argument("--file", type=Path, help="the experiment, YAML or JSON")
    parser.add_argument("--measure", type=_measure, metavar=_MEASURE, help="what is compared")
    parser.add_argument(
        "--absent", choices=("unknown", "zero"), help="what a row without a number is"
    )
    parser.add_argument("--wait-s", type=float, metavar="SECONDS", help="before a row counts")
    parser.add_argument("--max-duration-s", type=float, metavar="SECONDS")
    parser.add_argument(
        "--arm", type=_arm, action="append", metavar="VARIANT[=WEIGHT]", help="default: all, alike"
    )
    tests = parser.add_argument_group("of a test")
    tests.add_argument("--control", metavar="VARIANT", help="default: the route's fallback")
    tests.add_argument(
        "--guardrail", type=_measure, action="append", metavar=_MEASURE, help="ends it if harmed"
    )
    tests.add_argument("--alpha", type=float)
    tests.add_argument("--min-effect", type=float, help="a smaller gain is of no use")
    tests.add_argument("--expected-rows", type=positive, metavar="ROWS")
    tests.add_argument("--at-end", choices=("restore", "winner"))
    bandits = parser.add_argument_group("of a bandit")
    bandits.add_argument("--bandit", choices=POLICIES, help="shares follow rewards")
    bandits.add_argument("--rewards", choices=("bernoulli", "gaussian"))
    bandits.add_argument("--half-life-s", type=float, metavar="SECONDS")
    bandits.add_argument("--floor", type=float, help="share that no arm falls below")
    bandits.add_argument("--epsilon", type=float)
    bandits.add_argument("--every-s", type=float, metavar="SECONDS")


def _configure_replay(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("route", metavar="ROUTE", help="the model that clients call")
    parser.add_argument("--measure", type=_measure, required=True, metavar=_MEASURE)
    parser.add_argument("--absent", choices=("unknown", "zero"))
    parser.add_argument("--wait-s", type=float, metavar="SECONDS")
    parser.add_argument("--window", metavar="DURATION", help="default: all records there are")
    parser.add_argument(
        "--share",
        type=_arm,
        action="append",
        required=True,
        metavar="VARIANT[=WEIGHT]",
        help="of the other policy; a single one has all",
    )


def plan(args: argparse.Namespace) -> int:
    """Works out what a test needs, or what it can show."""
    from gateway.experiments.sizes import size, smallest

    if args.effect is None and not args.rows_per_day:
        raise InvalidParameter("plan: expected --effect, --rows-per-day or both, got neither")
    if args.effect == 0.0:
        raise InvalidParameter("plan: expected an effect other than 0")
    weights = _weights(args.weights)
    design = _design(args, weights)
    found: dict[str, Any] = {"alpha": args.alpha, "power": args.power, "arms": len(weights)}
    try:
        if args.effect is not None:
            needs = size(design, args.effect)
            found["effect"] = args.effect
            found["rows"], found["typical_rows"] = needs.rows, needs.typical
            found["rows_looking_once"] = needs.looking_once
        if args.rows_per_day:
            found["smallest"] = [
                {"days": days, "effect": smallest(design, days * args.rows_per_day)}
                for days in _DAYS
            ]
    except ValueError as error:
        raise InvalidParameter(f"plan: {error}") from error
    say_json(found) if args.json else say(tables.planned(found, args.base, args.rows_per_day))
    return 0


def start(args: argparse.Namespace) -> int:
    """Starts one; returns once every worker follows."""
    document = {"experiment": _experiment(args)}
    path = f"/api/routes/{quote(args.route, safe='')}/experiments"
    return _tell(args, _ask(args, "POST", path, document))


def list_experiments(args: argparse.Namespace) -> int:
    """Prints one line an experiment."""
    found = _ask(args, "GET", "/api/experiments")["experiments"]
    say_json(found) if args.json else say(tables.listed(found))
    return 0


def show_experiment(args: argparse.Namespace) -> int:
    """Prints one."""
    return _tell(args, _ask(args, "GET", f"/api/experiments/{args.number}"))


def stop_experiment(args: argparse.Namespace) -> int:
    """Ends one."""
    document = {"why": args.why, "winner": args.winner}
    return _tell(args, _ask(args, "POST", f"/api/experiments/{args.number}/stop", document))


def replay(args: argparse.Namespace) -> int:
    """Prints what another policy would have come to."""
    shares = ",".join(f"{name}={share!r}" for name, share in args.share)
    measure = {name: text for name, text in args.measure.items() if name != "better"}
    query = {**measure, "shares": shares, **_given(args, "absent", "wait_s", "window")}
    path = f"/api/routes/{quote(args.route, safe='')}/replay?{urlencode(query)}"
    found = _ask(args, "GET", path)
    say_json(found) if args.json else say(tables.replayed(found))
    return 0


def _tell(args: argparse.Namespace, found: dict[str, Any]) -> int:
    say_json(found) if args.json else say(tables.experiment(found))
    return 0


def _experiment(args: argparse.Namespace) -> dict[str, Any]:
    """What the file says, and options over it."""
    found: dict[str, Any] = {} if args.file is None else _read(args.file)
    found["kind"] = "bandit" if args.bandit else found.get("kind", "ab")
    measure = _given(args, "absent", "wait_s")
    if args.measure is not None or measure:
        kept = {} if args.measure is not None else found.get("measure", {})
        found["measure"] = {**kept, **(args.measure or {}), **measure}
    found |= _given(args, "max_duration_s", "control", "alpha", "min_effect", "expected_rows")
    found |= _given(args, "at_end", "rewards", "half_life_s", "floor", "epsilon", "every_s")
    if args.bandit:
        found["policy"] = args.bandit
    if args.guardrail:
        found["guardrails"] = args.guardrail
    if args.arm:
        arms = dict(args.arm)
        found["arms"] = list(arms) if found["kind"] == "bandit" else arms
    if "measure" not in found:
        raise InvalidParameter("start: expected --measure, or --file with one")
    return found


def _read(path: Path) -> dict[str, Any]:
    from gateway.config import read_text
    from gateway.config.experiments import parse_experiment

    return parse_experiment(read_text(path), str(path)).model_dump(mode="json", exclude_unset=True)


def _given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Options that were given."""
    found = {name: getattr(args, name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _design(args: argparse.Namespace, weights: list[float]) -> Design:
    from gateway.experiments.sizes import Design

    if not (0.0 < args.alpha < 1.0 and 0.0 < args.power < 1.0 and args.rows_alike >= 1.0):
        raise InvalidParameter("plan: expected alpha and power inside of 0 to 1, rows alike from 1")
    total, treatment = sum(weights), min(weights[1:])
    return Design(
        args.base,
        None if args.std is None else args.std**2,
        treatment / total,
        weights[0] / total,
        args.alpha / (len(weights) - 1),
        args.power,
        args.rows_alike,
    )


def _weights(text: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if len(found) < 2 or not all(0.0 < weight < float("inf") for weight in found):
        raise InvalidParameter(f"plan: expected two weights above 0 or more, got '{text}'")
    return found


def _ask(args: argparse.Namespace, method: str, path: str, document: Any = None) -> dict[str, Any]:
    from gateway.cli.running import admin_of

    with admin_of(args.home, TIMEOUT_S) as control:
        return control.ask(method, path, document)


def _measure(text: str) -> dict[str, str]:
    """`figure:accuracy`, or `metric:complaint:lower`, of which less is better."""
    kind, _, rest = text.partition(":")
    name, colon, better = rest.partition(":")
    if kind not in ("figure", "metric") or not name or (colon and better not in _WAYS):
        raise argparse.ArgumentTypeError(f"expected {_MEASURE}, got '{text}'")
    return {kind: name, "better": better} if better else {kind: name}


def _arm(text: str) -> tuple[str, float]:
    """`canary`, or `canary=2`."""
    name, equals, weight = text.partition("=")
    try:
        found = float(weight) if equals else 1.0
    except ValueError:
        found = -1.0
    if not name or not 0.0 <= found < float("inf"):
        raise argparse.ArgumentTypeError(f"expected VARIANT[=WEIGHT], got '{text}'")
    return name, found
