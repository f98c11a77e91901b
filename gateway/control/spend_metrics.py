"""What `/metrics` says of spending: names, labels and units.

Knows what was settled by owner, and the names of keys. Knows nothing of how it is counted.

Series are bounded: the first keys that spend something have their own, up to a limit, and likewise
teams and tags; whoever comes later is told together as `other`. Nobody moves from one to the other,
so that every series only grows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, Metric

MAX_SERIES: Final = 500
OTHER: Final = "other"
_PICO: Final = 1e-12

Settled = tuple[int, int, int, int]
"""Pico-dollars, tokens, requests, refusals."""


class SpendMetrics:
    """Remembers who has series of their own. Called on threads, one at a time."""

    def __init__(
        self,
        settled: Callable[[], Mapping[str, Settled]],
        key_names: Callable[[list[int]], Mapping[int, str]],
        most: int = MAX_SERIES,
    ) -> None:
        """Takes its collaborators.

        Args:
            settled: by owner; each number only grows for as long as the owner is there.
            key_names: the names of keys by their ids.
            most: owners of a kind that have series of their own.
        """
        self._settled = settled
        self._key_names = key_names
        self._most = most
        self._named: dict[str, tuple[str, str]] = {}
        self._last: dict[str, Settled] = {}
        self._gone: dict[str, Sequence[int]] = defaultdict(lambda: (0, 0, 0, 0))

    def families(self) -> Iterator[Metric]:
        """All metrics of spending."""
        labels = ["kind", "name"]
        families = [
            CounterMetricFamily(f"penstock_llm_{name}", text, labels=labels)
            for name, text in (
                ("spend_usd", "What requests to language models have cost."),
                ("spend_tokens", "Tokens of these, input and output."),
                ("spend_requests", "Requests that were settled."),
                ("limit_refusals", "Requests that a limit refused."),
            )
        ]
        for labelled, sums in sorted(self._added_up().items()):
            for family, value in zip(families, (sums[0] * _PICO, *sums[1:]), strict=True):
                family.add_metric(labelled, value)
        yield from families

    def _added_up(self) -> dict[tuple[str, str], Sequence[int]]:
        settled = self._settled()
        self._forget(settled)
        self._name([owner for owner in settled if owner not in self._named])
        found: dict[tuple[str, str], Sequence[int]] = {
            (kind, OTHER): sums for kind, sums in self._gone.items()
        }
        for owner, sums in settled.items():
            kind = owner.partition(":")[0]
            labelled = self._named.get(owner, (kind, OTHER))
            there = found.get(labelled, (0, 0, 0, 0))
            found[labelled] = _plus(there, sums)
        return found

    def _forget(self, settled: Mapping[str, Settled]) -> None:
        """Adds who has left to the others of its kind, whose counts must not shrink."""
        for owner in self._last.keys() - settled.keys():
            last = self._last[owner]
            if self._named.pop(owner, None) is None:
                kind = owner.partition(":")[0]
                self._gone[kind] = _plus(self._gone[kind], last)
        self._last = dict(settled)

    def _name(self, owners: list[str]) -> None:
        """Gives series to those who come first."""
        taken: dict[str, int] = defaultdict(int)
        for kind, _ in self._named.values():
            taken[kind] += 1
        chosen = []
        for owner in owners:
            kind = owner.partition(":")[0]
            if taken[kind] < self._most:
                taken[kind] += 1
                chosen.append(owner)
        keys = [int(owner[4:]) for owner in chosen if owner.startswith("key:")]
        names = self._key_names(keys) if keys else {}
        for owner in chosen:
            kind, _, name = owner.partition(":")
            shown = names.get(int(name), name) if kind == "key" else name
            self._named[owner] = (kind, shown)


def _plus(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(one, other, strict=True))
