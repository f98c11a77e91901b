"""Checks of `penstock doctor` that look at what live traffic is held against.

Knows the configuration, references, ledger and captured rows of a home. A check changes nothing.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence

from gateway.capture.files import FOLDER as CAPTURE
from gateway.capture.files import files_in
from gateway.cli.findings import Case, Finding
from gateway.cli.output import moment
from gateway.config import Ledger
from gateway.control.ledger_store import series_in
from gateway.control.outcomes import FOLDER as LEDGER
from gateway.control.self_references import SelfReferences
from gateway.control.store import FILE, Store
from gateway.errors import StoreFailed
from gateway.outcomes.segment import RECORD_BYTES, Segment, segments_in

# More names are for `penstock models` to list.
_MAX_NAMED = 5
# What an empty ledger is told at: a full machine, and thin traffic.
_RATES = (40_000, 100)
# A shorter time says little of the pace.
_PACE_S = 600.0


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


def check_ledger(case: Case) -> Iterator[Finding]:
    """How far the ledger reaches back, now and once it is full, and how much room it takes."""
    folder, settings = case.home / LEDGER, case.config.ledger
    if not folder.is_dir():
        if settings.enabled or any(one.ledger for one in case.config.models.values()):
            rows = settings.max_bytes // RECORD_BYTES
            spans = [f"{_span(rows / rate)} of {rate:,} rows/s" for rate in _RATES]
            yield Finding("ledger", "ok", f"empty, holds {rows:,} rows: {', '.join(spans)}")
        return
    found, faults = segments_in(folder)
    for fault in faults:
        yield Finding("ledger", "warn", str(fault), "move it away: nothing reads it")
    try:
        series_in(folder)
    except StoreFailed as error:
        told = (
            "move it away: until then nothing is written down; what was forgotten is lost with it"
        )
        yield Finding("ledger", "fail", str(error), told)
    records = sum(one.count for one in found)
    since = min((one.first_ms for one in found if one.count), default=None)
    reach = "" if since is None else f" since {moment(since / 1000.0)}"
    used = sum(one.nbytes for one in found) / settings.max_bytes
    full = _when_full([one for one in found if one.count], settings)
    yield Finding("ledger", "ok", f"{records} records{reach}, {used:.0%} of ledger.max_bytes{full}")


def _when_full(found: Sequence[Segment], settings: Ledger) -> str:
    """How far it will reach back at the pace so far; nothing where there was hardly any."""
    if not found:
        return ""
    took_s = (max(one.last_ms for one in found) - min(one.first_ms for one in found)) / 1000.0
    if took_s < _PACE_S:
        return ""
    rate = sum(one.count for one in found) / took_s
    # An open file has all its room from the start.
    sealed = [one for one in found if one.sealed]
    width = float(RECORD_BYTES)
    if sealed:
        width = sum(one.nbytes for one in sealed) / sum(one.count for one in sealed)
    span_s = min(settings.max_bytes / width / rate, settings.max_age_s)
    return f"; at {rate:.3g} rows/s, as so far, it will reach back {_span(span_s)}"


def _span(seconds: float) -> str:
    """`7 minutes`: the largest unit of which there are two."""
    for unit, name in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} seconds"


def check_capture(case: Case) -> Iterator[Finding]:
    """Whether what is to be captured can be, and how far captured rows reach back."""
    wanted = case.config.captured
    if wanted and importlib.util.find_spec("pyarrow") is None:
        found = f"pyarrow is not installed: nothing is captured of {', '.join(wanted[:_MAX_NAMED])}"
        yield Finding("capture", "fail", found, "pip install 'penstock[parquet]'")
    there = files_in(case.home / CAPTURE)
    if there:
        since = moment(min(one.first_ms for one in there) / 1000.0)
        used = sum(one.nbytes for one in there) / case.config.capture.max_bytes
        rows = sum(one.rows for one in there)
        found = f"{rows} rows since {since}, {used:.0%} of capture.max_bytes"
        yield Finding("capture", "ok", found)


CHECKS = (check_references, check_ledger, check_capture)
