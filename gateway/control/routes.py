"""How requests are wanted to be divided: the document's routes, those set over them, and stops.

Knows the store's table of routes, and which goes before which: a stop, then what a leader wants (a
rollout, an experiment), then what was set through the control port, then the document. Knows
nothing of what serves, or of what leads.

Whoever leads a route owns how it is divided: another leader is refused, and so is who would set it.

Control's event loop owns what is in force here and changes it only after the store has it, so that
nothing that was refused is followed. A stop alone waits for no store: it is in force at once, and
written down as soon as that can be.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson

from gateway import config
from gateway.config import Config
from gateway.control.audit import Actor, note_change
from gateway.control.retirements import refuse_retired
from gateway.control.splits import Stop, Wanted
from gateway.control.store import Store
from gateway.control.unwritten import StopBy, Unwritten
from gateway.errors import Conflict, NotFound, StoreFailed


@dataclass(frozen=True, slots=True)
class Lead:
    """How a leader wants requests divided.

    Attributes:
        owner: who leads, as people are told: "rollout 7".
    """

    owner: str
    route: config.Route


@dataclass(frozen=True, slots=True)
class _Over:
    """What goes before the document for one model, as its row has it."""

    route: config.Route | None = None
    stop: Stop | None = None
    lead: Lead | None = None


class Routes:
    """What takes an actor, and `write`, write to the database, on a thread; `stop` does not."""

    def __init__(
        self,
        store: Store,
        document: Callable[[], Config],
        now: Callable[[], float] = time.time,
        unwritten: Unwritten | None = None,
    ) -> None:
        """Takes its collaborators.

        Args:
            store: keeps routes.
            document: in force.
            now: seconds since 1970.
            unwritten: stops that no store has taken yet; None: there is none.
        """
        self._store = store
        self._document = document
        self._now = now
        self._unwritten = unwritten or Unwritten()
        self._turn = threading.Lock()  # one change after the other, on whichever threads
        self._read: Mapping[str, _Over] | None = None

    @property
    def _overs(self) -> Mapping[str, _Over]:
        """Read once, when first needed: control starts even where its home is lost."""
        if self._read is None:
            with self._store.read() as db:
                rows = db.execute(f"SELECT model, {', '.join(_COLUMNS)} FROM routes").fetchall()
            self._read = {row["model"]: _over(row) for row in rows}
        return self._read

    def wanted(self) -> dict[str, Wanted]:
        """What is wanted of each model that somebody wants something of."""
        return self._in_force(self._document())

    def of(self, model: str) -> Wanted:
        """What is wanted of one model."""
        return self.wanted().get(model, Wanted())

    def at_hand(self, model: str) -> Wanted:
        """As `of`; where the home was lost before it was read, without what it has."""
        try:
            return self.of(model)
        except StoreFailed:
            row = _stopped(_NOTHING, self._unwritten.stops.get(model))
            return _beneath(self._document(), model, row)

    def beneath(self, model: str) -> Wanted:
        """What would be wanted of a model if nobody led its route."""
        return _beneath(self._document(), model, self._of_row(model))

    def leader(self, model: str) -> str:
        """Who leads a model's route; empty: nobody."""
        lead = self._of_row(model).lead
        return "" if lead is None else lead.owner

    def versions(self, document: Config, model: str) -> frozenset[int]:
        """The versions of a model that have to serve because its route names them.

        Those of the route beneath a leader's are among them: it is what comes back if that fails.
        """
        row = self._of_row(model)
        beneath = _beneath(document, model, row)
        routes = [beneath.route] if row.lead is None else [beneath.route, row.lead.route]
        there = [route for route in routes if route is not None]
        named = [one.version for route in there for one in route.variants]
        named += [one.version for route in there for one in route.shadows]
        stopped = () if row.stop is None else (row.stop.version,)
        return frozenset(version for version in (*named, *stopped) if version is not None)

    def set(self, actor: Actor, model: str, route: config.Route) -> None:
        """Sets a route over the document's, and ends a stop of it.

        Raises:
            Conflict: somebody leads it.
        """

        def change(before: _Over) -> _Over:
            _refuse_if_led(model, before)
            return _Over(route)

        self._change(actor, "route set", model, change)

    def reset(self, actor: Actor, model: str) -> None:
        """Takes back what was set: the document's route is in force again, if it has one.

        Raises:
            NotFound: none was set.
            Conflict: somebody leads it.
        """

        def change(before: _Over) -> _Over:
            _refuse_if_led(model, before)
            if before.route is None:
                raise NotFound(f"route '{model}': none was set over the document's")
            return replace(before, route=None)

        self._change(actor, "route reset", model, change)

    def stop(self, actor: Actor, model: str, version: int, variant: str, why: str) -> Stop:
        """Has one version answer alone until the route is resumed or set anew, whoever leads it.

        It is in force when this returns, which waits for nothing: `write` writes it down.
        """
        stop = Stop(version, variant, actor.who, why, self._now())
        self._unwritten.stop(model, StopBy(stop, actor))
        return stop

    def write(self) -> None:
        """Writes down the stops that are not written yet.

        Raises:
            StoreFailed: it cannot be; they stay in force, and it can be the next time.
        """
        for model, one in self._unwritten.stops.items():
            try:
                self._change(one.actor, "", model, lambda before: before)
            except StoreFailed as error:
                self._unwritten.why = str(error)
                raise

    def resume(self, actor: Actor, model: str) -> None:
        """Ends a stop.

        Raises:
            NotFound: it is not stopped.
        """

        def change(before: _Over) -> _Over:
            if before.stop is None:
                raise NotFound(f"route '{model}': it is not stopped")
            return replace(before, stop=None)

        self._change(actor, "route resume", model, change)

    def lead(self, actor: Actor, model: str, owner: str, route: config.Route) -> None:
        """Divides a model's requests as its leader wants; whoever asks first leads from then on.

        The audit tells of taking a route over and of letting it go. What a leader does with it in
        between (a step, the next shares of a bandit) is its own to tell.

        Args:
            actor: on whose behalf.
            model: may have no route.
            owner: who leads.
            route: the whole of it.

        Raises:
            Conflict: somebody else leads it.
        """

        def change(before: _Over) -> _Over:
            if before.lead is not None and before.lead.owner != owner:
                _refuse_if_led(model, before)
            return replace(before, lead=Lead(owner, route))

        action = "" if self.leader(model) == owner else "route lead"
        self._change(actor, action, model, change)

    def let_go(
        self, actor: Actor, model: str, owner: str, route: config.Route | None = None
    ) -> None:
        """Ends a lead; nothing happens where `owner` does not lead, so that it can be asked twice.

        Args:
            actor: on whose behalf.
            model: that it led.
            owner: who led.
            route: is set over the document's from now on; None: what lay beneath comes back.
        """

        def change(before: _Over) -> _Over:
            after = replace(before, lead=None)
            return after if route is None else replace(after, route=route)

        if self.leader(model) == owner:
            self._change(actor, "route let go", model, change)

    def _of_row(self, model: str) -> _Over:
        return _stopped(self._overs.get(model, _NOTHING), self._unwritten.stops.get(model))

    def _in_force(self, document: Config) -> dict[str, Wanted]:
        found = {name: Wanted(route) for name, route in document.routes.items()}
        for name in self._overs.keys() | self._unwritten.stops.keys():
            row = self._of_row(name)
            found[name] = beneath = _beneath(document, name, row)
            if row.lead is not None:
                found[name] = replace(beneath, route=row.lead.route, leader=row.lead.owner)
        return found

    def _change(
        self, actor: Actor, action: str, model: str, change: Callable[[_Over], _Over]
    ) -> None:
        """Writes down what one model's row becomes; with no action, the audit is not told.

        A stop that is not written yet came before that, and is written before it.
        """
        with self._turn:
            stop = self._unwritten.stops.get(model)
            kept = self._overs.get(model, _NOTHING)
            before = _stopped(kept, stop)
            after = change(before)
            with self._store.write() as db:
                for version in sorted(_named(after) - _named(before)):
                    refuse_retired(db, model, version)
                if stop is not None:
                    told = _plain(kept), _plain(before)
                    note_change(db, stop.actor, "route stop", model, *told, stop.stop.at)
                _put(db, model, after)
                if action:
                    note_change(
                        db, actor, action, model, _plain(before), _plain(after), self._now()
                    )
            others = {name: one for name, one in self._overs.items() if name != model}
            # Replaced, not changed: the loop and other threads read it as it was or as it is.
            self._read = others if after == _NOTHING else {**others, model: after}
            if stop is not None:
                self._unwritten.wrote_stop(model, stop)


