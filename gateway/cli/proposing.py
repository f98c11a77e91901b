"""Changes the configuration of a home: through the server that runs on it, or without one.

Knows both ways, which tell the same. Knows nothing of options or of how anything is printed.

A running server is asked because it alone knows the variables and options that it was started with,
and can say what the workers made of a document. Where none runs, this process' variables stand for
those of a server that would be started here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway import config, layers
from gateway.cli import running
from gateway.config import Config
from gateway.control import proposals
from gateway.control.audit import at_terminal
from gateway.control.differences import Difference, effective_differences
from gateway.control.proposals import Outcome, Proposals, Terms
from gateway.control.revisions import NONE, Revision, Revisions
from gateway.control.store import FILE, Store
from gateway.errors import NotFound

if TYPE_CHECKING:
    from gateway.client import Admin


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a change, or would: numbers of revisions, and all that differs.

    Attributes:
        answer: of the server; None where none runs.
    """

    before: int
    after: int
    changes: Sequence[Difference]
    answer: Mapping[str, Any] | None = None


def apply(
    home: Path,
    file: Path,
    if_revision: int | None = None,
    note: str = "",
    dry_run: bool = False,
) -> Told:
    """Puts a document in force and waits until a running server follows; or tells what changes.

    Raises:
        ConfigInvalid: it has faults, or does not fit.
        PreconditionFailed: `if_revision` is not the newest.
    """
    document, source = config.read_text(file), str(file.absolute())

    def ask(control: Admin, wanted: int) -> Any:
        return control.apply_config(document, wanted, note=note, source=source, dry_run=dry_run)

    if (answer := _answer(home, if_revision, ask)) is not None:
        return answer
    if dry_run:  # looking makes no home
        before = revision(home)
        found = proposals.changes(before, document, source, _lay, if_revision)
        return Told(before.number, before.number, found)
    terms = Terms(at_terminal(), note, source, if_revision)
    with opened(home) as revisions:
        return _told(Proposals(revisions, _lay).apply(document, terms))


def roll_back(
    home: Path,
    number: int | None = None,
    if_revision: int | None = None,
    note: str = "",
    dry_run: bool = False,
) -> Told:
    """Puts an earlier document in force again; where no number is given, a step back."""

    def ask(control: Admin, wanted: int) -> Any:
        return control.roll_back_config(wanted, number, note=note, dry_run=dry_run)

    if (answer := _answer(home, if_revision, ask)) is not None:
        return answer
    if not is_there(home):
        raise NotFound(f"no revision of the configuration under {home}")
    terms = Terms(at_terminal(), note, "", if_revision, dry_run)
    with opened(home) as revisions:
        return _told(Proposals(revisions, _lay).rollback(number, terms))


def difference(home: Path, old: str, new: str | None) -> Sequence[Difference]:
    """What differs between two documents, each a file or a number; one: from what is in force."""
    if new is None:
        number = _number(old)
        if number is None:
            return apply(home, Path(old), dry_run=True).changes
        return roll_back(home, number, dry_run=True).changes
    before, after = (_lay(_read(home, word)) for word in (old, new))
    return effective_differences(before, after, {})


def revision(home: Path, number: int | None = None) -> Revision:
    """One revision; the newest where none is named.

    Raises:
        NotFound: there is none of this number.
    """
    if not is_there(home):
        if number is None:
            return NONE
        raise NotFound(f"no revision {number} of the configuration under {home}")
    with opened(home) as revisions:
        return revisions.newest() if number is None else revisions.get(number)


@contextmanager
def opened(home: Path) -> Iterator[Revisions]:
    """The revisions of a home, which is made where it is not there."""
    with Store.open(home) as store:
        yield Revisions(store)


def is_there(home: Path) -> bool:
    """Whether the home has a database: looking at one that is not there does not make one."""
    return (home / FILE).exists()


def _answer(
    home: Path, if_revision: int | None, ask: Callable[[Admin, int], Mapping[str, Any]]
) -> Told | None:
    """What the running server makes of it; None where none runs."""
    server = running.find(home)
    if server is None:
        return None
    with running.admin(home, server) as control:
        wanted = control.config()["number"] if if_revision is None else if_revision
        answer = ask(control, wanted)
    found = [Difference(**one) for one in answer["changes"]]
    return Told(answer["before"], answer["revision"], found, answer)


def _told(outcome: Outcome) -> Told:
    return Told(outcome.before.number, outcome.after.number, outcome.changes)


def _lay(document: Config) -> layers.Layered:
    return layers.lay(document, os.environ, ())


def _read(home: Path, word: str) -> Config:
    number = _number(word)
    return config.load(Path(word)) if number is None else revision(home, number).config


def _number(word: str) -> int | None:
    """The revision that a word names; None where it names a file."""
    return int(word) if word.isascii() and word.isdigit() and not Path(word).exists() else None
