"""How experiments are shown to people.

Knows what the control port tells of them. Knows nothing of how it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.cli.output import moment, printable, table

Line = Mapping[str, Any]
_NOTHING = "-"


def listed(found: Sequence[Line]) -> str:
    """One line each."""
    if not found:
        return "no experiments"
    rows = [
        (one["number"], one["model"], one["kind"], one["measure"], one["state"], _came_to(one))
        for one in found
    ]
    return table(("NUMBER", "ROUTE", "KIND", "MEASURE", "STATE", "WHY"), rows)


def experiment(one: Line) -> str:
    """One, with its figures and what happened."""
    lines = [
        f"experiment {one['number']}, {_KINDS[one['kind']]} on route {one['model']}:"
        f" {one['state']}{': ' if one['why'] else ''}{printable(one['why'])}",
        f"started by {one['who']} at {moment(one['started_at'])}",
    ]
    lines += [f"warning: {printable(text)}" for text in one["warnings"]]
    report = one["report"]
    if one["kind"] == "bandit":
        lines.append(_bandit(one, report))
    elif report is None:
        lines.append(f"arms: {_shares(one)}")
    else:
        lines += _ab_test(one, report)
    lines += [f"{moment(event['at'])}  {printable(event['says'])}" for event in one["events"]]
    return "\n".join(lines)


def replayed(found: Line) -> str:
    """What another policy would have come to."""
    rows = [
        (title, *_estimate(found[name]))
        for title, name in (("as answered", "mean"), ("ips", "ips"), ("snips", "snips"))
    ]
    lines = [table(("ESTIMATE", "ROWS", "MEAN", "WITHIN"), rows)]
    lines.append(f"as much as {found['effective_rows']:.0f} rows that weigh alike")
    if found["least_chance"] is not None:
        lines[-1] += (
            f"; least chance {found['least_chance']:.3g}, largest weight {found['most_weight']:.3g}"
        )
    return "\n".join([*lines, *(f"warning: {text}" for text in found["warnings"])])


def planned(found: Line, base: float, per_day: float | None) -> str:
    """What a test needs, and what it can show."""
    lines = [
        f"{found['arms']} arms, alpha {found['alpha']:g}, power {found['power']:g};"
        " rows are of all arms together"
    ]
    if "rows" in found:
        needs = (
            ("looking all the time, at most", found["rows"]),
            ("looking all the time, half of tests", found["typical_rows"]),
            ("looking once, at the end", found["rows_looking_once"]),
        )
        title = f"TO SHOW {base:g} -> {base + found['effect']:g}"
        rows = [(what, n, _days(n, per_day)) for what, n in needs]
        lines.append(table((title, "ROWS", "DAYS"), rows))
    if "smallest" in found:
        shown = [
            (one["days"], round(one["days"] * (per_day or 0)), _smallest(one["effect"], base))
            for one in found["smallest"]
        ]
        lines.append(table(("DAYS", "ROWS", "SMALLEST DIFFERENCE SHOWN"), shown))
    return "\n".join(lines)


def _ab_test(one: Line, report: Line) -> list[str]:
    lines = [_measured(report["measure"], one)]
    for rail, wanted in zip(report["guardrails"], one["experiment"]["guardrails"], strict=True):
        margin = wanted.get("margin", 0.0)
        lines.append(f"guardrail, margin {margin:g}, on harm {wanted['on_harm']}:")
        lines.append(_measured(rail, one))
    shares, rows = report["mismatch"], report["others"]
    requests = " : ".join(map(str, shares["requests"]))
    expected = " : ".join(f"{share:.4g}" for share in shares["expected"])
    alarm = "MISMATCH, nothing is to be trusted" if shares["alarm"] else "as they should be"
    lines.append(f"shares: requests {requests} for {expected}: {alarm}")
    if rows:
        lines.append(f"{rows} rows of these versions were not assigned by it")
    return lines


def _measured(found: Line, one: Line) -> str:
    rows = []
    for arm in found["arms"]:
        versus = arm["vs_control"]
        difference = lift = "control" if arm["name"] == one["control"] else _NOTHING
        if versus is not None:
            difference = _within(versus, "difference", "low", "high", "+.4g")
            lift = _within(versus, "lift", "lift_low", "lift_high", "+.1%")
        version = one["versions"][arm["name"]]
        rows.append((arm["name"], version, *_estimate(arm["estimate"]), difference, lift))
    better = f"{found['name'].upper()} ({found['better']} is better)"
    header = (better, "VERSION", "ROWS", "MEAN", "WITHIN", "DIFFERENCE", "LIFT")
    return table(header, rows)


def _bandit(one: Line, report: Line | None) -> str:
    if report is None:
        return f"arms: {_shares(one)}"
    rows = [
        (
            arm["name"],
            one["versions"][arm["name"]],
            f"{one['shares'][arm['name']]:.1%}",
            arm["requests"],
            *_estimate(arm["estimate"]),
        )
        for arm in report["arms"]
    ]
    better = f"{one['measure'].upper()} ({one['better']} is better)"
    return table((better, "VERSION", "SHARE", "REQUESTS", "ROWS", "MEAN", "WITHIN"), rows)


def _estimate(found: Line) -> tuple[int, str, str]:
    if found["mean"] is None:
        return found["n"], _NOTHING, _NOTHING
    within = _NOTHING
    if found["low"] is not None:
        within = f"{found['low']:.4g} to {found['high']:.4g}"
    return found["n"], f"{found['mean']:.4g}", within


def _within(found: Line, value: str, low: str, high: str, form: str) -> str:
    if found[value] is None:
        return _NOTHING
    told = format(found[value], form)
    if found[low] is None:
        return told
    return f"{told} ({found[low]:{form}} to {found[high]:{form}})"


def _shares(one: Line) -> str:
    return ", ".join(f"{name} {share:.4g}" for name, share in one["shares"].items())


def _came_to(one: Line) -> str:
    return f"'{one['takes']}' has all; {one['why']}" if one["takes"] else one["why"]


def _days(rows: int, per_day: float | None) -> str:
    return f"{rows / per_day:.1f}" if per_day else _NOTHING


def _smallest(effect: float | None, base: float) -> str:
    if effect is None:
        return "none"
    relative = f" ({effect / base:+.1%})" if base else ""
    return f"{effect:.4g}{relative}"


_KINDS = {"ab": "A/B test", "bandit": "bandit"}
