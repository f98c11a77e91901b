"""What a version is watched by, as numbered releases: profile, contract and thresholds together.

Knows their table, the folders of `blobs`, and which of the three a change concerns. Knows nothing
of where profiles are found, of plans, or of what a threshold does.

The newest release of a version is in force. Profiles and thresholds are offered from elsewhere (the
registry, a file, first rows; the configuration), and each release remembers what was offered when
it was made: an offer that changes is taken, and one that stays the same leaves alone what a
rollback put there. A contract is inferred with its profile, until somebody sets another one, which
then stays whatever profile of that model comes.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from gateway.config import AlertRule
from gateway.contracts import document as contract_document
from gateway.contracts.fit import check_fit, check_names
from gateway.contracts.inference import infer
from gateway.contracts.values import Contract
from gateway.control.audit import Actor, at_terminal, note_change
from gateway.control.blobs import Blobs
from gateway.control.registry import collect, keep_folder
from gateway.control.release import Offer, Release, audited, rules_of
from gateway.control.store import Store
from gateway.errors import ContractInvalid, NotFound
from gateway.profiles import beside
from gateway.profiles import document as profile_document
from gateway.profiles.values import FEATURE, Profile
from gateway.tensors import Signature, TensorSpec

CONTRACT_FILE = "contract.json"
# A year of changes a week apart, twice; and a bound on what a program does in a loop.
KEPT = 100

Version = tuple[str, int]


class Releases:
    """The releases of one home. Blocking, but for `rules_of`.

    Args:
        store: the home's database.
        home: the home.
        actor: noted with every change; whoever runs this process where it is not given.
        now: seconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        home: Path,
        actor: Actor | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._blobs = Blobs(home.absolute() / "models")
        self._actor = actor or at_terminal()
        self._now = now
        self._rules: dict[Version, tuple[str, Sequence[AlertRule] | None]] = {}

    # ---- reading --------------------------------------------------------------------------------

    def newest(self, model: str, version: int) -> Release | None:
        """What is in force; none where nobody watched the version yet."""
        with self._store.read() as db:
            return _newest(db, model, version)

    def get(self, model: str, version: int, number: int | None = None) -> Release:
        """One release; the newest where no number is given.

        Raises:
            NotFound: there is none.
        """
        with self._store.read() as db:
            return _get(db, model, version, number)

    def history(self, model: str, version: int) -> Sequence[Release]:
        """All that are kept, the newest first."""
        with self._store.read() as db:
            rows = db.execute(
                "SELECT * FROM monitoring_releases WHERE model = ? AND version = ?"
                " ORDER BY number DESC",
                (model, version),
            ).fetchall()
        return [_read(row) for row in rows]

    def versions(self, model: str) -> Sequence[int]:
        """The versions of a model that have any, ascending."""
        with self._store.read() as db:
            rows = db.execute(
                "SELECT DISTINCT version FROM monitoring_releases WHERE model = ? ORDER BY version",
                (model,),
            ).fetchall()
        return [row["version"] for row in rows]

    def profile_file(self, release: Release) -> Path:
        """Where a release's profile lies."""
        return self._blobs.folder(release.profile_folder) / beside.FILE

    def contract_file(self, release: Release) -> Path:
        """Where a release's contract lies."""
        return self._blobs.folder(release.contract_folder) / CONTRACT_FILE

    def contract(self, release: Release) -> Contract:
        """A release's contract.

        Raises:
            ContractInvalid: its file cannot be read, or is none.
        """
        return contract_document.load(self.contract_file(release))

    def rules_of(self, model: str, version: int) -> Sequence[AlertRule] | None:
        """The thresholds that `settle` last put in force; None: those of the configuration."""
        found = self._rules.get((model, version))
        return None if found is None else found[1]

    # ---- changing -------------------------------------------------------------------------------

    def settle(self, model: str, version: int, offer: Offer) -> Release:
        """What a version is watched by, given what is offered: the newest release, or a new one.

        Raises:
            StoreFailed: the home cannot be read or written.
        """
        newest = self.newest(model, version)
        wanted = (offer.digest, offer.thresholds)
        if newest is None or (newest.offered, newest.configured) != wanted:
            newest = self._take(model, version, offer)
        key = (model, version)
        known = self._rules.get(key)
        if known is None or known[0] != newest.thresholds:
            self._rules[key] = newest.thresholds, rules_of(newest)
        return newest

    def set_contract(
        self,
        model: str,
        version: int,
        contract: Contract | None,
        actor: Actor | None = None,
        note: str = "",
    ) -> Release:
        """Puts another contract in force, with profile and thresholds as they are.

        Args:
            model: its name.
            version: of it.
            contract: None: the one that is inferred from the profile.
            actor: who wants it so.
            note: why.

        Raises:
            NotFound: nobody watched the version yet.
            ContractInvalid: it is of another model, or its columns are not in their places; the
                message names what differs.
        """
        profile = beside.load(self.profile_file(self.get(model, version)))
        inferred = infer(profile)
        if contract is not None:
            check_fit(contract, _inputs_of(profile))
            check_names(contract, inferred)
        wanted = inferred if contract is None else contract
        with (
            self._laid(CONTRACT_FILE, contract_document.text(wanted)) as keep,
            self._store.write() as db,
        ):
            newest = _get(db, model, version)
            digest = contract_document.digest(wanted)
            fresh = replace(
                newest,
                contract=digest,
                contract_folder=keep(db),
                edited=digest != contract_document.digest(inferred),
                note=note,
            )
            action = "contract reset" if contract is None else "contract set"
            entered = self._enter(db, newest, fresh, actor or self._actor, action)
        return self._collected(entered)

    def rollback(
        self,
        model: str,
        version: int,
        number: int | None = None,
        actor: Actor | None = None,
        note: str = "",
    ) -> Release:
        """Puts an earlier release in force again, all three, as a new one.

        Args:
            model: its name.
            version: of it.
            number: which; the one before the newest where it is not given.
            actor: who wants it so.
            note: why.

        Raises:
            NotFound: there is none of this number.
        """
        with self._store.write() as db:
            newest = _get(db, model, version)
            wanted = _get(db, model, version, newest.number - 1 if number is None else number)
            fresh = replace(
                wanted,
                offered=newest.offered,
                configured=newest.configured,
                note=note or f"as release {wanted.number}",
            )
            entered = self._enter(db, newest, fresh, actor or self._actor, "monitoring rollback")
        return self._collected(entered)

    # ---- inside -----------------------------------------------------------------------------

    def _take(self, model: str, version: int, offer: Offer) -> Release:
        """Takes what changed of an offer."""
        with (
            self._laid(beside.FILE, profile_document.text(offer.profile)) as keep_profile,
            self._laid(
                CONTRACT_FILE, contract_document.text(infer(offer.profile))
            ) as keep_contract,
            self._store.write() as db,
        ):
            newest = _newest(db, model, version)
            fresh = newest or Release(model, version)
            if fresh.offered != offer.digest:
                fresh = replace(
                    fresh,
                    profile=offer.digest,
                    profile_folder=keep_profile(db),
                    rows=offer.profile.rows,
                    self_referenced=offer.profile.self_referenced,
                )
                if not (fresh.edited and self._still_fits(fresh, offer.profile)):
                    digest = contract_document.digest(infer(offer.profile))
                    fresh = replace(
                        fresh, contract=digest, contract_folder=keep_contract(db), edited=False
                    )
            if fresh.configured != offer.thresholds:
                fresh = replace(fresh, thresholds=offer.thresholds)
            fresh = replace(fresh, offered=offer.digest, configured=offer.thresholds, note="")
            entered = self._enter(db, newest, fresh, self._actor, "monitoring release")
        return self._collected(entered)

    def _still_fits(self, release: Release, profile: Profile) -> bool:
        """Whether a contract that somebody set is of the model that a profile is of."""
        try:
            check_fit(self.contract(release), _inputs_of(profile))
        except ContractInvalid:
            return False
        return True

    def _enter(
        self,
        db: sqlite3.Connection,
        newest: Release | None,
        fresh: Release,
        actor: Actor,
        action: str,
    ) -> Release:
        key = (fresh.model, fresh.version)
        if newest is not None and newest.watched_by == fresh.watched_by:
            db.execute(
                "UPDATE monitoring_releases SET offered = ?, configured = ?"
                " WHERE model = ? AND version = ? AND number = ?",
                (fresh.offered, fresh.configured, *key, newest.number),
            )
            return replace(newest, offered=fresh.offered, configured=fresh.configured)
        number = 1 if newest is None else newest.number + 1
        added = replace(fresh, number=number, at=self._now(), who=actor.who)
        values = asdict(added)
        places = ", ".join(f":{name}" for name in values)
        db.execute(
            f"INSERT INTO monitoring_releases ({', '.join(values)}) VALUES ({places})", values
        )
        db.execute(
            "DELETE FROM monitoring_releases WHERE model = ? AND version = ? AND number <= ?",
            (*key, number - KEPT),
        )
        before = None if newest is None else audited(newest)
        subject = f"{added.model}/{added.version}"
        note_change(db, actor, action, subject, before, audited(added), added.at)
        return added

    def _collected(self, entered: Release) -> Release:
        """Lets go of what only forgotten releases named, once there are any."""
        if entered.number > KEPT:
            collect(self._store, self._blobs)
        return entered

    @contextmanager
    def _laid(self, name: str, text: str) -> Iterator[Callable[[sqlite3.Connection], str]]:
        """Copies a file aside; what is given places it inside a transaction and says where."""
        with self._blobs.incoming_text(name, text) as incoming:

            def keep(db: sqlite3.Connection) -> str:
                self._blobs.place(incoming)
                keep_folder(db, incoming)
                return incoming.digest

            yield keep


