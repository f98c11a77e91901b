"""`model_list`: deployments under the names that clients call, as models with upstreams.

Knows what LiteLLM says of a deployment. Knows nothing of fallbacks or of settings for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.cli.litellm.providers import Providers
from gateway.cli.litellm.words import ALIAS, Notes, Section
from gateway.config.llm import MAX_UPSTREAMS
from gateway.names import MAX_NAME, name_fault

_SERVED: Final = frozenset({"chat", "completion", "embedding", "responses"})
_PRICES: Final = (
    "input_cost_per_token",
    "output_cost_per_token",
    "cache_read_input_token_cost",
    "cache_creation_input_token_cost",
)
_WHY_PARAMS: Final = {
    "organization": "as providers.NAME.headers: {openai-organization: ...}",
    "extra_headers": "as providers.NAME.headers, if none of them is a secret",
    "headers": "as providers.NAME.headers, if none of them is a secret",
    "max_retries": "retries are a version's, not an upstream's",
    "num_retries": "retries are a version's, not an upstream's",
    "drop_params": "it is a version's (unsupported: drop), see litellm_settings",
    "aws_": "this provider is not spoken with here",
    "vertex_": "this provider is not spoken with here",
    "input_cost_per_": "as an entry of llm.prices.file, which has LiteLLM's format",
    "output_cost_per_": "as an entry of llm.prices.file, which has LiteLLM's format",
    "cache_": "as an entry of llm.prices.file, which has LiteLLM's format",
    "max_budget": "budgets are keys', teams' and tags', not a deployment's",
    "budget_duration": "budgets are keys', teams' and tags', not a deployment's",
    "region_name": "a region is told by its address: api_base",
    "tags": "requests are not routed by tags; see routes",
    "mock_response": "nothing here answers by itself; loadtest/fake_provider.py does",
}
_PARAMETER: Final = "requests are passed on as they are: parameters are the client's to set"
_WHY_INFO: Final = {
    "base_model": "its own price goes before it",
    "id": "upstreams are called by their name",
    "db_model": "the document is all there is",
    "max_tokens": "sizes come with prices; max_output_tokens bounds answers",
    "max_input_tokens": "sizes come with prices",
    "supports_": "what a model can do is its provider's to say",
}
_TOLD: Final = "nothing here goes by it"


@dataclass(slots=True)
class Group:
    """The deployments of one name."""

    upstreams: list[dict[str, Any]] = field(default_factory=list)
    rates: list[dict[str, float]] = field(default_factory=list)
    """Of each, requests and tokens a minute, where it says so."""
    max_output_tokens: int | None = None


def groups(
    values: object,
    providers: Providers,
    defaults: Mapping[str, Any],
    timeouts: Mapping[str, float],
    notes: Notes,
) -> dict[str, Group]:
    """Deployments by the name that clients call.

    Args:
        values: `model_list`.
        providers: takes in those that are needed.
        defaults: `default_litellm_params`, that deployments have where they say nothing else.
        timeouts: what the document says for all.
        notes: what is left out.
    """
    found: dict[str, Group] = {}
    if values is not None and not isinstance(values, list):
        notes.leave("model_list", "expected a list")
        return found
    for index, value in enumerate(values or ()):
        entry = Section(value, f"model_list[{index}]", notes)
        name = entry.text("model_name")
        given = entry.take("litellm_params")
        merged = {**defaults, **given} if isinstance(given, Mapping) else given
        params = Section(merged, f"{entry.path}.litellm_params", notes)
        info = entry.section("model_info")
        if fault := _name_fault(name):
            entry.leave("model_name", f"'{name[:MAX_NAME]}': {fault}")
            continue
        if (mode := info.text("mode")) and mode not in _SERVED:
            info.leave("mode", f"'{mode[:40]}' is not served here: no deployment of '{name}'")
            continue
        placed = providers.place(name, params, timeouts)
        if placed is None:
            continue
        group = found.setdefault(name, Group())
        if len(group.upstreams) == MAX_UPSTREAMS:
            entry.leave("model_name", f"a version has at most {MAX_UPSTREAMS} upstreams")
            continue
        _add(group, placed, entry, params, info)
        entry.leave_rest({}, _TOLD)
    for group in found.values():
        _weigh(group)
    return found


def _name_fault(name: str) -> str | None:
    """Why no model here can be called so, be it by its name or by an alias."""
    if "*" in name:
        return "models are named one by one"
    return name_fault(name) and (None if ALIAS.fullmatch(name) else "no model may be called so")


def _add(
    group: Group, placed: tuple[str, str], entry: Section, params: Section, info: Section
) -> None:
    provider, model = placed
    upstream: dict[str, Any] = {"provider": provider, "model": model}
    twins = sum((one["provider"], one["model"]) == placed for one in group.upstreams)
    if twins:
        upstream["name"] = f"{provider}/{twins + 1}/{model}"[:MAX_NAME]
    if (order := params.whole("order", least=1)) is not None:
        upstream["priority"] = min(order, 1000)
    if (most := params.whole("max_parallel_requests", least=1)) is not None:
        upstream["max_parallel"] = min(most, 1_000_000)
    prices = {name: params.number(name, most=1) for name in _PRICES}
    prices |= {name: told for name in _PRICES if (told := info.number(name, most=1)) is not None}
    if price := {name: usd for name, usd in prices.items() if usd is not None}:
        upstream["price"] = price
    elif ALIAS.fullmatch(base := info.text("base_model") or params.text("base_model")):
        upstream["priced_as"] = base
    if (longest := info.whole("max_output_tokens", least=1)) is not None:
        group.max_output_tokens = min(longest, group.max_output_tokens or longest)
    group.rates.append(_rates(entry, params))
    group.upstreams.append(upstream)
    params.leave_rest(_WHY_PARAMS, _PARAMETER)
    info.leave_rest(_WHY_INFO, _TOLD)


def _rates(entry: Section, params: Section) -> dict[str, float]:
    """What LiteLLM weighs deployments by; it reads them beside the parameters, too."""
    found = {}
    for name in ("weight", "rpm", "tpm"):
        told = params.number(name)
        if told is None:
            told = entry.number(name)
        if told is not None:
            found[name] = told
            if name != "weight":
                params.leave(name, "it is a weight here, and no limit: the provider's own is told")
    return found


def _weigh(group: Group) -> None:
    """Weights as LiteLLM's shuffle has them: by the first of these that any deployment tells."""
    by = next(
        (name for name in ("weight", "rpm", "tpm") if any(name in r for r in group.rates)), ""
    )
    for upstream, rates in zip(group.upstreams, group.rates, strict=True):
        if by:
            # One that tells none of it is not chosen while others can be.
            upstream["weight"] = min(rates.get(by, 0.0), 1_000_000)
    lowest = max((one.get("priority", 0) for one in group.upstreams), default=0)
    for upstream in group.upstreams:
        if lowest and "priority" not in upstream:
            upstream["priority"] = min(lowest + 1, 1000)
