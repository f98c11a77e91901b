"""Requests by key and version of a model, and when keys were last used, as workers count them.

Knows a block of the arena in which each worker names its own entries: a key's number and a hash of
the version's name. Knows nothing of keys beyond their numbers.

Two tables, both bounded. The first has an entry for each key and version; entries of those that
left are given to others. Where it is full all the same, a key's requests are counted in one entry
of the second table, which has room for every key: how many they were is told of all such keys
together, when each was last used of itself. A request costs one count, whichever entry it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.directory import Words

Series = tuple[int, str, str]
"""Number of a key, model, version; no model where no inference was asked for."""
OTHER: Series = (-1, "other", "other")
NO_MODEL = ("", "")
# Looking for entries whose keys or versions left costs milliseconds.
SWEEP_S = 10.0

Name = tuple[int, int]
"""Number of a key, hash of a version."""
_KEY, _VERSION, _REQUESTS, _SEEN = range(layout.KEY_WIDTH)


@dataclass(frozen=True, slots=True)
class Use:
    """Of one series.

    Attributes:
        requests: how many.
        seen: when the last was, within half a second; seconds since 1970, 0.0 where not known.
    """

    requests: int
    seen: float = 0.0


class KeyCounts:
    """One worker's entries. Used on its event loop."""

    def __init__(
        self,
        arena: Arena,
        worker: int,
        known: Callable[[int], bool],
        versions: Callable[[], Set[tuple[str, int]]],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Goes on where a predecessor in the slot stopped: its entries and counts stay.

        Args:
            arena: holds them.
            worker: which slot.
            known: whether a key of this number may still be counted.
            versions: those that may, by model and number.
            clock: seconds that never jump.
            wall: seconds since 1970.
        """
        offset = arena.find(layout.KEYS, "keys")
        assert offset is not None, "the arena is made with it"
        words = arena.slot(offset, worker)
        array = arena.array(offset, worker)
        first, own = layout.KEY_FIRST, layout.KEY_OWN_FIRST
        self._words = words
        self._series = _Table(words, array, layout.KEY_SERIES, first, layout.MAX_KEY_SERIES)
        self._own = _Table(words, array, layout.KEY_OWN, own, layout.MAX_KEYS)
        self._known = known
        self._versions = versions
        self._clock = clock
        self._wall = wall
        self._next_sweep = 0.0

    def series(self, key: int, model: str, version: int, named: bool = False) -> memoryview[int]:
        """The one word that counts a key's requests to a version.

        Args:
            key: its number.
            model: its name.
            version: that answers.
            named: those that name the version are counted apart.
        """
        name = (key, _hash(_called(layout.model_key(model, version), named)))
        place = self._series.place(name)
        if place is None:
            self._sweep()
            place = self._series.place(name)
        if place is None:
            place = self._own.place((key, 0))
        if place is None:
            place = layout.KEY_OTHER
        return self._words[place + _REQUESTS : place + _REQUESTS + 1]

    def mark(self) -> None:
        """Notes of every entry that has grown that it was seen now. Called twice a second."""
        now = int(self._wall() * 1000)
        self._series.mark(now)
        self._own.mark(now)

    def _sweep(self) -> None:
        """Makes room where keys or versions have left."""
        now = self._clock()
        if now < self._next_sweep:
            return
        self._next_sweep = now + SWEEP_S
        keys = [layout.model_key(*version) for version in self._versions()]
        hashes = {_hash(_called(key, named)) for key in keys for named in (False, True)}
        self._series.keep(lambda name: name[1] in hashes and self._known(name[0]), zeroed=True)
        if self._own.full:
            # What was counted stays: told together, such counts only ever grow.
            self._own.keep(lambda name: self._known(name[0]), zeroed=False)


class _Table:
    """Entries by name."""

    def __init__(
        self, words: memoryview[int], array: Words, used: int, first: int, size: int
    ) -> None:
        """Takes over what is there.

        Args:
            words: the worker's slot.
            array: the same.
            used: which word says how many entries were ever in use.
            first: word of the first entry.
            size: entries that there may be.
        """
        self._words = words
        self._entries = array[first : first + size * layout.KEY_WIDTH].reshape(size, -1)
        self._used = used
        self._first = first
        self._size = size
        # Requests of each entry when last looked at. What was never in use is not read: that alone
        # would take memory.
        self._before = np.zeros(size, np.int64)
        self._before[: words[used]] = self._entries[: words[used], _REQUESTS]
        self._places: dict[Name, int] = {}
        self._free: list[int] = []
        for number, (key, version) in enumerate(self._entries[: words[used], :_REQUESTS].tolist()):
            if key == layout.KEY_NOBODY:
                self._free.append(number)
            else:
                self._places[key, version] = number

    @property
    def full(self) -> bool:
        """No entry is free."""
        return not self._free and self._words[self._used] == self._size

    def place(self, name: Name) -> int | None:
        """The first word of the entry of a name, which is made where there is room for it."""
        number = self._places.get(name)
        if number is None:
            if self.full:
                return None
            number = self._places[name] = self._enter(name)
        return self._first + number * layout.KEY_WIDTH

    def keep(self, wanted: Callable[[Name], bool], zeroed: bool) -> None:
        """Frees the entries whose names are not wanted."""
        for name in [name for name in self._places if not wanted(name)]:
            number = self._places.pop(name)
            entry = self._entries[number]
            entry[_KEY] = layout.KEY_NOBODY  # first: a reader must not take one for another
            entry[_SEEN] = 0
            if zeroed:
                entry[_REQUESTS] = 0
            self._before[number] = entry[_REQUESTS]  # or the next mark would take it for used
            self._free.append(number)

    def mark(self, now: int) -> None:
        """Sets when entries were seen that have grown since the last look."""
        used = self._words[self._used]
        requests = self._entries[:used, _REQUESTS]
        grown = requests != self._before[:used]
        if grown.any():
            self._entries[:used, _SEEN][grown] = now
            self._before[:used] = requests

    def _enter(self, name: Name) -> int:
        words = self._words
        number = self._free.pop() if self._free else words[self._used]
        entry = self._entries[number]
        self._before[number] = entry[_REQUESTS]
        entry[_SEEN] = 0
        entry[_VERSION] = name[1]
        entry[_KEY] = name[0]
        if number == words[self._used]:
            words[self._used] = number + 1  # last: a reader sees whole entries
        return number


class LastSeen:
    """Which keys were used since this was last asked. Reads what all workers have noted."""

    def __init__(self, arena: Arena) -> None:
        """Knows of no use yet: the first answer holds all that workers ever noted."""
        self._arena = arena
        size = layout.MAX_KEY_SERIES + layout.MAX_KEYS
        self._before: list[Words] = [np.zeros(size, np.int64) for _ in range(arena.workers)]

    def news(self) -> dict[int, float]:
        """By number of a key: when it was seen, seconds since 1970."""
        found: dict[int, float] = {}
        for before, tables in zip(self._before, _tables(self._arena), strict=False):
            start = 0
            for entries, size in zip(tables, (layout.MAX_KEY_SERIES, layout.MAX_KEYS), strict=True):
                there = before[start : start + len(entries)]
                start += size
                seen = entries[:, _SEEN].copy()
                fresh = (seen != there) & (seen > 0)
                there[:] = seen
                keys = entries[fresh, _KEY].tolist()
                for key, at in zip(keys, seen[fresh].tolist(), strict=True):
                    if key != layout.KEY_NOBODY:
                        found[key] = max(at / 1000, found.get(key, 0.0))
        return found


def read_keys(arena: Arena, named_alone: bool = False) -> dict[Series, Use]:
    """Every series, all workers added up. Versions that left are not among them.

    Args:
        arena: what workers count.
        named_alone: only requests that name the version.
    """
    names = {
        _hash(_called(block.name, named)): layout.model_of(block.name)
        for block in arena.blocks(layout.MODEL)
        for named in ((True,) if named_alone else (False, True))
    }
    if not named_alone:
        names[_hash(layout.model_key("", 0))] = NO_MODEL
    found: dict[Series, Use] = {}

    def add(series: Series, requests: int, seen: int = 0) -> None:
        there = found.get(series, Use(0))
        found[series] = Use(there.requests + requests, max(there.seen, seen / 1000))

    offset = arena.find(layout.KEYS, "keys")
    for worker, (first, own) in enumerate(_tables(arena)):
        assert offset is not None, "there are tables"
        other = arena.slot(offset, worker)[layout.KEY_OTHER + _REQUESTS]
        if other := other + int(own[:, _REQUESTS].sum()):
            add(OTHER, other)
        entries = first.copy()
        # Named the same before and after: it was not given to another in between.
        same = (entries[:, :_REQUESTS] == first[:, :_REQUESTS]).all(axis=1)
        for key, version, requests, seen in entries[same].tolist():
            if version in names and key != layout.KEY_NOBODY:
                add((key, *names[version]), requests, seen)
    return found


def _tables(arena: Arena) -> Iterator[tuple[Words, Words]]:
    """Of each worker: the entries of both tables that were ever in use."""
    offset = arena.find(layout.KEYS, "keys")
    if offset is None:
        return
    for worker in range(arena.workers):
        words = arena.array(offset, worker)
        first = words[layout.KEY_FIRST : layout.KEY_OWN_FIRST].reshape(-1, layout.KEY_WIDTH)
        own = words[layout.KEY_OWN_FIRST :].reshape(-1, layout.KEY_WIDTH)
        yield first[: words[layout.KEY_SERIES]], own[: words[layout.KEY_OWN]]


def _called(model_key: str, named: bool) -> str:
    """What a version's requests are counted under; a number ends what is not named."""
    return f"{model_key}/named" if named else model_key


def _hash(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little", signed=True)
