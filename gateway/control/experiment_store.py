"""Keeps experiments in the database: what each is of, and what it has come to.

Knows one table and the audit. Knows nothing of what follows from anything.

One of a model is under way at most; the database holds that, too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import orjson

from gateway.config.experiments import EXPERIMENT, AbTest, Bandit
from gateway.control.audit import Actor, note
from gateway.control.store import Store
from gateway.errors import Conflict, NotFound
from gateway.experiments.assessment import Evidence, measures, read_evidence

RUNNING: Final = "running"
OWNER: Final = "experiment"
KEPT: Final = 100
"""Of a model: the oldest that are over go."""
MAX_EVENTS: Final = 200
_COLUMNS: Final = "number, model, given, stand"


@dataclass(frozen=True, slots=True)
class Given:
    """What an experiment is of.

    Attributes:
        spec: what was asked for.
        versions: by arm, as they were when it began.
        control: the arm that others are compared with.
        shares: by arm, that it began with.
        who: started it.
        at: when, seconds since 1970.
        warnings: what may keep it from ever showing anything.
    """

    spec: AbTest | Bandit
    versions: Mapping[str, int]
    control: str
    shares: Mapping[str, float]
    who: str
    at: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, for people."""

    at: float
    says: str


@dataclass(frozen=True, slots=True)
class Stand:
    """What it has come to.

    Attributes:
        state: `running`, `decided`, `futile`, `harmful` or `stopped`.
        why: for people.
        winner: the arm that is shown to be best; empty: none.
        takes: the arm that has all since it ended; empty: the route is as it was.
        ended_at: seconds since 1970; None: it is under way.
        shares: by arm, now or when it ended.
        events: what happened, the oldest first.
        report: the last figures; None: none yet.
    """

    state: str = RUNNING
    why: str = ""
    winner: str = ""
    takes: str = ""
    ended_at: float | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    report: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Experiment:
    """One experiment as it is kept."""

    number: int
    model: str
    given: Given
    stand: Stand

    @property
    def owner(self) -> str:
        """Who leads its route."""
        return f"{OWNER} {self.number}"

    @property
    def over(self) -> bool:
        """Nothing is to be done about it any more."""
        return self.stand.state != RUNNING


class ExperimentStore:
    """The experiments of one home. Blocking; each method raises StoreFailed."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def start(self, actor: Actor, model: str, given: Given) -> Experiment:
        """Writes a new one down.

        Raises:
            Conflict: one of its model is under way.
        """
        stand = Stand(shares=given.shares, events=(Event(given.at, f"{given.who} started it"),))
        with self._store.write() as db:
            row = db.execute(
                "SELECT number FROM experiments WHERE model = ? AND NOT ended", (model,)
            ).fetchone()
            if row is not None:
                raise Conflict(f"route '{model}': experiment {row['number']} is under way")
            number = db.execute(
                "INSERT INTO experiments (model, given, stand) VALUES (?, ?, ?) RETURNING number",
                (model, _text(_plain(given)), _text(asdict(stand))),
            ).fetchone()[0]
            note(db, actor, "experiment start", model, None, _plain(given), given.at)
            _forget(db, model)
        return Experiment(number, model, given, stand)

    def save(self, experiment: Experiment, actor: Actor | None = None, at: float = 0.0) -> None:
        """Writes down what one has come to.

        Args:
            experiment: as it is now.
            actor: who ended it; None: it goes on, and the audit is not told.
            at: when that was.
        """
        stand = experiment.stand
        with self._store.write() as db:
            db.execute(
                "UPDATE experiments SET ended = ?, stand = ? WHERE number = ?",
                (experiment.over, _text(asdict(stand)), experiment.number),
            )
            if experiment.over:  # its figures stand in its report
                _put_remains(db, experiment, None)
            if actor is not None:
                after = {
                    "experiment": experiment.number,
                    "state": stand.state,
                    "why": stand.why,
                    "winner": stand.winner,
                }
                note(db, actor, "experiment end", experiment.model, None, after, at)

    def remains(self, experiment: Experiment) -> tuple[frozenset[str], Evidence]:
        """The files of the ledger that are gone, and what they added up to."""
        given = experiment.given
        count = len(measures(given.spec)) if isinstance(given.spec, AbTest) else 1
        with self._store.read() as db:
            row = db.execute(
                "SELECT remains FROM experiments WHERE number = ?", (experiment.number,)
            ).fetchone()
        if row is None or row["remains"] is None:
            return frozenset(), Evidence.of(given.versions, count)
        plain = orjson.loads(row["remains"])
        return frozenset(plain["files"]), read_evidence(plain["evidence"])

    def keep_remains(
        self, experiment: Experiment, files: frozenset[str], evidence: Evidence
    ) -> None:
        """Keeps what files add up to that are about to go."""
        plain = {"files": sorted(files), "evidence": evidence.as_json()}
        with self._store.write() as db:
            _put_remains(db, experiment, _text(plain))

    def under_way(self) -> list[Experiment]:
        """Those about which something is still to be done, the oldest first."""
        return self._all("WHERE NOT ended ORDER BY number")

    def newest(self) -> list[Experiment]:
        """All that are kept, the newest first."""
        return self._all("ORDER BY number DESC")

    def get(self, number: int) -> Experiment:
        """One of them.

        Raises:
            NotFound: there is none of this number.
        """
        found = self._all("WHERE number = ?", number)
        if not found:
            raise NotFound(f"there is no experiment {number}")
        return found[0]

    def _all(self, which: str, *values: int) -> list[Experiment]:
        with self._store.read() as db:
            rows = db.execute(f"SELECT {_COLUMNS} FROM experiments {which}", values).fetchall()
        return [_read(row) for row in rows]


def _plain(given: Given) -> dict[str, Any]:
    # `asdict` copies a pydantic model as it is.
    return {**asdict(given), "spec": given.spec.model_dump(mode="json")}


def _read(row: sqlite3.Row) -> Experiment:
    given, stand = orjson.loads(row["given"]), orjson.loads(row["stand"])
    given["spec"] = EXPERIMENT.validate_python(given["spec"])
    given["warnings"] = tuple(given["warnings"])
    stand["events"] = tuple(Event(**one) for one in stand["events"])
    return Experiment(row["number"], row["model"], Given(**given), Stand(**stand))


def _put_remains(db: sqlite3.Connection, experiment: Experiment, text: str | None) -> None:
    db.execute("UPDATE experiments SET remains = ? WHERE number = ?", (text, experiment.number))


def _forget(db: sqlite3.Connection, model: str) -> None:
    db.execute(
        "DELETE FROM experiments WHERE model = ? AND ended AND number NOT IN"
        " (SELECT number FROM experiments WHERE model = ? ORDER BY number DESC LIMIT ?)",
        (model, model, KEPT),
    )


def _text(plain: Any) -> str:
    return orjson.dumps(plain).decode()
