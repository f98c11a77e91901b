"""Reads prices: a file in LiteLLM's format, over a small table of list prices that comes along.

Knows that format's fields and how it names models. Knows nothing of requests or budgets.

A document is `{model: {field: value}}`; a model is named as its provider does, or as
`provider/model`. Every price in it is dollars a token. Fields are read by their names: what is
charged for, then perhaps `_above_200k_tokens` (requests that read more), then perhaps the
provider's service tier (`_flex`, `_priority`, `_batches`). `tiered_pricing` says it as a list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from gateway.errors import ConfigInvalid
from gateway.llm.pricing import PICO, Price, Rates, Step

LISTED_ON: Final = "2026-08-01"
"""The day of the list prices in `list_prices.json`."""
_BUNDLED = Path(__file__).with_name("list_prices.json")
# Ten times what LiteLLM's own map, of three thousand models, takes.
MAX_FILE_BYTES = 16 * 1024 * 1024
# Nobody charges a dollar for a token; whoever writes dollars a million tokens is told so.
_MAX_USD = 1
_MAX_USD_A_REQUEST = 1000

_FIELDS: Final = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "input_cost_per_token_cache_hit": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "audio_input",
    "output_cost_per_audio_token": "audio_output",
}
_NAMES = "|".join(sorted(_FIELDS, key=len, reverse=True))
_FIELD = re.compile(rf"({_NAMES})(?:_above_(\d+)k_tokens)?(?:_(flex|priority|batches))?")
_SERVICES: Final = {None: "", "flex": "flex", "priority": "priority", "batches": "batch"}
# A model of these kinds writes no tokens, so none of its entries needs to say what one costs.
_SILENT = frozenset({"embedding", "rerank", "moderation"})
# Who sells at an address, of those that have OpenAI's API: their models' names are not OpenAI's.
_SELLERS: Final = {
    "generativelanguage.googleapis.com": "gemini",
    "api.mistral.ai": "mistral",
    "api.groq.com": "groq",
    "api.deepseek.com": "deepseek",
    "api.x.ai": "xai",
    "openrouter.ai": "openrouter",
    "api.together.xyz": "together_ai",
    "api.fireworks.ai": "fireworks_ai",
    "api.perplexity.ai": "perplexity",
    "api.cerebras.ai": "cerebras",
    "api.deepinfra.com": "deepinfra",
    "api.moonshot.ai": "moonshot",
}
# Other names by which LiteLLM's map calls the providers of our kinds.
_PROVIDERS: Final = {"openai": {"openai", "text-completion-openai"}}

_Key = tuple[str, int, str]  # what is charged for, above how many tokens, service tier


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices by model: a user's, and below them the ones that come along.

    Attributes:
        layers: documents as `read` returns them; the first that names a model has the say.
        providers: the provider that an entry belongs to, by the entry's name, where it tells.
    """

    layers: tuple[Mapping[str, Price | str], ...]
    providers: Mapping[str, str]

    def of(self, provider: str, model: str, entry: str | None = None) -> Price | None:
        """The price of a provider's model; None: nobody knows it, and it is to be told so.

        `provider/model` is looked for first. A model's name alone counts only where its entry is
        that provider's or nobody's: a server of your own that calls its model as a paid one does
        is not charged as that.

        Args:
            provider: a provider's kind, or the name that the map has for it (`groq`, `gemini`).
            model: the provider's name of the model.
            entry: what the document says it is priced as: looked for in the place of the model, and
                taken whoever's it is.
        """
        found = self._find(provider, model, entry)
        return None if isinstance(found, str) else found

    def why_not(self, provider: str, model: str, entry: str | None = None) -> str:
        """Why a model is unpriced; empty where it is priced."""
        found = self._find(provider, model, entry)
        return found if isinstance(found, str) else ""

    def _find(self, provider: str, model: str, entry: str | None) -> Price | str:
        whole = f"{provider}/{entry or model}"
        for layer in self.layers:
            for name in (whole, entry or model):
                found = layer.get(name)
                if found is not None and (
                    entry is not None or name == whole or self._is_of(name, provider)
                ):
                    return found
        if entry is not None:
            return f"no entry {whole!r}, nor {entry!r}"
        return f"no entry {whole!r}, nor {model!r} of {provider}"

    def _is_of(self, name: str, provider: str) -> bool:
        owner = self.providers.get(name, provider)
        return owner in _PROVIDERS.get(provider, {provider})


