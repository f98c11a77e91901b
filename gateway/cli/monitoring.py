"""Checks of `penstock doctor` that look at what live traffic is held against.

Knows the configuration and the references of a home. A check changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.cli.findings import Case, Finding
from gateway.control.self_references import SelfReferences
from gateway.control.store import FILE, Store

# More names are for `penstock models` to list.
_MAX_NAMED = 5


def check_references(case: Case) -> Iterator[Finding]:
    """Whether some model is held against nothing but its own first traffic."""
    if not case.config.monitoring.enabled:
        found = "monitoring.enabled is false: no value is counted"
        yield Finding("monitoring", "warn", found, "set it to true to see traffic change")
        return
    own = _self_referenced(case)
    if not own:
        return
    named = ", ".join(own[:_MAX_NAMED]) + (", ..." if len(own) > _MAX_NAMED else "")
    found = f"held against their own first rows, which nobody vouched for: {named}"
    yield Finding("monitoring", "warn", found, "penstock profile MODEL --data FILE")


def _self_referenced(case: Case) -> list[str]:
    if not (case.home / FILE).exists():
        return []
    with Store.open(case.home) as store:
        used = SelfReferences(store, case.home).used()
    return [f"{one.model}/{one.version}" for one in used]


CHECKS = (check_references,)
