"""What an answer costs, exactly: whole pico-dollars (1e-12 USD) a token, and sums of them.

Knows prices and the tokens that an answer took. Knows nothing of where prices are read from
(`price_map` does), of budgets, or of who pays.

A model that has no price is `None` here and "unpriced" wherever it is told: it never costs zero
because nobody knew better. A model that is free says so, with prices of zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from gateway.wire.llm.words import Usage

PICO = 10**12
"""Pico-dollars in a dollar: the cheapest token on any list costs thousands of them."""


class Rates(NamedTuple):
    """Pico-dollars a token, of each kind of token."""

    input: int
    output: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    reasoning: int
    audio_input: int
    audio_output: int


class Step(NamedTuple):
    """Rates of requests that read more than so many tokens."""

    above: int
    """-1 for those of every request; a request is charged at one step as a whole."""
    rates: Rates


@dataclass(frozen=True, slots=True)
class Price:
    """What one model of one provider costs.

    Attributes:
        name: the entry that it was read from.
        steps: by the provider's service tier, "" being its standard one; highest step first, and
            the last is for every request.
        request: pico-dollars for each request, whatever its tokens.
        max_output_tokens: the most that the model writes, where the entry tells.
    """

    name: str
    steps: Mapping[str, tuple[Step, ...]]
    request: int = 0
    max_output_tokens: int | None = None

    def rates(self, input_tokens: int, service: str = "") -> Rates:
        """Those of a request that reads so many tokens, cached ones included."""
        for step in self.steps.get(service) or self.steps[""]:
            if input_tokens > step.above:
                return step.rates
        raise ValueError(f"price {self.name!r}: expected tokens >= 0, got {input_tokens}")

    def cost(self, usage: Usage, service: str = "") -> int:
        """Pico-dollars that an answer costs.

        Parts of a count (cached, audio, reasoning) take at most what is left of it, the dearest
        first where they overlap, so that no usage, however an upstream writes it, costs less than
        nothing or counts a token twice.

        Args:
            usage: what the provider told.
            service: the service tier that it says it answered on; an unknown one is the standard.
        """
        read, wrote = max(usage.input, 0), max(usage.output, 0)
        rates = self.rates(read, service)
        if not (usage.cache_read or usage.cache_write or usage.cache_write_1h or usage.audio_input):
            money = read * rates.input
        else:
            money = _reading(usage, rates, read)
        if not (usage.reasoning or usage.audio_output):
            return self.request + money + wrote * rates.output
        audio = _part(usage.audio_output, wrote)
        reasoning = _part(usage.reasoning, wrote - audio)
        money += audio * rates.audio_output + reasoning * rates.reasoning
        return self.request + money + (wrote - audio - reasoning) * rates.output

    def most(
        self,
        input_tokens: int,
        max_output_tokens: int,
        service: str = "",
        *,
        cache_writes: bool = True,
        audio: bool = True,
    ) -> int:
        """Pico-dollars that no answer within these counts costs more than.

        Args:
            input_tokens: at least as many as the provider will count.
            max_output_tokens: at least as many as it will write.
            service: the service tier that the request asks for.
            cache_writes: whether what is read may be written into a cache, which costs more than
                reading it; an Anthropic request without any `cache_control` writes none.
            audio: whether either side may be sound.
        """
        read, write = max(input_tokens, 0), max(max_output_tokens, 0)
        for above, reading, writing in self.dearest(
            service, cache_writes=cache_writes, audio=audio
        ):
            if read > above:
                return self.request + reading * read + writing * write
        return self.request

    def dearest(
        self, service: str = "", *, cache_writes: bool = True, audio: bool = True
    ) -> tuple[tuple[int, int, int], ...]:
        """What a token costs at most that is read, and one that is written, of each step.

        Of the steps within a request's reach the dearest counts, not the highest: each has what
        those below it cost, too. Highest first, as the steps are; the arguments are those of
        `most`, an unknown service is the standard.
        """
        found: list[tuple[int, int, int]] = []
        reading = writing = 0
        for above, rates in reversed(self.steps.get(service) or self.steps[""]):
            reading = max(reading, rates.input, rates.cache_read)
            writing = max(writing, rates.output, rates.reasoning)
            if cache_writes:
                reading = max(reading, rates.cache_write, rates.cache_write_1h)
            if audio:
                reading = max(reading, rates.audio_input)
                writing = max(writing, rates.audio_output)
            found.append((above, reading, writing))
        return tuple(reversed(found))

    def plain(self) -> dict[str, Any]:
        """As a plan holds it; `read` is the inverse."""
        steps = {
            service: [[step.above, list(step.rates)] for step in steps]
            for service, steps in self.steps.items()
        }
        return {
            "name": self.name,
            "steps": steps,
            "request": self.request,
            "max_output_tokens": self.max_output_tokens,
        }

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Self:
        """What a plan holds of one."""
        steps = {
            service: tuple(Step(above, Rates(*rates)) for above, rates in steps)
            for service, steps in plain["steps"].items()
        }
        return cls(**{**plain, "steps": steps})


def _reading(usage: Usage, rates: Rates, read: int) -> int:
    left = read
    money = 0
    for tokens, rate in (
        (usage.audio_input, rates.audio_input),
        (usage.cache_write_1h, rates.cache_write_1h),
        (usage.cache_write, rates.cache_write),
        (usage.cache_read, rates.cache_read),
    ):
        part = _part(tokens, left)
        left -= part
        money += part * rate
    return money + left * rates.input


def _part(tokens: int, left: int) -> int:
    return min(max(tokens, 0), left)
