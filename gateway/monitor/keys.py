"""Requests by key and version of a model, counted by workers and added up for whoever asks.

Knows a block of the arena in which each worker names its own series: a key's number and a hash of
the version's name. Knows nothing of keys beyond their numbers. Bounded: what finds no room is
counted in one place for all.
"""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b

from gateway.monitor import layout
from gateway.monitor.arena import Arena

Series = tuple[int, str, str]
"""Number of a key, model, version."""
OTHER: Series = (-1, "other", "other")


class KeyCounts:
    """One worker's series. Used on its event loop."""

    def __init__(self, arena: Arena, worker: int) -> None:
        """Goes on where a predecessor in the slot stopped: its series and counts stay."""
        offset = arena.find(layout.KEYS, "keys")
        assert offset is not None, "the arena is made with it"
        self._words = arena.slot(offset, worker)
        self._places: dict[tuple[int, int], int] = {}
        for number in range(self._words[layout.KEY_SERIES]):
            place = layout.KEY_FIRST + number * layout.KEY_WIDTH
            self._places[self._words[place], self._words[place + 1]] = place

    def series(self, key: int, model: str, version: int) -> memoryview[int]:
        """The one word that counts a key's requests to a version."""
        name = (key, _hash(layout.model_key(model, version)))
        place = self._places.get(name)
        if place is None:
            place = self._places[name] = self._enter(name)
        return self._words[place + 2 : place + 3]

    def _enter(self, name: tuple[int, int]) -> int:
        words = self._words
        used = words[layout.KEY_SERIES]
        if used == layout.MAX_KEY_SERIES:
            return layout.KEY_OTHER
        place = layout.KEY_FIRST + used * layout.KEY_WIDTH
        words[place], words[place + 1] = name
        words[layout.KEY_SERIES] = used + 1  # last: a reader sees whole entries
        return place


def read_keys(arena: Arena) -> Counter[Series]:
    """Requests of every series, all workers added up. Versions that left are not among them."""
    names = {_hash(block.name): layout.model_of(block.name) for block in arena.blocks(layout.MODEL)}
    found: Counter[Series] = Counter()
    offset = arena.find(layout.KEYS, "keys")
    if offset is None:
        return found
    for worker in range(arena.workers):
        words = arena.slot(offset, worker)
        if other := words[layout.KEY_OTHER + 2]:
            found[OTHER] += other
        end = layout.KEY_FIRST + words[layout.KEY_SERIES] * layout.KEY_WIDTH
        entries = words[layout.KEY_FIRST : end].tolist()
        for key, version, count in zip(
            *(entries[at :: layout.KEY_WIDTH] for at in range(3)), strict=True
        ):
            if version in names:
                found[key, *names[version]] += count
    return found


def _hash(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little", signed=True)
