"""Erases what is kept of a request, or of a subject: captured rows, the ledger, outcomes.

Knows where something of a request may be, and in which order it goes. Knows nothing of HTTP.

The ledger goes before the files of captured rows: these alone say which requests a subject's are,
so whoever is killed in between can ask for the same again. The audit tells of it by keyed hashes.

What only ever was a count (bins, sums, a profile) says nothing of one request and stays. First rows
that are to become a profile and are none yet are thrown away, and begin anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gateway.access.secret import ERASED, SUBJECT, keyed_hash
from gateway.capture import erasure, files
from gateway.capture.erasure import Wanted
from gateway.control.audit import Actor, note
from gateway.control.capture import Capture
from gateway.control.captured_rows import Version
from gateway.control.erased_records import ErasedRecords, erase_records
from gateway.control.ledger_store import FILE as LEDGER_FILE
from gateway.control.ledger_store import LedgerStore
from gateway.control.outcomes import FOLDER, Outcomes
from gateway.control.self_references import SelfReferences
from gateway.control.store import Store
from gateway.errors import InvalidParameter
from gateway.outcomes.address import Address, parse_id
from gateway.outcomes.early import Early
from gateway.outcomes.ledger import Ledger

Record = Callable[[Actor, str, str, None, dict[str, Any]], Awaitable[None]]
"""Writes an entry of the audit; returns when it is on disk."""


@dataclass(slots=True)
class Report:
    """What was erased; as `capture_documents.ErasureReport` has it."""

    requests: int = 0
    rows: int = 0
    records: int = 0
    waiting: int = 0
    begun_anew: list[str] = field(default_factory=list)
    references: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


class Erasures:
    """Of one running server. Lives on control's event loop."""

    def __init__(
        self,
        secret: bytes,
        capture: Capture,
        outcomes: Outcomes,
        own: SelfReferences,
        collecting: Callable[[], Iterable[Version]],
        record: Record,
        follow: Callable[[], Awaitable[Any]],
        forget: Callable[[Collection[str], bool], None] = lambda requests, subjects: None,
    ) -> None:
        """Takes its collaborators.

        Args:
            secret: the server's.
            capture: captured rows.
            outcomes: the ledger.
            own: references that models make of their first rows.
            collecting: versions that are collecting such rows.
            record: the audit.
            follow: brings the workers to what changed of that.
            forget: erases what is in memory of requests and, where subjects are erased, of all.
        """
        self._secret = secret
        self._capture = capture
        self._outcomes = outcomes
        self._own = own
        self._collecting = collecting
        self._record = record
        self._follow = follow
        self._forget = forget

    async def erase(
        self, actor: Actor, request_ids: Sequence[str], subjects: Sequence[str]
    ) -> Report:
        """Erases requests, and all requests that are about subjects.

        Args:
            actor: who asks.
            request_ids: as answers gave them.
            subjects: values of the parameter that says whom a request is about.

        Raises:
            InvalidParameter: an id is none of ours.
            StoreFailed: something cannot be read or written; the same again goes on.
        """
        if not request_ids and not subjects:
            return Report()
        wanted = _wanted(self._secret, request_ids, subjects)
        await self._capture.flush()
        found = await self._capture.find(wanted)
        requests = wanted.requests | found.requests
        about = {"requests": len(requests), "rows": found.rows}
        names = _names(self._secret, request_ids, subjects)
        await asyncio.gather(*(self._record(actor, "erase", name, None, about) for name in names))
        self._forget(request_ids, bool(subjects))
        erased = await self._outcomes.erase(requests)
        rows = (await self._capture.erase(wanted)).rows
        versions = found.versions | erased.versions
        report = Report(len(requests), rows, erased.records, erased.waiting)
        report.begun_anew = await self._begin_anew(versions)
        report.references = await asyncio.to_thread(_made_of_rows, self._own, versions)
        return report

    async def _begin_anew(self, versions: set[Version]) -> list[str]:
        """Where nothing is known of the requests, they may be among anybody's first rows."""
        some = [one for one in self._collecting() if not versions or one in versions]
        for name, version in some:
            await asyncio.to_thread(self._own.begin_anew, name, version)
        if some:
            await self._follow()
        return [f"{name}/{version}" for name, version in some]


def erase_offline(
    home: Path,
    store: Store,
    secret: bytes,
    actor: Actor,
    request_ids: Sequence[str],
    subjects: Sequence[str],
) -> Report:
    """The same on a home on which no server runs, and which is held against one. Blocking.

    Raises:
        InvalidParameter: an id is none of ours.
        StoreFailed: something cannot be read or written; the same again goes on.
    """
    wanted = _wanted(secret, request_ids, subjects)
    folder = home / files.FOLDER
    files.clear_up(folder)
    found = erasure.find(folder, wanted)
    requests = wanted.requests | found.requests
    with store.write() as db:
        for name in _names(secret, request_ids, subjects):
            about = {"requests": len(requests), "rows": found.rows}
            note(db, actor, "erase", name, None, about)
    erased = _from_ledger(home / FOLDER, requests)
    rows = erasure.erase(folder, wanted).rows
    versions = found.versions | erased.versions
    report = Report(len(requests), rows, erased.records, erased.waiting)
    report.references = _made_of_rows(SelfReferences(store, home), versions)
    return report


def _from_ledger(folder: Path, requests: Collection[Address]) -> ErasedRecords:
    if not (folder / LEDGER_FILE).is_file():
        return ErasedRecords()
    remains = LedgerStore(folder)
    try:
        forget = Early(remains).forget
        erased = erase_records(Ledger(folder, remains), remains.series(), requests, forget)
        remains.empty_log()
        return erased
    finally:
        remains.close()


def _wanted(secret: bytes, request_ids: Sequence[str], subjects: Sequence[str]) -> Wanted:
    addresses = set()
    for text in request_ids:
        address = parse_id(text)
        if address is None:
            raise InvalidParameter(f"'{text[:40]}': expected an id as penstock-request-id gives it")
        addresses.add(address)
    hashes = {keyed_hash(secret, SUBJECT, text).hex() for text in subjects}
    return Wanted(frozenset(addresses), frozenset(hashes))


def _names(secret: bytes, request_ids: Sequence[str], subjects: Sequence[str]) -> list[str]:
    """What the audit calls them; not the hash that files have of a subject, which is gone."""
    kinds = [("request", text) for text in request_ids] + [("subject", one) for one in subjects]
    return [f"{kind}/{keyed_hash(secret, ERASED, f'{kind} {text}').hex()}" for kind, text in kinds]


def _made_of_rows(own: SelfReferences, versions: set[Version]) -> list[str]:
    made = {(one.model, one.version) for one in own.all().values() if one.digest}
    return [f"{name}/{version}" for name, version in sorted(versions & made)]
