"""One version of a language model, as one worker has it asked.

Knows its upstreams, what is counted of it, and how many requests are under way. Knows nothing of
the way of a request (`proxy`), or of connections.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from gateway.afterwards import NOTHING, Afterwards
from gateway.errors import Unsupported
from gateway.exchange import Model
from gateway.llm.features import SIGNATURE
from gateway.llm.phrases import Phrases
from gateway.llm.pools import Pool
from gateway.llm.pricing import Price
from gateway.llm.settings import Settings
from gateway.llm.targets import Target
from gateway.llm.tariff import Tariff, tariff_of
from gateway.monitor.contracts import Enforced
from gateway.monitor.observe import BatchObserver
from gateway.tensors import Signature
from gateway.wire.llm.words import Dialect

# What an answer is taken for whose model nobody has said a maximum of.
DEFAULT_OUTPUT_TOKENS: Final = 4096


class LlmDeployment:
    """Lives on the worker's event loop.

    Attributes:
        name, version: of the model.
        noted: both, as an exchange notes who answers.
        settings: what the plan says of it.
        targets: its upstreams, in the order in which the document has them.
        phrases: in which it refuses.
        pool: chooses among them.
        unpriced: nobody knows what some upstream of it costs.
        max_output_tokens: most that one answer may have.
        media_tokens: that one medium may be read as which is named by its address, at most.
        observer: counts its requests.
        in_flight: requests under way.
        afterwards: gets what was answered.
    """

    signature: Signature = SIGNATURE

    def __init__(
        self,
        name: str,
        version: int,
        settings: Settings,
        targets: Sequence[Target],
        observer: BatchObserver,
    ) -> None:
        self.name = name
        self.version = version
        self.noted: Model = (name, str(version))
        self.settings = settings
        self.phrases = Phrases(settings.refusal_phrases)
        self.pool = Pool.of(settings.version, [target.price for target in targets])
        self.renew(targets)
        self.observer = observer
        self.in_flight = 0
        self.afterwards: Afterwards = NOTHING
        self._drained: Callable[[], None] | None = None

    def renew(self, targets: Sequence[Target]) -> None:
        """Takes its upstreams, made of the same document again, and all that follows from them.

        Those that lack what they need are left out of its pool.
        """
        self.targets = targets
        self._prices = [target.price for target in targets]
        self.unpriced = None in self._prices
        self.max_output_tokens = _most(self.settings, self._prices)
        self._tariffs: dict[str, Tariff] = {}
        self._tiers = {tier for price in self._prices if price is not None for tier in price.steps}
        self.media_tokens = max(target.media_tokens for target in targets)
        self._mute: dict[Dialect, frozenset[int]] = {}
        for place, one in enumerate(targets):
            self.pool.leave_out(place, one.lacks)

    @property
    def counts_nothing(self) -> bool:
        """No upstream of it says how many tokens a prompt has."""
        return not any(Dialect.COUNT in one.speaks for one in self.targets)

    def mute(self, dialect: Dialect) -> frozenset[int]:
        """Upstreams that cannot be asked in a dialect, nor in one that it translates to.

        Raises:
            Unsupported: none can.
        """
        found = self._mute.get(dialect)
        if found is None:
            found = frozenset(
                place for place, one in enumerate(self.targets) if dialect not in one.speaks
            )
            self._mute[dialect] = found
        if len(found) == len(self.targets):
            kinds = {one.kind for one in self.targets}
            said = f"model '{self.name}': no upstream of it is asked for {dialect}"
            if kinds == {"anthropic"}:
                said += ": Anthropic has no such API"
            raise Unsupported(said)
        return found

    def tariff(self, service: str) -> Tariff:
        """What its upstreams take at most of a request for a tier of theirs; empty: the usual."""
        tier = service if service in self._tiers else ""
        found = self._tariffs.get(tier)
        if found is None:
            found = self._tariffs[tier] = tariff_of(self._prices, tier)
        return found

    def watch(self, afterwards: Afterwards) -> None:
        """From the next answer on, they go there."""
        self.afterwards = afterwards

    def agree(self, contract: Enforced | None) -> None:
        """Contracts are observed beside the counts; nothing is refused by one."""

    def began(self) -> None:
        """A request begins."""
        self.in_flight += 1

    def ended(self) -> None:
        """A request is over."""
        self.in_flight -= 1
        if not self.in_flight and self._drained is not None:
            drained, self._drained = self._drained, None
            drained()

    def drain(self, drained: Callable[[], None]) -> None:
        """Calls back once the last request is over; no plan sends another."""
        if self.in_flight:
            self._drained = drained
        else:
            drained()


def _most(settings: Settings, prices: Sequence[Price | None]) -> int:
    if settings.version.max_output_tokens is not None:
        return settings.version.max_output_tokens
    told = [one.max_output_tokens for one in prices if one is not None and one.max_output_tokens]
    return max(told, default=DEFAULT_OUTPUT_TOKENS)
