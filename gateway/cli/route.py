"""`penstock route`: how a model's requests are divided among its versions, and the kill switch.

Knows options and tables. Knows nothing of how requests are divided: it asks the server.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from gateway.cli.actions import add_action
from gateway.cli.arguments import positive
from gateway.cli.output import moment, say, say_json, table

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_S = 330.0  # longer than workers may take to load a version
_PLACE = "header:NAME|parameter:NAME"


def configure(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "route",
        help="divide a model's requests among its versions",
        description="Asks the server that runs on this home about its routes, or changes them.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    add_action(actions, "list", list_routes, "show every model and how its requests are divided")
    show = add_action(actions, "show", show_route, "show one route")
    setting = add_action(actions, "set", set_route, "divide a model's requests among versions")
    reset = add_action(actions, "reset", reset_route, "go back to what the configuration says")
    stop = add_action(actions, "stop", stop_route, "have one version answer alone, at once")
    resume = add_action(
        actions, "resume", resume_route, "undo a stop, and give pulled variants their share"
    )
    for action in (show, setting, reset, stop, resume):
        action.add_argument("route", metavar="ROUTE", help="the model that clients call")
    setting.add_argument(
        "--variant",
        type=_variant,
        action="append",
        required=True,
        metavar="NAME=VERSION[:WEIGHT]",
        help="a variant, and its version or alias; weights are relative (default: 1)",
    )
    setting.add_argument(
        "--sticky", type=_place, metavar=_PLACE, help="equal values get the same variant"
    )
    setting.add_argument(
        "--override",
        type=_place,
        action="append",
        default=[],
        metavar=_PLACE,
        help="where a request may name the variant that it wants",
    )
    setting.add_argument(
        "--shadow",
        type=_shadow,
        action="append",
        default=[],
        metavar="VERSION[:SHARE]",
        help="a version or alias that runs copies of requests, whose answers nobody gets; a share"
        " is one of requests, as 10%% or 0.1 (default: all)",
    )
    setting.add_argument("--fallback", metavar="VARIANT", help="answers where another cannot")
    setting.add_argument(
        "--failing",
        type=_failing,
        metavar="NAME=VALUE,...|off",
        help="when a variant is pulled (default: in_a_row=10,share=0.5,of=20)",
    )
    stop.add_argument(
        "--fallback", type=positive, metavar="VERSION", help="default: the route's fallback"
    )
    stop.add_argument("--why", default="", metavar="TEXT", help="for whoever reads the audit")


def list_routes(args: argparse.Namespace) -> int:
    """Prints one line a route."""
    found = _ask(args, "GET", "/api/routes")["routes"]
    if args.json:
        say_json(found)
        return 0
    rows = [
        (one["name"], _served(one), _state(one), one["leader"] or one["source"]) for one in found
    ]
    say(table(("ROUTE", "SERVING", "STATE", "SOURCE"), rows) if rows else "no routes")
    return 0


def show_route(args: argparse.Namespace) -> int:
    """Prints a route as it is wanted and as it serves."""
    return _tell(args, _ask(args, "GET", _path(args)))


def set_route(args: argparse.Namespace) -> int:
    """Puts a route in force; returns once every worker follows."""
    document = {
        "variants": args.variant,
        "sticky": None if args.sticky is None else dict([args.sticky]),
        "overrides": dict(args.override),
        "shadows": args.shadow,
        "fallback": args.fallback,
        **({} if args.failing is None else {"failing": args.failing}),
    }
    return _tell(args, _ask(args, "PUT", _path(args), document))


def reset_route(args: argparse.Namespace) -> int:
    """Takes back what was set."""
    return _tell(args, _ask(args, "DELETE", _path(args)))


def stop_route(args: argparse.Namespace) -> int:
    """Stops a route; returns once every worker obeys."""
    document = {"fallback": args.fallback, "why": args.why}
    return _tell(args, _ask(args, "POST", f"{_path(args)}/stop", document))


def resume_route(args: argparse.Namespace) -> int:
    """Ends a stop."""
    return _tell(args, _ask(args, "POST", f"{_path(args)}/resume"))


def _tell(args: argparse.Namespace, route: Mapping[str, Any]) -> int:
    if args.json:
        say_json(route)
        return 0
    say(f"{route['name']}: {_served(route)}")
    if route["leader"] is not None:
        say(f"led by {route['leader']}")
    if (stopped := route["stopped"]) is not None:
        why = f": {stopped['why']}" if stopped["why"] else ""
        at = moment(stopped["at"])
        say(f"stopped by {stopped['who']} at {at}, version {stopped['version']} alone{why}")
    for pull in route["pulled"]:
        at = moment(pull["at"])
        say(f"pulled {pull['variant']} version {pull['version']} at {at}: {pull['why']}")
    if route["variants"]:
        rows = [
            (one["name"], one["alias"] or "-", one["version"] or "-", one["weight"], _share(one))
            for one in route["variants"]
        ]
        say(table(("VARIANT", "ALIAS", "VERSION", "WEIGHT", "SHARE"), rows))
        say(f"sticky by {route['sticky'] or 'nothing: variants take turns'}")
        say(f"overridden by {', '.join(route['overrides']) or 'nothing'}")
        say(f"fallback {route['fallback']}")
        say(f"pulled {_bounds(route['failing'])}")
        for one in route["shadows"]:
            named = "nothing" if one["version"] is None else f"version {one['version']}"
            by = "" if one["alias"] is None else f" ({one['alias']})"
            state = "" if one["running"] else ", not now"
            say(f"shadowed by {named}{by}, {_share(one)} of requests{state}")
    if route["fault"]:
        say(f"not as wanted: {route['fault']}")
    if route["unwritten"]:
        say(f"in force, and not written down yet: {route['unwritten']}")
    return 0


def _bounds(failing: Mapping[str, Any]) -> str:
    if not failing["enabled"]:
        return "never"
    share = f"{100 * failing['share']:g} % of at least {failing['of']} requests"
    return f"at {failing['in_a_row']} failures in a row, over {share}, or at a crash"


def _served(route: Mapping[str, Any]) -> str:
    told = [
        f"{_named(one['variant'])}version {one['version']} {_share(one)}"
        for one in route["serving"]
    ]
    return ", ".join(told) or "nothing serves"


def _named(variant: str | None) -> str:
    return "" if variant is None else f"{variant} "


def _share(line: Mapping[str, Any]) -> str:
    return f"{100 * line['share']:.6g} %"


def _state(route: Mapping[str, Any]) -> str:
    if route["stopped"] is not None:
        return "stopped"
    if route["pulled"]:
        return "pulled"
    return "not as wanted" if route["fault"] else "in force"


def _path(args: argparse.Namespace) -> str:
    return f"/api/routes/{quote(args.route, safe='')}"


def _ask(args: argparse.Namespace, method: str, path: str, document: Any = None) -> dict[str, Any]:
    from gateway.cli.running import admin_of

    with admin_of(args.home, TIMEOUT_S) as control:
        return control.ask(method, path, document)


def _variant(text: str) -> dict[str, Any]:
    """`canary=3:10`, or `canary=challenger:10`."""
    name, equals, rest = text.partition("=")
    target, colon, weight = rest.rpartition(":")
    if not colon:
        target, weight = rest, "1"
    try:
        relative = float(weight)
    except ValueError:
        relative = -1.0
    if not (name and equals and target and 0 <= relative < float("inf")):
        raise argparse.ArgumentTypeError(f"expected NAME=VERSION[:WEIGHT], got '{text}'")
    return {"name": name, **_version_or_alias(target), "weight": relative}


def _shadow(text: str) -> dict[str, Any]:
    """`3`, `challenger:0.1` or `challenger:10%`."""
    target, _, share = text.partition(":")
    try:
        part = float(share[:-1]) / 100 if share.endswith("%") else float(share or 1)
    except ValueError:
        part = 0.0
    if not (target and 0 < part <= 1):
        raise argparse.ArgumentTypeError(f"expected VERSION[:SHARE], got '{text}'")
    return {**_version_or_alias(target), "share": part}


def _version_or_alias(text: str) -> dict[str, Any]:
    return {"version": int(text)} if text.isdecimal() else {"alias": text}


def _failing(text: str) -> dict[str, Any]:
    """`in_a_row=5,share=0.2`, or `off`."""
    if text == "off":
        return {"enabled": False}
    pairs = [part.partition("=") for part in text.split(",")]
    try:
        return {name: float(value) if name == "share" else int(value) for name, _, value in pairs}
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"expected off, or some of in_a_row=, share= and of= with numbers, got '{text}'"
        ) from error


def _place(text: str) -> tuple[str, str]:
    """`header:x-user`, or `parameter:user`."""
    kind, _, name = text.partition(":")
    if kind not in ("header", "parameter") or not name:
        raise argparse.ArgumentTypeError(f"expected {_PLACE}, got '{text}'")
    return kind, name
