"""Which limits a caller's requests count against: its own, its team's and its tags'.

Knows keys, callers with a certificate, the document's teams and tags, and who gives rows. Knows
nothing of what is spent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING

from gateway.access.allowance import UNLIMITED, Allowance
from gateway.config import CertifiedCaller
from gateway.config.llm import Llm
from gateway.control.key_values import Key
from gateway.errors import InvalidParameter
from gateway.llm.limits.words import owner_of

if TYPE_CHECKING:  # it brings a compiler along, which a command that makes a key does not need
    from gateway.control.spending import Spending

_SHOWN = 20
CALLER = "client"
"""The role whose requests to models count; others make none."""


class KeyLimits:
    """Its methods are called on threads, one at a time: whoever comes second waits."""

    def __init__(
        self, spending: Spending, settings: Callable[[], Llm], known: Callable[[], Set[int]]
    ) -> None:
        """Takes its collaborators.

        Args:
            spending: gives rows.
            settings: the section in force.
            known: rows that callers count against that are in force.
        """
        self._spending = spending
        self._settings = settings
        self._known = known
        self._groups: Mapping[str, Allowance] = {}
        self._turn = threading.Lock()

    def rows_of(self, keys: Mapping[str, Key]) -> dict[str, list[int]]:
        """Of those keys that make requests: by digest, the rows that these count against.

        Raises:
            StoreFailed: nobody can say what was spent.
            ArenaFull: there is no room for limits.
        """
        callers = {digest: key for digest, key in keys.items() if key.role == CALLER}
        return self._rows_of(
            {digest: _owners(key) for digest, key in callers.items()},
            {digest: key.belongs.allowance for digest, key in callers.items()},
        )

    def rows_of_certificates(self, certificates: Sequence[CertifiedCaller]) -> dict[str, list[int]]:
        """The same of callers known by a certificate, by subject."""
        callers = {one.subject: one for one in certificates if one.role == CALLER}
        return self._rows_of(
            {subject: _owners_of_certified(one) for subject, one in callers.items()},
            {subject: one.limits.allowance for subject, one in callers.items()},
        )

    def rows_of_teams(self, names: Iterable[str]) -> dict[str, int]:
        """The row of each team: of those whom an identity provider says to be of one.

        Raises:
            StoreFailed: nobody can say what was spent.
            ArenaFull: there is no room for limits.
        """
        owners = {name: owner_of("team", name) for name in names}
        with self._turn:
            self._follow_groups()
            wanted = {one: self._groups.get(one, UNLIMITED) for one in owners.values()}
            rows = self._spending.follow(wanted, self._known) if wanted else {}
        return {name: rows[owner] for name, owner in owners.items()}

    def _rows_of(
        self, owners: Mapping[str, Sequence[str]], own: Mapping[str, Allowance]
    ) -> dict[str, list[int]]:
        """By caller the rows of its owners, of which the first has limits of its own."""
        with self._turn:
            self._follow_groups()
            wanted: dict[str, Allowance] = {}
            for caller, (first, *groups) in owners.items():
                wanted[first] = own[caller]
                for group in groups:
                    wanted[group] = self._groups.get(group, UNLIMITED)
            rows = self._spending.follow(wanted, self._known) if wanted else {}
        return {caller: [rows[one] for one in names] for caller, names in owners.items()}

    def look(self) -> None:
        """Takes up what the document says of teams and tags, where it says something else.

        Raises:
            StoreFailed: nobody can say what was spent.
            ArenaFull: there is no room for limits.
        """
        with self._turn:
            self._follow_groups()

    def _follow_groups(self) -> None:
        llm = self._settings()
        groups = {
            owner_of(kind, name): limited.allowance
            for kind, found in (("team", llm.teams), ("tag", llm.tags))
            for name, limited in found.items()
        }
        before = self._groups
        if groups != before:
            changed = {
                owner: groups.get(owner, UNLIMITED)
                for owner in before.keys() | groups.keys()
                if before.get(owner) != groups.get(owner)
            }
            self._spending.follow(changed, self._known)
            self._groups = groups


def check_team(team: str | None, llm: Llm) -> None:
    """Makes sure that a key's team is one with limits, where a document says which there are.

    A misspelt team would be a key without the budget that it was meant to have. Tags are free: what
    is spent is added up by them, whether or not they have limits.

    Raises:
        InvalidParameter: there are teams, and it is none of them.
    """
    if team is not None and llm.teams and team not in llm.teams:
        known = sorted(llm.teams)
        more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
        said = f"{', '.join(known[:_SHOWN])}{more}"
        raise InvalidParameter(f"team: expected one of llm.teams ({said}), got '{team}'")


def groups_of(key: Key) -> list[str]:
    """The names of a key's team and tags, in the order of their rows."""
    return _groups(key.belongs.team, key.belongs.tags)


def groups_of_certified(one: CertifiedCaller) -> list[str]:
    """The same of a caller known by a certificate."""
    return _groups(one.team, one.tags)


def _groups(team: str | None, tags: Sequence[str]) -> list[str]:
    return [*([] if team is None else [team]), *tags]


def _owners(key: Key) -> list[str]:
    """What a key's requests count against, itself first."""
    return [owner_of("key", key.account), *_owning(key.belongs.team, key.belongs.tags)]


def _owners_of_certified(one: CertifiedCaller) -> list[str]:
    return [owner_of("certificate", one.name), *_owning(one.team, one.tags)]


def _owning(team: str | None, tags: Sequence[str]) -> list[str]:
    found = [] if team is None else [owner_of("team", team)]
    return [*found, *(owner_of("tag", tag) for tag in tags)]
