"""`penstock shadow`: what a route's shadows say beside what was answered.

Knows options and tables. Knows nothing of how pairs are counted: it asks the server.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from gateway.cli.actions import add_action
from gateway.cli.arguments import positive
from gateway.cli.output import moment, say, say_json, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# A row's values, in a line of a table.
MAX_TEXT = 60
MAX_TENSORS = 4


def configure(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "shadow",
        help="show what versions say that run copies of a route's requests",
        description="Asks the server that runs on this home about the shadows of its routes. They"
        " are set with `penstock route set --shadow`.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    show = add_action(actions, "show", show_shadows, "hold a route's shadows against its answers")
    show.add_argument("route", metavar="ROUTE", help="the model that clients call")
    show.add_argument(
        "--window", metavar="DURATION", help="look back so far (default: to the server's start)"
    )
    rows = add_action(actions, "rows", show_rows, "show the rows about which a shadow differs most")
    rows.add_argument("route", metavar="ROUTE", help="the model that clients call")
    rows.add_argument("version", type=positive, metavar="VERSION", help="of the shadow")


def show_shadows(args: argparse.Namespace) -> int:
    """Prints a table for each version that answers and each shadow of it."""
    found = _ask(args, f"/api/routes/{quote(args.route, safe='')}/shadows", window=args.window)
    if args.json:
        say_json(found)
        return 0
    for place, pair in enumerate(found["pairs"]):
        if place:
            say()
        say(f"{found['route']}: version {pair['shadow']} beside version {pair['answered']}")
        rows, share = pair["rows"], f"{100 * pair['share']:.6g} %"
        became = ", ".join(f"{count} {what}" for what, count in rows.items() if what != "copied")
        say(f"{share} of requests are copied; of {rows['copied']} rows {became}")
        say(table(("FIGURE", "VALUE", "FOR SURE"), list(_figures(pair))))
        if (answers := pair["answers"]) is not None:
            _say_answers(answers)
        if (right := pair["right"])["known"]:
            sides = f"the shadow in {right['shadow']}, what was answered in {right['answered']}"
            evidence = f"e-value 10^{right['log10_e']:.1f}"
            say(f"right in {right['known']} disagreements with outcomes: {sides} ({evidence})")
        if (difference := pair["difference"])["bins"]:
            evidence = f"e-value 10^{difference['log10_e']:.1f}"
            sides = f"{difference['higher']} rows higher, {difference['lower']} lower"
            say(f"scores of the shadow: {sides} ({evidence} against chance)")
            say(table(("DIFFERENCE", "ROWS"), [(_size(b), b["rows"]) for b in difference["bins"]]))
    return 0


def show_rows(args: argparse.Namespace) -> int:
    """Prints a line a row, or all of them as JSON."""
    path = f"/api/routes/{quote(args.route, safe='')}/shadows/{args.version}/rows"
    found = _ask(args, path)
    if args.json:
        say_json(found)
        return 0
    head = ("REQUEST", "ROW", "AT", "ANSWERED", "SAID", "SHADOW SAID", "INPUTS")
    rows = [
        (
            one["request_id"],
            one["row"],
            moment(one["at"]),
            one["answered"],
            *map(_values, (*_apart(one["said"], one["shadow_said"]), one["inputs"])),
        )
        for one in found["rows"]
    ]
    say(table(head, rows) if rows else "no row differs")
    return 0


def _say_answers(answers: Mapping[str, Any]) -> None:
    """Prints what only answers of language models have."""
    aspects = [
        (
            one["name"],
            one["compared"],
            _percent(one["differing"]["value"]),
            _between(one["differing"], _percent),
            _sides(one),
        )
        for one in answers["aspects"]
    ]
    if aspects:
        say(table(("ASPECT", "COMPARED", "DIFFER", "FOR SURE", "SO OF ONE ALONE"), aspects))
    measures = [
        (
            one["name"],
            f"{one['answered']:.4g}",
            f"{one['shadow']:.4g}",
            f"{one['ratio']:.3g} times",
            _between(one, "{:.3g}".format),
            f"{one['higher']} / {one['lower']} (10^{one['log10_e']:.1f})",
        )
        for one in answers["measures"]
    ]
    head = ("MEASURE", "ANSWERED", "SHADOW", "RATIO", "FOR SURE", "MORE / LESS (E-VALUE)")
    say(table(head, measures))
    if (likeness := answers["likeness"])["rows"]:
        between = _between(likeness, "{:.3g}".format)
        say(f"texts are {likeness['value']:.3g} alike (for sure {between})")
        bins = [(_size(one), one["rows"]) for one in likeness["bins"]]
        say(table(("LIKENESS", "ROWS"), bins))


def _sides(aspect: Mapping[str, Any]) -> str:
    if aspect["shadow_only"] is None:
        return ""
    sides = f"answered {aspect['answered_only']}, shadow {aspect['shadow_only']}"
    return f"{sides} (e-value 10^{aspect['log10_e']:.1f})"


def _figures(pair: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name in ("disagreement", "failures"):
        found = pair[name]
        yield name, _percent(found["value"]), _between(found, _percent)
    difference = pair["difference"]
    if difference["mean"] is not None:
        yield "difference", f"{difference['mean']:+.4f}", _between(difference, "{:+.4f}".format)
    if pair["calibration"]["gap"] is not None:
        yield "calibration gap", f"{pair['calibration']['gap']:.4f}", ""
    cost = pair["cost"]
    if cost["ratio"] is not None:
        yield "cost", f"{cost['ratio']:.2f} times", ""


def _size(one: Mapping[str, Any]) -> str:
    above, up_to = one["above"], one["up_to"]
    if above is None:
        return f"to {up_to:g}"
    return f"above {above:g}" if up_to is None else f"{above:g} to {up_to:g}"


def _between(found: Mapping[str, Any], written: Any) -> str:
    if found["low"] is None:
        return ""
    return f"{written(found['low'])} to {written(found['high'])}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.3g} %"


def _apart(
    said: Mapping[str, Any] | None, other: Mapping[str, Any] | None
) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
    """Both answers, without what is the same of them where there is too much for a line."""
    if said is None or other is None or len(said) <= MAX_TENSORS:
        return said, other
    # Words say at once what numbers have to be looked at for.
    names = [name for name, values in said.items() if values != other.get(name)]
    names.sort(key=lambda name: not any(isinstance(one, str) for one in said[name]))
    return {n: said[n] for n in names}, {n: other[n] for n in names if n in other}


def _values(tensors: Mapping[str, Any] | None) -> str:
    if tensors is None:
        return "-"
    told = "; ".join(f"{name} {', '.join(map(_short, values))}" for name, values in tensors.items())
    return told if len(told) <= MAX_TEXT else f"{told[: MAX_TEXT - 3]}..."


def _short(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _ask(args: argparse.Namespace, path: str, **query: Any) -> dict[str, Any]:
    from gateway.cli.running import admin_of

    with admin_of(args.home) as control:
        return control.ask("GET", path, query=query)
