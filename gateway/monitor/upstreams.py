"""What workers count of each upstream of a language model, and how they find it.

Knows blocks of the arena and plain numbers. Knows nothing of requests, of providers' APIs, or of
how an upstream is chosen.

A block says in its name whose counts it holds, so that they can be told once the version has left.
Where no upstream was asked for a request, it counts with one without a name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from struct import Struct
from typing import Final

import numpy as np

from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.directory import Words
from kernels import generations, histogram
from kernels.generations import Record

LEFT_OUT: Final = "left_out"
BREAKERS: Final = ("closed", "half_open", "open", LEFT_OUT)
"""From the best state to the worst; left out is who lacks a key, say."""
# Up to here the times of a stream's pieces are written by one prepared call, 7 ns a number.
_PACKED_PIECES: Final = 256
_TROUBLE_BYTES: Final = 8 * layout.TROUBLE_WORDS
_SCALARS: Final = {
    "retries": generations.RETRIES,
    "input": generations.INPUT,
    "output": generations.OUTPUT,
    "cache_read": generations.CACHE_READ,
    "cache_write": generations.CACHE_WRITE,
    "reasoning": generations.REASONING,
    "cost": generations.COST,
    "unpriced": generations.UNPRICED,
    "estimated": generations.ESTIMATED,
    "counted": generations.COUNTED,
    "pieces": generations.PIECES,
}


@dataclass(frozen=True, slots=True)
class Called:
    """Who an upstream is.

    Attributes:
        model, version: whose upstream it is.
        upstream: in metrics and logs; empty: nobody was asked.
        provider: the document's name of it.
        system: what OpenTelemetry's conventions call the provider.
        asked: the provider's name of the model.
        address, port: of the provider.
    """

    model: str
    version: int
    upstream: str = ""
    provider: str = ""
    system: str = ""
    asked: str = ""
    address: str = ""
    port: int = 0

    @property
    def key(self) -> str:
        """The name of its block; `read_key` is the inverse."""
        return json.dumps(list(asdict(self).values()), ensure_ascii=False, separators=(",", ":"))


def read_key(key: str) -> Called:
    """Who the counts of a block are of."""
    return Called(*json.loads(key))


def model_key_of(key: str) -> str:
    """The name of the block of the version that an upstream's block belongs to."""
    found = read_key(key)
    return layout.model_key(found.model, found.version)


@dataclass(frozen=True, slots=True)
class Health:
    """Of one upstream in one worker, now.

    Attributes:
        breaker: one of BREAKERS.
        ready_in_s: until it may be asked again.
        in_flight: requests under way.
        first_byte_s: how long its answers take to begin, slow ones weighing more; None: not known.
        connections, idle: to its provider, those for its other upstreams included.
        trouble: what it lacks, or else what its last failure was.
    """

    breaker: str
    ready_in_s: float
    in_flight: int
    first_byte_s: float | None
    connections: int
    idle: int
    trouble: str


class UpstreamCounter:
    """Counts what one worker has from one upstream. Used on its event loop."""

    def __init__(self, arena: Arena, offset: int, worker: int) -> None:
        """Takes a slot of a block."""
        self._slot = arena.slot(offset, worker)
        words = arena.array(offset, worker)[layout.GENERATIONS :]
        self._sections = list(words.reshape(len(layout.OPERATIONS), generations.WORDS))
        self._sent = (0, 0, 0)
        # Until replaced by a larger one.
        self._record: Record = np.zeros(generations.STAMPS + _PACKED_PIECES)
        self._packers: dict[int, Callable[..., None]] = {}
        self._slot[layout.UPSTREAM_HELD] += 1

    def observe(self, operation: int, about: Sequence[float], stamps: Sequence[float]) -> float:
        """Counts one request that is over.

        Args:
            operation: by index in `layout.OPERATIONS`.
            about: the words of a record, of `kernels.generations`.
            stamps: when each piece of its answer came.

        Returns:
            Seconds of the longest gap between two pieces; NaN where there was none.
        """
        pieces = len(stamps)
        if pieces <= _PACKED_PIECES:
            pack = self._packers.get(pieces) or self._new_packer(pieces)
            pack(self._record, 0, *about, *stamps)
        else:
            self._fill(about, stamps)
        return generations.observe(self._sections[operation], self._record, pieces)

    def sent(self, sent: int, failed: int, limited: int) -> None:
        """How many requests went there since it was attached, and what became of them."""
        slot, before = self._slot, self._sent
        slot[layout.SENT] += sent - before[0]
        slot[layout.SENT_FAILED] += failed - before[1]
        slot[layout.SENT_LIMITED] += limited - before[2]
        self._sent = (sent, failed, limited)

    def stands(self, health: Health) -> None:
        """How it is now."""
        slot = self._slot
        slot[layout.BREAKER] = BREAKERS.index(health.breaker)
        slot[layout.BREAKER_MS] = int(health.ready_in_s * 1e3)
        slot[layout.UPSTREAM_IN_FLIGHT] = health.in_flight
        slot[layout.FIRST_BYTE_NS] = int((health.first_byte_s or 0.0) * 1e9)
        slot[layout.UPSTREAM_OPEN] = health.connections
        slot[layout.UPSTREAM_IDLE] = health.idle
        told = health.trouble.encode()[:_TROUBLE_BYTES].ljust(_TROUBLE_BYTES, b"\0")
        first = layout.TROUBLE
        slot[first : first + layout.TROUBLE_WORDS] = memoryview(told).cast("q")

    def leave(self) -> None:
        """This deployment asks it no more; another of the version may."""
        self._slot[layout.UPSTREAM_HELD] -= 1
        if not self._slot[layout.UPSTREAM_HELD]:
            self.stands(Health("closed", 0.0, 0, None, 0, 0, ""))

    def _new_packer(self, pieces: int) -> Callable[..., None]:
        pack = self._packers[pieces] = Struct(f"{generations.STAMPS + pieces}d").pack_into
        return pack

    def _fill(self, about: Sequence[float], stamps: Sequence[float]) -> None:
        first, pieces = generations.STAMPS, len(stamps)
        if len(self._record) < first + pieces:
            self._record = np.zeros(first + pieces)
        self._record[:first] = about
        self._record[first : first + pieces] = stamps