def _newest(db: sqlite3.Connection, model: str, version: int) -> Release | None:
    row = db.execute(
        "SELECT * FROM monitoring_releases WHERE model = ? AND version = ?"
        " ORDER BY number DESC LIMIT 1",
        (model, version),
    ).fetchone()
    return None if row is None else _read(row)


def _get(db: sqlite3.Connection, model: str, version: int, number: int | None = None) -> Release:
    newest = _newest(db, model, version)
    if newest is None:
        raise NotFound(
            f"model '{model}' version {version} is not watched yet: a server that finds a profile"
            " for it makes its first monitoring release"
        )
    if number in (None, newest.number):
        return newest
    row = db.execute(
        "SELECT * FROM monitoring_releases WHERE model = ? AND version = ? AND number = ?",
        (model, version, number),
    ).fetchone()
    if row is None:
        raise NotFound(
            f"model '{model}' version {version} has no monitoring release {number}: the newest is"
            f" {newest.number}, and {KEPT} are kept"
        )
    return _read(row)


def _read(row: Any) -> Release:
    values = dict(row)
    values["self_referenced"], values["edited"] = (
        bool(row["self_referenced"]),
        bool(row["edited"]),
    )
    return Release(**values)


def _inputs_of(profile: Profile) -> Signature:
    """The inputs of the model that a profile is of, as wide as the profile knows them."""
    specs = {}
    for frame in profile.frames:
        if frame.role == FEATURE and frame.summary is None:
            shape = (-1, len(frame.columns))
            specs[frame.tensor] = TensorSpec(frame.tensor, frame.datatype, shape)
    return Signature(tuple(specs.values()), (), True)
