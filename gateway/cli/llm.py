"""`penstock llm`: language models of a running server, and how their upstreams are.

Knows options and how answers are shown. Knows nothing of how upstreams are asked or counted.
"""

from __future__ import annotations

import argparse
from typing import Any
from urllib.parse import quote

from gateway.cli.actions import add_action
from gateway.cli.arguments import positive
from gateway.cli.output import say, say_json, table

_STATUS = (
    *("MODEL", "VERSION", "UPSTREAM", "BREAKER", "SENT", "FAILED", "LIMITED", "IN FLIGHT"),
    *("FIRST TOKEN p50", "p95", "TOKENS IN", "OUT", "COST USD", "LAST TROUBLE"),
)


def configure(subparsers: Any) -> None:
    """Adds the command."""
    command = subparsers.add_parser(
        "llm",
        help="show language models and how their upstreams are, and have one asked again",
        description="Language models that other servers answer for, as the running server has"
        " come to know these.",
    )
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    add_action(actions, "status", show_status, "show every upstream: its breaker, speed and cost")
    close = add_action(
        actions, "close", close_upstream, "have an upstream asked again that is left alone"
    )
    close.add_argument("model", metavar="MODEL")
    close.add_argument("upstream", metavar="UPSTREAM", help="as status calls it")
    close.add_argument(
        "--version", type=positive, metavar="N", help="of this version alone (default: of all)"
    )
    close.add_argument("--why", default="", metavar="TEXT", help="for whoever reads the audit")
    add_action(actions, "models", show_models, "show who answers for which model, at known prices")


def show_status(args: argparse.Namespace) -> int:
    """Prints a line an upstream."""
    found = _ask(args, "/api/llm/upstreams")
    if args.json:
        say_json(found)
        return 0
    rows = [_line(one) for one in found["upstreams"]]
    say(table(_STATUS, rows) if rows else "no language model is served: set llm.models")
    return 0


def show_models(args: argparse.Namespace) -> int:
    """Prints a line an upstream of a version."""
    found = _ask(args, "/api/llm/models")
    if args.json:
        say_json(found)
        return 0
    rows = [
        (
            one["model"],
            f"{one['version']}{' (default)' if one['default'] else ''}",
            up["name"],
            up["model"],
            *_price(up["price"], one["unpriced"]),
        )
        for one in found["versions"]
        for up in one["upstreams"]
    ]
    price = ("USD A MILLION IN", "OUT", "PRICED AS")
    head = ("MODEL", "VERSION", "UPSTREAM", "THERE CALLED", *price)
    say(table(head, rows) if rows else "no language model is served: set llm.models")
    return 0


def close_upstream(args: argparse.Namespace) -> int:
    """Closes an upstream's breaker in every worker."""
    wanted = {"upstream": args.upstream, "version": args.version, "why": args.why}
    found = _ask(args, f"/api/llm/models/{quote(args.model, safe='')}/close", "POST", wanted)
    if args.json:
        say_json(found)
        return 0
    for version in found["versions"]:
        say(f"{found['model']} version {version}: '{found['upstream']}' is asked again")
    return 0


def _ask(args: argparse.Namespace, path: str, method: str = "GET", value: Any = None) -> Any:
    from gateway.cli.running import admin_of

    with admin_of(args.home) as control:
        return control.ask(method, path, value)


def _line(one: dict[str, Any]) -> tuple[Any, ...]:
    return (
        *(one["model"], one["version"], one["upstream"], _breaker(one)),
        *(one["sent"], one["failed"], one["limited"]),
        sum(worker["in_flight"] for worker in one["workers"]),
        *(_seconds(one["first_token_p50_s"]), _seconds(one["first_token_p95_s"])),
        *(one["input_tokens"], one["output_tokens"], _cost(one)),
        one["trouble"] or "-",
    )


def _price(price: dict[str, Any] | None, unpriced: str) -> tuple[str, str, str]:
    if price is None:
        return "-", "-", f"unknown: {unpriced}"
    asked, told = price["input_usd_per_million"], price["output_usd_per_million"]
    return f"{asked:.10g}", f"{told:.10g}", price["entry"] or "the document says"


def _breaker(one: dict[str, Any]) -> str:
    """Its state, and for how long the worker that waits longest leaves the upstream alone."""
    waits = max((worker["ready_in_s"] for worker in one["workers"]), default=0.0)
    return f"{one['breaker']}, ready in {waits:.3g} s" if waits > 0 else str(one["breaker"])


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g} s"


def _cost(one: dict[str, Any]) -> str:
    unpriced = one["unpriced_answers"]
    return f"{one['cost_usd']:.6f}" + (f" and {unpriced} unpriced" if unpriced else "")
