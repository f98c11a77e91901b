"""What is done about a request that failed: send it again, ask another model, or give up.

Knows one request's failures so far, the retries and fallback chains that its models have, and its
deadline. Knows nothing of requests' contents, or of how anything is sent.

A request that never fails never has any of this. One that does gets an `Attempts`, is told its
failures (`failed`, after the pool was told), and does what that says:

- `Again`: after a pause, `pool.choose(now, attempts.tried)`. Another upstream of the pool is asked
  at once. Only where all have failed the same one is asked again, after a pause that doubles.
- `Fallback`: another model, whose own retries count anew (`moved`); one that cannot serve the
  request is `passed_over`.
- `GiveUp`: the client is told the last error.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from math import ceil, inf
from random import Random
from typing import Final

from gateway.config.llm import LlmVersion
from gateway.llm.pools.pool import Pool
from gateway.llm.pools.troubles import Failure, Header, Trouble

# Other models that one request may be sent to. Chains name one another: without a bound a failing
# provider would have every request tried everywhere.
MAX_FALLBACKS_A_REQUEST: Final = 8
# Past the moment at which an upstream is ready, whatever rounding makes of it.
_SURELY_S: Final = 0.001
# What time alone may put right.
_PASSES: Final = frozenset({Trouble.FAILED, Trouble.LIMITED, Trouble.UNASKED})


@dataclass(frozen=True, slots=True)
class Again:
    """Send it again, to whom `choose` says."""

    after_s: float


@dataclass(frozen=True, slots=True)
class Fallback:
    """Ask another model."""

    model: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Tell the client.

    Attributes:
        spent: it was sent again, or would have been had there been any retries left: a client that
            does the same multiplies the load.
        retry_after_s: when trying again may help; None: not known.
    """

    spent: bool
    retry_after_s: float | None = None

    def headers(self) -> list[Header]:
        """What goes with the error, so that clients do not repeat what was repeated here.

        Both vendors' own clients go by `x-should-retry` before anything else.
        """
        told: list[Header] = []
        if self.spent:
            told.append((b"x-should-retry", b"false"))
        if self.retry_after_s is not None:
            told.append((b"retry-after", b"%d" % max(ceil(self.retry_after_s), 1)))
        return told


Verdict = Again | Fallback | GiveUp


class Attempts:
    """Of one request.

    Attributes:
        tried: upstreams of the pool that it is not sent to, by index: those that have failed it,
            and those that could never answer it.
        mute: the latter.
        sent_again: how often it was sent again to its model, and to others.
        fell_back: how many other models were asked.
    """

    __slots__ = (
        "_deadline",
        "_fallback_names",
        "_name_of",
        "_pool",
        "_random",
        "_refused",
        "_repeats",
        "_retry_after_s",
        "_version",
        "_visited",
        "_waits",
        "fell_back",
        "mute",
        "sent_again",
        "tried",
    )

    def __init__(
        self,
        model: str,
        version: LlmVersion,
        pool: Pool,
        *,
        random: Random,
        deadline: float = inf,
        name_of: Callable[[str], str] = str,
        mute: Collection[int] = (),
    ) -> None:
        """Begins with the first failure.

        Args:
            model: that the request asked for.
            version: the one that answered it.
            pool: of that.
            random: spreads pauses.
            deadline: nobody is asked after it, and no pause goes beyond.
            name_of: the name of a model that a chain may call by an alias; empty: it has gone.
            mute: upstreams of the pool that cannot be told what is asked, by index.
        """
        self._random = random
        self._deadline = deadline
        self._name_of = name_of
        self._visited = {model}
        self._fallback_names: list[str] = []
        self._retry_after_s: float | None = None
        self._refused = False
        self.sent_again = 0
        self.fell_back = 0
        self.moved(version, pool, mute)

    def moved(self, version: LlmVersion, pool: Pool, mute: Collection[int] = ()) -> None:
        """The model of the last `Fallback` is asked now, by this version of it."""
        self._version = version
        self._pool = pool
        self._repeats = 0
        self._waits = 0
        self.mute = frozenset(mute)
        self.tried: set[int] = set(mute)

    def failed(self, now: float, index: int, failure: Failure) -> Verdict:
        """What to do, now that this upstream has failed it so."""
        if failure.trouble is Trouble.REFUSED:
            return self._give_up(failure.retry_after_s)
        if failure.trouble is Trouble.CONTEXT_WINDOW:
            return self._elsewhere(now, self._version.context_window_fallbacks)
        if failure.trouble is Trouble.CONTENT_POLICY:
            return self._elsewhere(now, self._version.content_policy_fallbacks)
        self.tried.add(index)
        if (wait := self._wait(now, failure)) is not None and self._may_repeat(now, wait):
            return Again(wait)
        return self._elsewhere(now, self._version.fallbacks, failure.retry_after_s)

    def none_free(self, now: float) -> Verdict:
        """What to do, now that the pool has none that takes it: nobody waits in line for one."""
        ready = self._pool.ready_in_s(now, self.mute)
        return self._elsewhere(now, self._version.fallbacks, None if ready == inf else ready)

    def passed_over(self, now: float) -> Fallback | GiveUp:
        """What to do, now that the model of the last `Fallback` cannot be asked at all."""
        self.fell_back -= 1
        return self._elsewhere(now, (), self._retry_after_s)

    # ---- the same model -------------------------------------------------------------------------

    def _wait(self, now: float, failure: Failure) -> float | None:
        """Seconds until it may be sent again; None: no time helps."""
        if self._pool.ready_in_s(now, self.tried) == 0.0:
            return 0.0  # there is another upstream
        retries = self._pool.retries
        if failure.trouble not in _PASSES or failure.should_retry is False:
            return None
        told = failure.retry_after_s
        if told is not None:
            wait = told + self._random.random() * retries.base_s
        else:
            # Between half and the whole of it: those that failed together come back apart.
            longest = min(retries.base_s * 2.0**self._waits, retries.max_s)
            wait = longest * (1.0 + self._random.random()) / 2.0
        ready = self._pool.ready_in_s(now, self.mute)
        if ready > retries.max_retry_after_s or (told or 0.0) > retries.max_retry_after_s:
            return None
        self._waits += 1
        self.tried = set(self.mute)
        return max(wait, ready + _SURELY_S)

    def _may_repeat(self, now: float, wait: float) -> bool:
        pool = self._pool
        if self._repeats >= pool.retries.attempts or now + wait >= self._deadline:
            return False
        if not pool.budget.take(now, pool.asked):
            self._refused = True
            return False
        self._repeats += 1
        self.sent_again += 1
        return True

    # ---- another --------------------------------------------------------------------------------

    def _elsewhere(
        self, now: float, chain: Sequence[str], retry_after_s: float | None = None
    ) -> Fallback | GiveUp:
        """The next model of this chain, or of those before it, that was not asked yet."""
        self._retry_after_s = retry_after_s
        names = self._fallback_names = [*chain, *self._fallback_names]
        while names and now < self._deadline and self.fell_back < MAX_FALLBACKS_A_REQUEST:
            name = self._name_of(names.pop(0))
            if name and name not in self._visited:
                self._visited.add(name)
                self.fell_back += 1
                return Fallback(name)
        return self._give_up(retry_after_s)

    def _give_up(self, retry_after_s: float | None) -> GiveUp:
        spent = bool(self.sent_again or self.fell_back or self._refused)
        return GiveUp(spent, retry_after_s)