def _named(row: _Over) -> set[int]:
    """Versions that a row leads clients or copies to by their numbers."""
    both = (row.route, None if row.lead is None else row.lead.route)
    routes = [one for one in both if one is not None]
    found = {one.version for route in routes for one in route.variants}
    found |= {one.version for route in routes for one in route.shadows}
    return {version for version in found if version is not None}


def _stopped(row: _Over, by: StopBy | None) -> _Over:
    return row if by is None else replace(row, stop=by.stop)


def _beneath(document: Config, model: str, row: _Over) -> Wanted:
    if row.route is not None:
        return Wanted(row.route, row.stop, given=True)
    return Wanted(document.routes.get(model), row.stop)


def _refuse_if_led(model: str, row: _Over) -> None:
    """Raises Conflict where somebody leads it, naming whom."""
    if row.lead is not None:
        raise Conflict(
            f"route '{model}' is led by {row.lead.owner}: what it divides is set by nobody else"
            " until that ends"
        )


def _put(db: sqlite3.Connection, model: str, row: _Over) -> None:
    if row == _NOTHING:
        db.execute("DELETE FROM routes WHERE model = ?", (model,))
        return
    plain = _plain(row)
    texts = [plain[name] and orjson.dumps(plain[name]).decode() for name in _COLUMNS]
    columns = ", ".join(("model", *_COLUMNS))
    db.execute(f"INSERT OR REPLACE INTO routes ({columns}) VALUES (?, ?, ?, ?)", (model, *texts))


def _plain(row: _Over) -> dict[str, Any]:
    """As the audit tells it."""
    lead = row.lead
    return {
        "route": None if row.route is None else _route_plain(row.route),
        "stop": None if row.stop is None else asdict(row.stop),
        "lead": None if lead is None else {"owner": lead.owner, "route": _route_plain(lead.route)},
    }


def _route_plain(route: config.Route) -> dict[str, Any]:
    return route.model_dump(mode="json", exclude_none=True)


def _over(row: sqlite3.Row) -> _Over:
    route, stop, lead = (row[name] and orjson.loads(row[name]) for name in _COLUMNS)
    return _Over(
        None if route is None else config.Route.model_validate(route),
        None if stop is None else Stop(**stop),
        None if lead is None else Lead(lead["owner"], config.Route.model_validate(lead["route"])),
    )


_COLUMNS = ("route", "stop", "lead")
_NOTHING = _Over()
