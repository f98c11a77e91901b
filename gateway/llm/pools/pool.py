"""Chooses, among the upstreams of one version, the one that is asked next.

Knows orders, weights, prices, and what its members have done. Knows nothing of requests.

Members stand in *ranks*: those of one priority (and where the cheapest is wanted, of one price).
A rank is asked only where none before it takes requests. Members of weight 0 stand behind all
others. Within a rank the order says who has it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from math import inf
from random import Random
from typing import Self

from gateway.config.llm import LlmBreaker, LlmRetries, LlmUpstream, LlmVersion, Order
from gateway.llm.pools.budget import RetryBudget
from gateway.llm.pools.member import Health, Member, Outcome
from gateway.llm.pricing import Price
from gateway.routing.assign import InTurn

Rank = list[Member]


class Picked:
    """One request and the upstream that it was given; `began` and `ended` are called once each.

    Attributes:
        index: of the upstream, in the document's order.
    """

    __slots__ = ("_answered", "_at", "_member", "_probe", "index")

    def __init__(self, member: Member) -> None:
        self._member = member
        self.index = member.index
        self._at = -1.0
        self._probe = False
        self._answered = False

    def began(self, now: float) -> None:
        """It is sent, at once after it was chosen: nobody else is chosen in between."""
        member = self._member
        self._at = now
        member.in_flight += 1
        member.asked += 1
        self._probe = member.breaker.begin()

    def answered(self, now: float) -> None:
        """The first content of a good answer is there: the upstream is well, whatever follows.

        A streamed answer says so long before it ends, and nobody waits that long for a probe.
        """
        if not self._answered:
            self._answered = True
            self._member.answered(now, now - self._at)
            self._member.breaker.good(self._probe)
            self._probe = False

    def ended(
        self, now: float, outcome: Outcome, retry_after_s: float | None = None, why: str = ""
    ) -> None:
        """It is over. Further calls do nothing.

        Args:
            now: seconds, of the same clock.
            outcome: how.
            retry_after_s: how long the upstream wants to be left; None: it does not say.
            why: in a few words, where it failed.
        """
        if self._at < 0.0:
            return
        member, began_at = self._member, self._at
        self._at = -1.0
        member.in_flight -= 1
        if outcome is Outcome.OK:
            if not self._answered:
                member.answered(now, now - began_at)
                member.breaker.good(self._probe)
            return
        self._troubled(now, outcome, retry_after_s, why)

    def _troubled(
        self, now: float, outcome: Outcome, retry_after_s: float | None, why: str
    ) -> None:
        member, breaker = self._member, self._member.breaker
        if outcome is Outcome.LEFT:
            breaker.nothing(now, self._probe)
        elif outcome is Outcome.FAILED:
            member.failed += 1
            member.why = why
            breaker.bad(now, self._probe)
            if retry_after_s is not None:
                breaker.pause(now, retry_after_s)
        else:
            breaker.good(self._probe)
            if outcome is Outcome.LIMITED:
                member.limited += 1
                breaker.pause(now, member.pause_s(retry_after_s))


class Pool:
    """Lives on a worker's event loop.

    Attributes:
        members: the upstreams, in the document's order.
        retries, budget: what `Attempts` goes by.
    """

    def __init__(
        self,
        upstreams: Sequence[LlmUpstream],
        order: Order,
        breaker: LlmBreaker,
        retries: LlmRetries,
        prices: Sequence[Price | None] = (),
        seed: int | None = None,
    ) -> None:
        """Begins with all of them well.

        Args:
            upstreams: at least one.
            order: who has it within a rank.
            breaker: when one of them is left alone.
            retries: how often, and after how long, a request is sent again.
            prices: of each, where the cheapest is wanted; None: not known, after all others.
            seed: of chance; None: another each time.
        """
        self.members = tuple(Member(i, one, breaker) for i, one in enumerate(upstreams))
        self.retries = retries
        self.budget = RetryBudget(retries.budget)
        self._called = {one.called: one for one in self.members}
        self._random = Random(seed)
        self._ranks = _ranks(self.members, upstreams, order, prices)
        self._pick = self._picker(order)
        # Processes that begin together begin their turns apart.
        self._turns = [InTurn(self._random.getrandbits(64)) for _ in self._ranks]
        self._among: list[Rank] = [[] for _ in self._ranks]  # whom the turns divide among now

    @classmethod
    def of(
        cls, version: LlmVersion, prices: Sequence[Price | None] = (), seed: int | None = None
    ) -> Self:
        """As a document says."""
        return cls(version.upstreams, version.order, version.breaker, version.retries, prices, seed)

    def leave_out(self, index: int, lacks: str) -> None:
        """An upstream is asked no more, for this reason; empty: it is asked again."""
        self.members[index].leave_out(lacks)

    def close(self, called: str) -> None:
        """The upstream of this name is asked again at once; none has it: nothing happens."""
        if (one := self._called.get(called)) is not None:
            one.close()

    def choose(self, now: float, tried: Collection[int] = ()) -> Picked | None:
        """The upstream that is asked next, to be told at once that it `began`.

        Args:
            now: seconds, of any clock that does not go back.
            tried: upstreams that have failed this request, by index; they are not asked again.

        Returns:
            None: none takes a request now.
        """
        if len(self.members) == 1:  # which many a model has: there is nothing to choose
            only = self.members[0]
            ready = only.breaker.ready_at <= now and only.in_flight < only.room
            return Picked(only) if ready and only.index not in tried else None
        for at, rank in enumerate(self._ranks):
            free = [
                one
                for one in rank
                if one.breaker.ready_at <= now
                and one.in_flight < one.room
                and one.index not in tried
            ]
            if len(free) == 1:
                return Picked(free[0])
            if free:
                return Picked(self._pick(free, now, at))
        return None

    def ready_in_s(self, now: float, tried: Collection[int] = ()) -> float:
        """Seconds until one of those not tried may be asked, 0 for now.

        Infinite: it hangs on others' requests, because a probe is under way, or all have as many
        as they may.
        """
        soonest = inf
        for one in self.members:
            if one.index not in tried and one.in_flight < one.room:
                soonest = min(soonest, one.breaker.ready_at)
        return max(soonest - now, 0.0)

    def failing(self, now: float, mute: Collection[int] = ()) -> bool:
        """Whether every one that may be asked at all has failed, and is left alone, or left out.

        One that has all it may, or wants a pause, is well.
        """
        able = [one for one in self.members if one.index not in mute]
        return all(one.lacks or one.breaker.state(now) != "closed" for one in able)

    def hindrances(self, now: float, mute: Collection[int] = ()) -> list[str]:
        """Why each that may be asked at all takes no request now."""
        able = [one for one in self.members if one.index not in mute]
        return [why for one in able if (why := one.hindrance(now))]

    def limited(self, now: float, mute: Collection[int] = ()) -> bool:
        """Whether a pause that an upstream wants (429) is all that keeps a request from it.

        One that is left out counts as one that is not there.
        """
        able = [one for one in self.members if one.index not in mute and not one.lacks]
        return bool(able) and all(one.limits(now) for one in able)

    @property
    def asked(self) -> int:
        """Requests that were sent, repeated ones included."""
        return sum(one.asked for one in self.members)

    def health(self, now: float) -> list[Health]:
        """Of every upstream, for showing."""
        return [one.health(now) for one in self.members]

    # ---- who has it, of several that would take it ----------------------------------------------

    def _picker(self, order: Order) -> Callable[[Rank, float, int], Member]:
        if order == "least_latency":
            return self._of_two
        return self._least_busy if order == "least_busy" else self._by_weight

    def _by_weight(self, free: Rank, now: float, at: int) -> Member:
        turns = self._turns[at]
        if free != self._among[at]:
            turns.divide(_weights(free))
            self._among[at] = free
        return self._called[turns.next()]

    def _of_two(self, free: Rank, now: float, at: int) -> Member:
        """The one with less to wait for, of two by chance: all at once on the fastest slows it."""
        random, count = self._random.random, len(free)
        first = int(random() * count)
        second = (first + 1 + int(random() * (count - 1))) % count
        one, other = free[first], free[second]
        return other if other.load(now) < one.load(now) else one

    def _least_busy(self, free: Rank, now: float, at: int) -> Member:
        best, least = free[0], inf
        for one in free:
            # Among equally busy ones the one that was asked less.
            busy = (one.in_flight + 1 + one.asked * 1e-12) / (one.weight or 1.0)
            if busy < least:
                best, least = one, busy
        return best


def _weights(rank: Rank) -> dict[str, float]:
    return {one.called: one.weight or 1.0 for one in rank}


def _ranks(
    members: Sequence[Member],
    upstreams: Sequence[LlmUpstream],
    order: Order,
    prices: Sequence[Price | None],
) -> list[Rank]:
    """Members in the order in which they are asked, those together that stand side by side."""
    ranks: dict[tuple[float, ...], Rank] = {}
    for one, upstream in zip(members, upstreams, strict=True):
        place: tuple[float, ...] = (not one.weight, upstream.priority)
        if order == "priority":
            place += (one.index,)
        elif order == "cheapest":
            price = prices[one.index] if prices else None
            place += (inf if price is None else _typical(price),)
        ranks.setdefault(place, []).append(one)
    return [ranks[place] for place in sorted(ranks)]


def _typical(price: Price) -> int:
    """What prices are compared by: three tokens read for each that is written, as in most chats."""
    return price.most(3000, 1000, cache_writes=False, audio=False)