def seller(kind: str, base_url: str) -> str:
    """Whose prices hold for what a provider answers: the map's name of whoever is at its address.

    Args:
        kind: of the provider; whoever is at an address that nobody here knows is taken for that.
        base_url: of the provider.
    """
    return _SELLERS.get(urlsplit(base_url).hostname or "", kind)


def prices(own: Path | None = None) -> Prices:
    """Those of a file, if one is given, over the ones that come along.

    Raises:
        ConfigInvalid: the file cannot be read, or has faults; all of them are told.
    """
    listed, owners = _listed()
    if own is None:
        return Prices((listed,), owners)
    entries, providers = read(_text(own), own.name)
    # An entry of the file that names no provider is meant for whoever calls a model so.
    kept = {name: owner for name, owner in owners.items() if name not in entries}
    return Prices((entries, listed), kept | providers)


def read(text: str, source: str) -> tuple[dict[str, Price | str], dict[str, str]]:
    """The prices of a document in LiteLLM's format, and whose each entry is.

    Args:
        text: JSON.
        source: how errors call it.

    Returns:
        By model a price, or why there is none; and by model the provider that the entry names.

    Raises:
        ConfigInvalid: it is not such a document.
    """
    try:
        document = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    except (ValueError, RecursionError) as error:
        raise ConfigInvalid(f"{source}: not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ConfigInvalid(f"{source}: expected an object of models")
    found: dict[str, Price | str] = {}
    providers: dict[str, str] = {}
    faults: list[str] = []
    for name, entry in document.items():
        if name == "sample_spec":  # the format's own description of itself
            continue
        if not isinstance(entry, dict):
            faults.append(f"{name!r}: expected an object")
            continue
        if isinstance(owner := entry.get("litellm_provider"), str):
            providers[name] = owner
        found[name] = _entry(name, entry, faults)
    if faults:
        shown = "\n".join(f"  {source}: {fault}" for fault in faults[:20])
        raise ConfigInvalid(f"{len(faults)} faults in prices:\n{shown}")
    return found, providers


def stated(name: str, fields: Mapping[str, float | None]) -> Price:
    """A price that a configuration states itself, by the same fields.

    Raises:
        ConfigInvalid: it is none.
    """
    # The shortest text that gives a float back is the number that somebody wrote.
    entry = {field: Decimal(repr(usd)) for field, usd in fields.items() if usd is not None}
    faults: list[str] = []
    price = _entry(name, entry, faults)
    if isinstance(price, str):
        faults.append(price)
    if faults or isinstance(price, str):
        raise ConfigInvalid("; ".join(faults))
    return price


@cache
def _listed() -> tuple[dict[str, Price | str], dict[str, str]]:
    return read(_BUNDLED.read_text(encoding="utf-8"), _BUNDLED.name)


def _text(path: Path) -> str:
    try:
        if (size := path.stat().st_size) > MAX_FILE_BYTES:
            raise ConfigInvalid(
                f"{path.name}: expected at most {MAX_FILE_BYTES} bytes of prices, got {size}"
            )
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigInvalid(f"prices: cannot read {path}: {reason}") from error


# ---- one entry ----------------------------------------------------------------------------------


def _entry(name: str, entry: Mapping[str, Any], faults: list[str]) -> Price | str:
    rates: dict[_Key, int] = {}
    for key, path, value in _charges(entry):
        amount = _amount(value)
        if amount is None:
            faults.append(f"{name!r}.{path}: expected USD a token, 0 to {_MAX_USD}, got {value!s}")
        else:
            rates.setdefault(key, amount)
    request = entry.get("input_cost_per_request")
    fee = 0 if request is None else _amount(request, _MAX_USD_A_REQUEST)
    if fee is None:
        faults.append(f"{name!r}.input_cost_per_request: expected USD, got {request!s}")
    if ("input", 0, "") not in rates:
        return f"entry {name!r} says nothing of what a token read costs (input_cost_per_token)"
    if ("output", 0, "") not in rates:
        if entry.get("mode") not in _SILENT:
            return f"entry {name!r} says nothing of what a token written costs"
        rates["output", 0, ""] = 0
    return Price(
        name=name,
        steps={
            service: _steps(rates, service) for service in dict.fromkeys(key[2] for key in rates)
        },
        request=fee or 0,
        max_output_tokens=_count(entry.get("max_output_tokens")),
    )


def _charges(entry: Mapping[str, Any]) -> Iterator[tuple[_Key, str, Any]]:
    """What is charged for, where the entry says so, and how much, of fields that are set."""
    for field, value in entry.items():
        if (match := _FIELD.fullmatch(field)) and value is not None:
            base, above, service = match.groups()
            yield (_FIELDS[base], int(above or 0) * 1000, _SERVICES[service]), field, value
    tiers = entry.get("tiered_pricing")
    for index, tier in enumerate(tiers if isinstance(tiers, list) else ()):
        if (
            not isinstance(tier, dict)
            or not isinstance(span := tier.get("range"), list)
            or not span
        ):
            continue
        above = _count(span[0]) or 0
        for field, value in tier.items():
            if field in _FIELDS and value is not None:
                yield (_FIELDS[field], above, ""), f"tiered_pricing[{index}].{field}", value


def _steps(rates: Mapping[_Key, int], service: str) -> tuple[Step, ...]:
    above = sorted({key[1] for key in rates}, reverse=True)
    return tuple(Step(step or -1, _rates(rates, step, service)) for step in above)


def _rates(rates: Mapping[_Key, int], above: int, service: str) -> Rates:
    """What each kind of token costs; what the entry leaves out costs what it is a part of."""

    def told(kind: str) -> int | None:
        if (exact := rates.get((kind, above, service))) is not None:
            return exact
        # Neither step nor service tier is told together: the dearer one, so that no budget is
        # passed by a guess.
        near = [rates.get((kind, above, "")), rates.get((kind, 0, service))]
        if known := [rate for rate in near if rate is not None]:
            return max(known) if above and service else known[0]
        return rates.get((kind, 0, ""))

    def either(kind: str, otherwise: int) -> int:
        return otherwise if (rate := told(kind)) is None else rate

    read, wrote = told("input") or 0, told("output") or 0
    cache_write = either("cache_write", read)
    # Most entries that tell the price of reasoning only repeat the one of output there.
    same = rates.get(("reasoning", 0, "")) == rates["output", 0, ""]
    return Rates(
        input=read,
        output=wrote,
        cache_read=either("cache_read", read),
        cache_write=cache_write,
        cache_write_1h=either("cache_write_1h", max(cache_write, read)),
        reasoning=wrote if same else either("reasoning", wrote),
        audio_input=either("audio_input", read),
        audio_output=either("audio_output", wrote),
    )


def _amount(value: Any, at_most: int = _MAX_USD) -> int | None:
    """Dollars in whole pico-dollars; None: no such number.

    Some maps hold prices that were computed in floating point: what is past the twelfth place of
    those is noise, and rounded off.
    """
    if not isinstance(value, Decimal) or not 0 <= value <= at_most:
        return None
    return int((value * PICO).to_integral_value(ROUND_HALF_EVEN))


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, Decimal) and 0 <= value < 2**53 else None
