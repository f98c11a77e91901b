"""`penstock keys spend`: what callers, teams and tags have spent, what is left, what was refused.

Knows tables and JSON, and how limits are written. Knows nothing of how spending is counted: a
running server says it, or else its home does.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from gateway.cli.output import progress, say, say_json, table
from gateway.errors import GatewayError

PAGE = 1000
UNKNOWN = "-"
_DIGITS = "0123456789."
_HEADER = (
    *("KIND", "NAME", "USD TODAY", "USD THIS MONTH", "USD", "TOKENS", "REQUESTS"),
    *("LEFT", "REFUSED"),
)


def list_spend(args: argparse.Namespace) -> int:
    """Prints one line for each that has spent something, or was refused something."""
    found = _spent(args.home)
    if args.json:
        say_json(found)
        return 0
    rows = [
        (
            one["kind"],
            one["name"],
            *(one["spent"][window]["usd"] for window in ("day", "month", "total")),
            one["spent"]["total"]["tokens"],
            one["spent"]["total"]["requests"],
            left_of(one),
            one.get("refusals", UNKNOWN),
        )
        for one in found
    ]
    say(table(_HEADER, rows) if rows else f"nothing was spent under {args.home}")
    return 0


def left_of(one: Mapping[str, Any]) -> str:
    """What is left of each limit at this moment; `-`: none is known."""
    limits = one.get("limits") or {}
    left = [_left_of_budget(text, one["spent"]) for text in limits.get("budgets", ())]
    for unit, free in one.get("rates_left", {}).items():
        if free is not None:
            left.append(f"{free} of {limits[f'{unit}_per_minute']} {unit}/minute")
    most = limits.get("max_parallel")
    if most is not None:
        left.append(f"{max(most - one['under_way'], 0)} of {most} at once")
    return ", ".join(left) or UNKNOWN


def _left_of_budget(text: str, spent: Mapping[str, Any]) -> str:
    limit, window = text.split("/")
    unit = limit.lstrip(_DIGITS)
    used = Decimal(spent[window]["usd" if unit == "usd" else "tokens"])
    return f"{max(Decimal(limit.removesuffix(unit)) - used, Decimal(0)):f} of {text}"


def _spent(home: Path) -> list[dict[str, Any]]:
    """As the server that runs here tells it; else as one wrote it last, without limits."""
    from gateway.cli import running

    server = running.find(home)
    if server is None:
        return _written(home)
    try:
        return _told(home, server)
    except GatewayError as error:
        progress(f"what is left is not known, nor what was refused: {error}")
        return _written(home)


def _told(home: Path, server: Mapping[str, Any]) -> list[dict[str, Any]]:
    from gateway.cli import running

    found: list[dict[str, Any]] = []
    after: str | None = ""
    with running.admin(home, server) as control:
        while after is not None:
            page = control.spend(after, PAGE)
            found += page["spend"]
            after = page["next"]
    return found


def _written(home: Path) -> list[dict[str, Any]]:
    from gateway.control.spend_report import lines
    from gateway.control.store import FILE, Store

    if not (home / FILE).exists():  # looking makes no home
        return []
    with Store.open(home) as store:
        return [line.as_json() for line in lines(store, time.time())]
