"""Shadows of one server, as control's event loop sees them: what they are counted in, and say.

Knows plans, blocks of the arena, and the rows that workers tell of. Knows nothing of how copies
run, or of HTTP.

The sums of pairs are in the arena and outlive this process; the rows that differ most are kept
here alone, a few of each pair, and never reach a disk. What the configuration masks of a model is
taken out of them before they are kept.
"""

from __future__ import annotations

import collections
import heapq
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from gateway.capture.schema import OUTPUT, Part
from gateway.config import Config
from gateway.control.blocks import Blocks
from gateway.control.capture_wishes import CaptureWish
from gateway.errors import GatewayError
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.plan import Plan, Route, Shadow, Split
from gateway.rollouts.discordance import Discordance, discordance
from gateway.rollouts.pairs import Pairs, added_up

log = logging.getLogger("penstock.control")

KEPT: Final = 32
"""Rows of a pair."""
MAX_ERASED: Final = 2000
# Rows of a pair that wait for their outcomes.
MAX_DISAGREED: Final = 5000
LOOK_S: Final = 10.0
HISTORY_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known of a version and one of its shadows.

    Attributes:
        model: theirs.
        answered: the version that answered.
        shadow: the version whose answers nobody got.
        share: of requests, that are copied now; 0: none is.
        pairs: their rows.
        window_s: that they came in; None: since the server was started.
    """

    model: str
    answered: int
    shadow: int
    share: float
    pairs: Pairs
    window_s: float | None = None


@dataclass(order=True, slots=True)
class _Kept:
    """A row, by how different the answers are."""

    unlikeness: float
    at: float
    told: dict[str, Any] = field(compare=False)


Pair = tuple[str, int, int]
"""A model, the version that answered, and the shadow."""
Row = tuple[str, int, int]
"""What its request's id begins with, which of these it is, and the row's number in it."""


class Shadows:
    """Lives on control's event loop; `readings` may be asked for on any thread."""

    def __init__(
        self,
        arena: Arena,
        blocks: Blocks,
        config: Callable[[], Config],
        stream: Callable[[int, int], str],
        hashed: Callable[[str], bytes],
        plan: Callable[[], Plan],
        outcomes: Callable[[Sequence[Row]], Awaitable[list[float | None]]],
        monotonic: Callable[[], float],
    ) -> None:
        """Takes its collaborators.

        Args:
            arena: shared memory.
            blocks: of it.
            config: what is in force.
            stream: what the ids of a worker's requests begin with, by slot and epoch.
            hashed: the keyed hash of a value.
            plan: the newest.
            outcomes: what came of rows, where that is known.
            monotonic: seconds of a clock that nobody sets.
        """
        self._arena = arena
        self._blocks = blocks
        self._config = config
        self._stream = stream
        self._hashed = hashed
        self._plan = plan
        self._outcomes = outcomes
        self._monotonic = monotonic
        self._full: set[Pair] = set()
        self._past: dict[Pair, collections.deque[tuple[float, Pairs]]] = {}
        self._looked_at = -LOOK_S
        self._hidden: dict[tuple[str, int], tuple[Part, ...] | None] = {}
        self._kept: dict[Pair, list[_Kept]] = {}
        self._disagreed: dict[Pair, dict[Row, tuple[int, int]]] = {}
        """What both say of rows, the oldest first."""
        # A worker may tell of a row after it was erased here.
        self._erased: collections.deque[str] = collections.deque(maxlen=MAX_ERASED)

    # ---- plans ----------------------------------------------------------------------------------

    def place(self, plan: Plan) -> Plan:
        """The plan, whose shadows know what their pairs are counted in and how scores are read."""
        if not any(route.split is not None and route.split.shadows for route in plan.routes):
            return plan
        return replace(plan, routes=tuple(self._placed(route) for route in plan.routes))

    def _placed(self, route: Route) -> Route:
        split = route.split
        if split is None or not split.shadows:
            return route
        scores = self._config().scores_of(route.name)
        shadows = tuple(
            replace(
                one,
                blocks=tuple(self._blocks_of(route.name, split, one)),
                kind=scores.kind,
                output=scores.output,
                positive=scores.positive,
                threshold=scores.threshold,
            )
            for one in split.shadows
        )
        return replace(route, split=replace(split, shadows=shadows))

    def _blocks_of(self, model: str, split: Split, shadow: Shadow) -> Iterator[tuple[int, int]]:
        for version in sorted({one.version for one in split.variants} - {shadow.version}):
            pair = model, version, shadow.version
            try:
                yield version, self._blocks.allocate_pairs(layout.pairs_key(*pair))
                self._full.discard(pair)
            except GatewayError as error:
                if pair not in self._full:
                    log.error("model '%s': shadow %d is not run: %s", model, pair[2], error)
                self._full.add(pair)

    def know(self, model: str, version: int, wish: CaptureWish | None) -> None:
        """What may be seen of a version's rows: all but what the configuration hides.

        Args:
            model: its name.
            version: of it.
            wish: names its columns; None: nobody can, and nothing is seen where anything is hidden.
        """
        settings = self._config().capture_of(model)
        hides = bool(settings.mask or settings.hash)
        parts = () if not hides else None if wish is None else wish.schema.parts
        self._hidden[model, version] = parts

    # ---- sums -----------------------------------------------------------------------------------

    async def look(self) -> None:
        """Remembers how far counts have come. Call it about once a second."""
        now = self._monotonic()
        if now < self._looked_at + LOOK_S:
            return
        self._looked_at = now
        found = dict(self._sums())
        for pair in self._past.keys() - found.keys():
            del self._past[pair]
        for pair, pairs in found.items():
            past = self._past.setdefault(pair, collections.deque())
            past.append((now, pairs))
            while past[0][0] < now - HISTORY_S - LOOK_S:
                past.popleft()

    def sums(self, model: str, shadow: int, answered: int | None = None) -> Pairs:
        """All pairs of a shadow since the server was started.

        What has come in since a moment is `Pairs.since` what this gave at that moment.

        Args:
            model: its name.
            shadow: the version whose answers nobody got.
            answered: the version that did; None: whichever.
        """
        total = Pairs.nothing()
        for (name, first, second), pairs in self._sums():
            if (name, second) == (model, shadow) and answered in (None, first):
                total = total.and_(pairs)
        return total

    def readings(self, model: str | None = None, window_s: float | None = None) -> list[Reading]:
        """What is known of each pair of versions.

        Args:
            model: of this one alone; None: of all.
            window_s: what has come in for so long; None: since the server was started.
        """
        shares = {
            (route.name, one.version, shadow.version): shadow.share
            for route in self._plan().routes
            if route.split is not None
            for shadow in route.split.shadows
            for one in route.split.variants
        }
        found = []
        for pair, pairs in sorted(self._sums(), key=lambda one: one[0]):
            if model in (None, pair[0]):
                some, took_s = pairs, None
                if window_s is not None:
                    some, took_s = self._window(pair, pairs, window_s)
                found.append(Reading(*pair, shares.get(pair, 0.0), some, took_s))
        return found

    def _window(self, pair: Pair, pairs: Pairs, window_s: float) -> tuple[Pairs, float | None]:
        """As long as is asked for or, where that is not known, as is."""
        now = self._monotonic()
        past = [one for one in self._past.get(pair, ()) if one[0] <= now - window_s]
        first = past[-1:] or list(self._past.get(pair, ()))[:1]
        if not first:
            return pairs, None
        at, before = first[0]
        return pairs.since(before), now - at

    def _sums(self) -> Iterator[tuple[Pair, Pairs]]:
        for block in self._arena.blocks(layout.PAIRS):
            yield layout.pairs_of(block.name), Pairs(added_up(self._arena.slots(block)))

    # ---- rows -----------------------------------------------------------------------------------

    def take(self, slot: int, message: Mapping[str, Any]) -> None:
        """A worker tells of a row whose answers differ much."""
        pair = message["model"], message["answered"], message["shadow"]
        request = f"{self._stream(slot, message['epoch'])}-{message['sequence']:x}"
        if request in self._erased:
            return
        told: dict[str, Any] = {"request_id": request}
        told |= {name: message[name] for name in ("row", "at", "unlikeness", "agree")}
        told |= {
            name: self._seen(pair[0], pair[1], message[name], output=name != "inputs")
            for name in ("inputs", "said", "shadow_said")
        }
        kept = self._kept.setdefault(pair, [])
        heapq.heappush(kept, _Kept(message["unlikeness"], message["at"], told))
        if len(kept) > KEPT:
            heapq.heappop(kept)

    def take_disagreed(self, slot: int, message: Mapping[str, Any]) -> None:
        """A worker tells of rows that two versions class differently."""
        pair = message["model"], message["answered"], message["shadow"]
        stream = self._stream(slot, message["epoch"])
        rows = self._disagreed.setdefault(pair, {})
        for sequence, row, was, now in message["rows"]:
            if f"{stream}-{sequence:x}" not in self._erased:
                rows[stream, sequence, row] = was, now
        while len(rows) > MAX_DISAGREED:
            del rows[next(iter(rows))]

    async def discordance(self, model: str, answered: int, shadow: int) -> Discordance:
        """Which of the two was right where they disagree, as far as outcomes are known.

        Raises:
            StoreFailed: the ledger cannot be read.
        """
        rows = dict(self._disagreed.get((model, answered, shadow), {}))
        outcomes = await self._outcomes(list(rows))
        return discordance(
            (*labels, one) for labels, one in zip(rows.values(), outcomes, strict=True)
        )

    def different(self, model: str, answered: int, shadow: int) -> list[dict[str, Any]]:
        """The rows of a pair that differ most, the most different first."""
        kept = self._kept.get((model, answered, shadow), [])
        return [one.told for one in sorted(kept, reverse=True)]

    def forget(self, requests: Collection[str], subjects: bool) -> None:
        """Erases rows: of these requests, and where it is about subjects, all of them.

        A row does not say whom it is about.
        """
        self._erased.extend(requests)
        for pair, kept in self._kept.items():
            left = [one for one in kept if one.told["request_id"] not in requests]
            self._kept[pair] = [] if subjects else left
            heapq.heapify(self._kept[pair])
        for rows in self._disagreed.values():
            for row in [one for one in rows if f"{one[0]}-{one[1]:x}" in requests]:
                del rows[row]

    def _seen(
        self, model: str, version: int, values: dict[str, Any] | None, output: bool
    ) -> dict[str, Any] | None:
        """Without what nobody may see."""
        parts = self._hidden.get((model, version))
        if values is None or parts is None:
            return None
        for part in parts:
            own = values.get(part.tensor)
            if own is not None and (part.role == OUTPUT) == output:
                values[part.tensor] = self._hide(part, own)
        return values

    def _hide(self, part: Part, own: list[Any]) -> list[Any]:
        if part.many:
            return [] if part.masked else own
        for place in part.masked:
            own[place] = None
        for place in part.hashed:
            value = own[place]
            own[place] = self._hashed(value if isinstance(value, str) else repr(value)).hex()
        return own
