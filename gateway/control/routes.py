"""How requests are wanted to be divided: the document's routes, those set over them, and stops.

Knows the store's table of routes, and which goes before which: a stop, then what was set through
the control port, then the document. Knows nothing of what serves.

Control's event loop owns what is in force here and changes it only after the store has it, so that
a stop outlives a restart and nothing that was refused is followed.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import orjson

from gateway import config
from gateway.config import Config
from gateway.control.audit import Actor, note_change
from gateway.control.splits import Stop, Wanted
from gateway.control.store import Store
from gateway.errors import NotFound


class Routes:
    """Every method that takes an actor reads and writes the database: it is called on a thread."""

    def __init__(
        self, store: Store, document: Callable[[], Config], now: Callable[[], float] = time.time
    ) -> None:
        """Takes its collaborators.

        Args:
            store: keeps routes.
            document: in force.
            now: seconds since 1970.
        """
        self._store = store
        self._document = document
        self._now = now
        self._read: Mapping[str, Wanted] | None = None

    @property
    def _set(self) -> Mapping[str, Wanted]:
        """Read once, when first needed: control starts even where its home is lost."""
        if self._read is None:
            with self._store.read() as db:
                rows = db.execute("SELECT model, route, stop FROM routes").fetchall()
            self._read = {row["model"]: _wanted(row) for row in rows}
        return self._read

    def wanted(self) -> dict[str, Wanted]:
        """What is wanted of each model that somebody wants something of."""
        return self._over(self._document())

    def of(self, model: str) -> Wanted:
        """What is wanted of one model."""
        return self.wanted().get(model, Wanted())

    def versions(self, document: Config, model: str) -> frozenset[int]:
        """The versions of a model that have to serve because its route names them."""
        wanted = self._over(document).get(model, Wanted())
        named = () if wanted.route is None else (one.version for one in wanted.route.variants)
        stopped = () if wanted.stop is None else (wanted.stop.version,)
        return frozenset(version for version in (*named, *stopped) if version is not None)

    def set(self, actor: Actor, model: str, route: config.Route) -> None:
        """Sets a route over the document's, and ends a stop of it."""
        self._change(actor, "route set", model, Wanted(route, None, given=True))

    def reset(self, actor: Actor, model: str) -> None:
        """Takes back what was set: the document's route is in force again, if it has one.

        Raises:
            NotFound: none was set.
        """
        if not self.of(model).given:
            raise NotFound(f"route '{model}': none was set over the document's")
        self._change(actor, "route reset", model, replace(self._of_row(model), route=None))

    def stop(self, actor: Actor, model: str, version: int, variant: str, why: str) -> Stop:
        """Has one version answer alone until the route is resumed or set anew."""
        stop = Stop(version, variant, actor.who, why, self._now())
        self._change(actor, "route stop", model, replace(self._of_row(model), stop=stop))
        return stop

    def resume(self, actor: Actor, model: str) -> None:
        """Ends a stop.

        Raises:
            NotFound: it is not stopped.
        """
        if self.of(model).stop is None:
            raise NotFound(f"route '{model}': it is not stopped")
        self._change(actor, "route resume", model, replace(self._of_row(model), stop=None))

    def _of_row(self, model: str) -> Wanted:
        return self._set.get(model, Wanted())

    def _over(self, document: Config) -> dict[str, Wanted]:
        found = {name: Wanted(route) for name, route in document.routes.items()}
        for name, over in self._set.items():
            beneath = found.get(name, Wanted())
            found[name] = over if over.route is not None else replace(beneath, stop=over.stop)
        return found

    def _change(self, actor: Actor, action: str, model: str, after: Wanted) -> None:
        before = self._of_row(model)
        with self._store.write() as db:
            _put(db, model, after)
            note_change(db, actor, action, model, _plain(before), _plain(after), self._now())
        nothing = after.route is None and after.stop is None
        others = {name: one for name, one in self._set.items() if name != model}
        # Replaced, not changed: the loop and other threads read it as it was or as it is.
        self._read = others if nothing else {**others, model: after}


def _put(db: sqlite3.Connection, model: str, wanted: Wanted) -> None:
    if wanted.route is None and wanted.stop is None:
        db.execute("DELETE FROM routes WHERE model = ?", (model,))
        return
    plain = _plain(wanted)
    route, stop = (plain[name] and orjson.dumps(plain[name]).decode() for name in plain)
    db.execute("INSERT OR REPLACE INTO routes VALUES (?, ?, ?)", (model, route, stop))


def _plain(wanted: Wanted) -> dict[str, Any]:
    """As the audit tells it."""
    route, stop = wanted.route, wanted.stop
    return {
        "route": None if route is None else route.model_dump(mode="json", exclude_none=True),
        "stop": None if stop is None else asdict(stop),
    }


def _wanted(row: sqlite3.Row) -> Wanted:
    route, stop = (None if row[name] is None else orjson.loads(row[name]) for name in _COLUMNS)
    return Wanted(
        None if route is None else config.Route.model_validate(route),
        None if stop is None else Stop(**stop),
        given=route is not None,
    )


_COLUMNS = ("route", "stop")