# ---- reading ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Generations:
    """What all workers counted of one upstream and one operation.

    Attributes:
        operation: one of `layout.OPERATIONS`.
        results: requests by how they ended.
        sums: by name: tokens, cost in pico-dollars, the other scalars, and `fallbacks`: requests
            that another model was asked for.
        tokens: requests by tokens, (2, generations.TOKEN_WIDTH): read, written.
        time_ns: sums by name.
        histograms: by name, (histogram.BUCKETS,).
    """

    operation: str
    results: Mapping[str, int]
    sums: Mapping[str, int]
    tokens: Words
    time_ns: Mapping[str, int]
    histograms: Mapping[str, Words]

    @property
    def requests(self) -> int:
        """However they ended."""
        return sum(self.results.values())


@dataclass(frozen=True, slots=True)
class UpstreamCounts:
    """Of one upstream, by all workers.

    Attributes:
        called: who it is.
        sent, failed, limited: requests that went there, repeated ones included.
        workers: how it is, by the number of each worker that asks it.
        generations: of operations that were ever asked for.
    """

    called: Called
    sent: int
    failed: int
    limited: int
    workers: Mapping[int, Health]
    generations: tuple[Generations, ...]


def read_upstreams(arena: Arena) -> Iterator[UpstreamCounts]:
    """Every upstream that has a block."""
    for one, slots in _standings(arena):
        yield replace(one, generations=tuple(_generations(slots)))


def read_standings(arena: Arena) -> Iterator[UpstreamCounts]:
    """The same without what was generated, which is most of what there is to read."""
    return (one for one, _ in _standings(arena))


def _standings(arena: Arena) -> Iterator[tuple[UpstreamCounts, Words]]:
    for block in arena.blocks(layout.UPSTREAM):
        slots = arena.slots(block)
        head = slots[:, : layout.GENERATIONS].copy()
        sent, failed, limited = head[:, : layout.SENT_LIMITED + 1].sum(axis=0).tolist()
        found = UpstreamCounts(
            called=read_key(block.name),
            sent=sent,
            failed=failed,
            limited=limited,
            workers={
                worker: _health(words)
                for worker, words in enumerate(head)
                if words[layout.UPSTREAM_HELD]
            },
            generations=(),
        )
        yield found, slots


def _health(words: Words) -> Health:
    first_byte_ns = int(words[layout.FIRST_BYTE_NS])
    told = words[layout.TROUBLE : layout.TROUBLE + layout.TROUBLE_WORDS].tobytes()
    return Health(
        breaker=BREAKERS[int(words[layout.BREAKER])],
        ready_in_s=int(words[layout.BREAKER_MS]) / 1e3,
        in_flight=int(words[layout.UPSTREAM_IN_FLIGHT]),
        first_byte_s=first_byte_ns / 1e9 if first_byte_ns else None,
        connections=int(words[layout.UPSTREAM_OPEN]),
        idle=int(words[layout.UPSTREAM_IDLE]),
        trouble=told.rstrip(b"\0").decode(errors="replace"),
    )


def _generations(slots: Words) -> Iterator[Generations]:
    for place, operation in enumerate(layout.OPERATIONS):
        first = layout.GENERATIONS + place * generations.WORDS
        section = slots[:, first : first + generations.WORDS]
        # No further than that where nothing was asked: reading a page makes it take room.
        total = section[:, : generations.TIMES_FIRST].sum(axis=0)
        if not total[: len(generations.RESULTS)].any():
            continue
        buckets = total[generations.TOKEN_BUCKETS : generations.TIME_NS]
        times = section[:, generations.TIMES_FIRST :].sum(axis=0)
        each = times.reshape(len(generations.TIMES), histogram.BUCKETS)
        results = dict(zip(generations.RESULTS, total.tolist(), strict=False))
        sums = {name: int(total[at]) for name, at in _SCALARS.items()}
        yield Generations(
            operation=operation,
            results=results,
            sums=sums | {"fallbacks": results["filtered"] + results["fell_back"]},
            tokens=buckets.reshape(2, generations.TOKEN_WIDTH),
            time_ns=dict(
                zip(generations.TIMES, total[generations.TIME_NS :].tolist(), strict=True)
            ),
            histograms=dict(zip(generations.TIMES, each, strict=True)),
        )
