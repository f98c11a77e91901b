"""What a worker is told of one version of a language model: all it needs to ask for answers.

Knows how that is written into a plan and read from one. Knows nothing of who decided, and no
secrets: where a provider's key is found stands in it, the key does not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.config.llm import Llm, LlmProvider, LlmVersion
from gateway.llm.price_map import Prices, seller, stated


@dataclass(frozen=True, slots=True)
class Settings:
    """Of one version.

    Attributes:
        version: what stands behind it.
        providers: of its upstreams, by name.
        aliases: other names of its model.
        unpriced: `serve` or `refuse` where nobody knows what an upstream costs.
        prices: of upstreams, by what they are called, as `pricing.Price.plain` gives them.
        refusal_phrases: in which it refuses; None: those that come along.
    """

    version: LlmVersion
    providers: Mapping[str, LlmProvider]
    aliases: tuple[str, ...] = ()
    unpriced: str = "serve"
    prices: Mapping[str, Any] = field(default_factory=dict)
    refusal_phrases: Sequence[str] | None = None

    def plain(self) -> dict[str, Any]:
        """As a plan holds it; `read` is the inverse."""
        return {
            "version": self.version.model_dump(mode="json"),
            "providers": {n: p.model_dump(mode="json") for n, p in self.providers.items()},
            "aliases": list(self.aliases),
            "unpriced": self.unpriced,
            "prices": dict(self.prices),
            "refusal_phrases": self.refusal_phrases,
        }

    @property
    def digest(self) -> str:
        """Of what answers: another provider or model is another thing to watch, a time-out none."""
        return answering(self.version, self.providers)


def answering(version: LlmVersion, providers: Mapping[str, LlmProvider]) -> str:
    """A digest of who answers for a version."""
    who = [[providers[one.provider].base_url, one.provider, one.model] for one in version.upstreams]
    return hashlib.sha256(orjson.dumps(who)).hexdigest()


def settings_of(llm: Llm, model: str, number: int, prices: Prices) -> Settings:
    """What the document says of one version.

    Args:
        llm: the section.
        model: one of its models.
        number: one of its versions.
        prices: where the document does not say what an upstream charges.
    """
    found = llm.models[model]
    version = found.versions[number]
    providers = {one.provider: llm.providers[one.provider] for one in version.upstreams}
    plain = {}
    for one in version.upstreams:
        at = providers[one.provider]
        price = (
            prices.of(seller(at.kind, at.base_url), one.model, one.priced_as)
            if one.price is None
            else stated(one.called, one.price.model_dump())
        )
        if price is not None:
            plain[one.called] = price.plain()
    aliases, phrases = tuple(found.aliases), found.refusal_phrases
    return Settings(version, providers, aliases, found.unpriced, plain, phrases)


def read(plain: Mapping[str, Any]) -> Settings:
    """What a plan holds of one version."""
    return Settings(
        LlmVersion.model_validate(plain["version"]),
        {n: LlmProvider.model_validate(p) for n, p in plain["providers"].items()},
        tuple(plain["aliases"]),
        plain["unpriced"],
        plain["prices"],
        plain["refusal_phrases"],
    )
