"""A document on its way into force: what it would change here, and that it is put there.

Knows revisions, and that something lies over them. Knows nothing of who asks through which door, or
of who follows a document.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from gateway import config
from gateway.config import Config
from gateway.control.audit import Actor
from gateway.control.differences import Difference, effective_differences
from gateway.control.revisions import Revision, Revisions, check_newest
from gateway.errors import ConfigInvalid
from gateway.layers import Layered

Lay = Callable[[Config], Layered]
Hints = Mapping[str, Collection[str]]
NO_HINTS: Hints = {}


@dataclass(frozen=True, slots=True)
class Terms:
    """Who wants a document in force, and how.

    Attributes:
        note: for whoever reads the history.
        source: the file that it comes from, or empty.
        if_revision: the number that must be the newest; None: whichever is.
        dry_run: only tell what would change.
    """

    actor: Actor
    note: str = ""
    source: str = ""
    if_revision: int | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it, or would: the revisions before and after, and all that changes."""

    before: Revision
    after: Revision
    changes: Sequence[Difference]


class Proposals:
    """Puts documents in force that fit what lies over them."""

    def __init__(self, revisions: Revisions, lay: Lay) -> None:
        self._revisions = revisions
        self._lay = lay

    def apply(self, document: str, terms: Terms, hints: Hints = NO_HINTS) -> Outcome:
        """A new document.

        Args:
            document: YAML.
            terms: who wants it and how.
            hints: as for `changes`.

        Raises:
            ConfigInvalid: it has faults, or does not go with what lies over it.
            PreconditionFailed: another revision is the newest.
        """
        newest = self._revisions.newest()
        source = terms.source or "document"
        found = changes(newest, document, source, self._lay, terms.if_revision, hints)
        return self._put(newest, document, terms, found, "config apply")

    def rollback(self, number: int | None, terms: Terms, hints: Hints = NO_HINTS) -> Outcome:
        """An earlier document; where no number is given, `Revisions.before` says which.

        Raises:
            NotFound: there is none of this number.
            ConfigInvalid, PreconditionFailed: as `apply`.
        """
        newest = self._revisions.newest()
        check_newest(newest, terms.if_revision)
        revisions = self._revisions
        wanted = revisions.before(newest) if number is None else revisions.get(number)
        source = f"revision {wanted.number}"
        found = changes(newest, wanted.document, source, self._lay, hints=hints)
        terms = replace(terms, note=terms.note or f"as {source}")
        return self._put(newest, wanted.document, terms, found, "config rollback", wanted.origin)

    def _put(
        self,
        newest: Revision,
        document: str,
        terms: Terms,
        found: Sequence[Difference],
        action: str,
        restores: int | None = None,
    ) -> Outcome:
        """Does it, unless it is only to be told; all that may keep it from being done is known."""
        if terms.dry_run:
            return Outcome(newest, newest, found)
        # What is told must be what happens: nobody else's revision may come in between.
        added = self._revisions.add(
            document, terms.actor, action, terms.source, terms.note, newest.number, restores
        )
        return Outcome(newest, added, found)


def changes(
    newest: Revision,
    document: str,
    source: str,
    lay: Lay,
    if_revision: int | None = None,
    hints: Hints = NO_HINTS,
) -> list[Difference]:
    """What would change if a document came into force after `newest`.

    Args:
        newest: what is in force.
        document: YAML.
        source: how errors call it.
        lay: lays variables and options over a document.
        if_revision: the number that must be the newest.
        hints: the models that are known, each with the settings that it brings along itself.

    Raises:
        ConfigInvalid: it has faults, or does not go with what lies over it.
        PreconditionFailed: `if_revision` is not the newest.
    """
    fresh = lay(config.parse(document, source))
    check_newest(newest, if_revision)
    try:
        before = lay(newest.config)
    except ConfigInvalid:  # another release wrote it, or it was never followed here
        before = lay(Config())
    return effective_differences(before, fresh, hints)
