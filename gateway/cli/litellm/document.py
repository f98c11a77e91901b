"""The whole of LiteLLM's `config.yaml`: settings for all models, chains, and what has no place.

Knows how its sections hang together. Knows nothing of what a deployment says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.cli.litellm.deployments import Group, groups
from gateway.cli.litellm.providers import Providers, own_timeouts
from gateway.cli.litellm.words import ALIAS, Converted, Notes, Section
from gateway.config.llm import MAX_FALLBACKS
from gateway.names import MAX_NAME

_ORDERS: Final = {
    "simple-shuffle": "weighted",
    "least-busy": "least_busy",
    "latency-based-routing": "least_latency",
    "cost-based-routing": "cheapest",
}
_MAX_ALIASES: Final = 64
_CHAINS: Final = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
_REDIS: Final = "workers of a host share their counts; there is nothing to set"
_CACHE: Final = "answers are not kept"
_CALLBACKS: Final = "see tracing, alerts.sinks and the metrics of the control port"
_DATABASE: Final = "the home is all there is: penstock serve --home"
_WHY: Final = {
    "redis_": _REDIS,
    "cache_": _CACHE,
    "cache": _CACHE,
    "caching_": _CACHE,
    "client_ttl": "connections are kept while they are used",
    "callbacks": _CALLBACKS,
    "success_callback": _CALLBACKS,
    "failure_callback": _CALLBACKS,
    "service_callback": _CALLBACKS,
    "langfuse_": _CALLBACKS,
    "alerting": _CALLBACKS,
    "alerting_": _CALLBACKS,
    "set_verbose": "see log",
    "debug_level": "see log",
    "json_logs": "see log.format",
    "database_": _DATABASE,
    "store_model_in_db": _DATABASE,
    "master_key": "keys are not carried over: make some with penstock keys create",
    "retry_policy": "retries are the same for all errors that another attempt may put right",
    "model_group_retry_policy": "as a version's own retries",
    "allowed_fails_policy": "failures that are an upstream's own count alike, others never",
    "enable_pre_call_checks": "a provider's own word on a prompt's size is taken",
    "enable_tag_filtering": "requests are not routed by tags; see routes",
    "tag_": "requests are not routed by tags; see routes",
    "routing_strategy_args": "latencies are forgotten within a minute; nothing to set",
    "max_fallbacks": "eight other models at most are asked for one request",
    "max_budget": "budgets are keys', teams' and tags'",
    "budget_duration": "budgets are keys', teams' and tags'",
    "max_parallel_requests": "as limits of keys and teams",
    "global_max_parallel_requests": "see limits.max_connections",
    "custom_auth": "see access",
    "enable_jwt_auth": "see access.jwt",
}
_UNKNOWN: Final = "nothing here corresponds to it"
_SECTIONS: Final = {
    "environment_variables": "variables are the environment's own to set",
    "include": "each file is converted by itself",
    "guardrails": "requests and answers are passed on as they are",
    "mcp_servers": _UNKNOWN,
    "files_settings": _UNKNOWN,
    "vector_store_registry": _UNKNOWN,
}


def converted(values: object, environment: Mapping[str, str]) -> Converted:
    """Our document of LiteLLM's.

    Args:
        values: what stands in its `config.yaml`.
        environment: where addresses (no keys) may stand that it names variables for.
    """
    notes = Notes()
    whole = Section(values, "", notes)
    router, settings = whole.section("router_settings"), whole.section("litellm_settings")
    general = whole.section("general_settings")
    both = _Either(router, settings)

    timeouts = {**own_timeouts(settings), **own_timeouts(router)}
    providers = Providers(environment)
    defaults = router.take("default_litellm_params")
    listed = whole.take("model_list")
    found = groups(
        listed,
        providers,
        defaults if isinstance(defaults, Mapping) else {},
        timeouts,
        notes,
    )
    models = _models(found, _version_settings(both))
    called = _aliases(models, router, _listed(listed))
    _chains(models, called, both)
    for model in models.values():
        if not model["aliases"]:
            del model["aliases"]

    document: dict[str, Any] = {}
    if general.take("master_key") is not None:
        # Who had to show a key has to show one from now on.
        document["access"] = {"data": "keys"}
        general.leave("master_key", _WHY["master_key"])
    document["llm"] = {"providers": providers.found, "models": models}
    for section in (router, settings, general):
        section.leave_rest(_WHY, _UNKNOWN)
    whole.leave_rest(_SECTIONS, _UNKNOWN)
    return Converted(document, notes.found)


class _Either:
    """Settings that may stand in either of two sections; the first has the say."""

    def __init__(self, first: Section, second: Section) -> None:
        self._both = (first, second)

    def number(self, name: str, least: float = 0.0) -> float | None:
        told = [section.number(name, least) for section in self._both]
        return next((one for one in told if one is not None), None)

    def truth(self, name: str) -> bool | None:
        told = [section.take(name) for section in self._both]
        return next((bool(one) for one in told if one is not None), None)

    def text(self, name: str) -> tuple[str, Section]:
        told = [(section.text(name), section) for section in self._both]
        return next((one for one in told if one[0]), told[0])

    def lists(self, name: str) -> list[tuple[list[Any], Section]]:
        return [(section.items(name), section) for section in self._both]


def _version_settings(both: _Either) -> dict[str, Any]:
    """What all versions have alike."""
    found: dict[str, Any] = {}
    strategy, section = both.text("routing_strategy")
    if order := _ORDERS.get(strategy):
        found["order"] = order
    elif strategy:
        section.leave("routing_strategy", "no order goes by it: upstreams are weighted")
    retries: dict[str, Any] = {}
    if (attempts := both.number("num_retries")) is not None:
        retries["attempts"] = min(int(attempts), 10)
    if pause := both.number("retry_after"):
        retries["base_s"] = pause
        retries["max_s"] = max(pause, 8.0)
    breaker: dict[str, Any] = {}
    if both.truth("disable_cooldowns"):
        breaker["enabled"] = False
    if (fails := both.number("allowed_fails")) is not None:
        # So many are allowed, the next one is too much.
        breaker["in_a_row"] = min(int(fails) + 1, 10_000)
    if cooldown := both.number("cooldown_time"):
        breaker["open_s"] = cooldown
        breaker["max_open_s"] = max(cooldown, 120.0)
    both_of = {"retries": retries, "breaker": breaker}
    found |= {name: fields for name, fields in both_of.items() if fields}
    if (dropped := both.truth("drop_params")) is not None:
        found["unsupported"] = "drop" if dropped else "refuse"
    return found


def _models(found: Mapping[str, Group], settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Models by a name that ours may have; what LiteLLM calls them is an alias where it may not."""
    models: dict[str, dict[str, Any]] = {}
    for name, group in found.items():
        ours = name.replace("/", "-").replace("\\", "-").strip() or "model"
        while ours in models or (ours != name and ours in found):
            ours += "-2"
        model: dict[str, Any] = {"aliases": [] if ours == name else [name]}
        model |= {"upstreams": group.upstreams, **settings}
        if group.max_output_tokens is not None:
            model["max_output_tokens"] = group.max_output_tokens
        models[ours] = model
    return models


@dataclass(frozen=True, slots=True)
class _Called:
    """The model of ours behind every name that a client may use.

    Attributes:
        ours: by name.
        listed: names of LiteLLM's document, whether or not they were carried over.
    """

    ours: dict[str, str]
    listed: frozenset[str]

    def find(self, name: object) -> str | None:
        """Our model of this name; None: there is none."""
        return self.ours.get(name) if isinstance(name, str) else None

    def why_not(self, name: object) -> str:
        """Why there is no model of this name."""
        called = str(name)[:MAX_NAME]
        if called in self.listed:
            return f"model '{called}' was left out"
        return f"no model is called '{called}' in this document"


def _listed(model_list: object) -> frozenset[str]:
    entries = model_list if isinstance(model_list, list) else []
    return frozenset(str(one.get("model_name")) for one in entries if isinstance(one, Mapping))


def _aliases(models: dict[str, dict[str, Any]], router: Section, listed: frozenset[str]) -> _Called:
    """Takes in `model_group_alias`; the model behind every name that a client may use."""
    ours = {name: name for name in models}
    ours |= {alias: name for name, model in models.items() for alias in model["aliases"]}
    called = _Called(ours, listed)
    told = router.section("model_group_alias")
    wanted = router.take("model_group_alias")
    for key, value in wanted.items() if isinstance(wanted, Mapping) else ():
        alias = str(key)
        stands_for = value.get("model") if isinstance(value, Mapping) else value
        target = called.find(stands_for)
        if isinstance(value, Mapping) and value.get("hidden"):
            told.leave(alias, "it is an alias; all names are listed")
        if target is None:
            told.leave(alias, called.why_not(stands_for))
        elif alias in ours:
            told.leave(alias, "a model is called so already")
        elif not ALIAS.fullmatch(alias) or len(models[target]["aliases"]) == _MAX_ALIASES:
            told.leave(alias, f"a model has at most {_MAX_ALIASES} aliases, without spaces")
        else:
            ours[alias] = target
            models[target]["aliases"].append(alias)
    return called


def _chains(models: dict[str, dict[str, Any]], called: _Called, both: _Either) -> None:
    """Takes in chains of models, those of `*` and the default ones for whom there are no others."""
    for kind in _CHAINS:
        chains: dict[str, list[str]] = {}
        for entries, section in both.lists(kind):
            for index, entry in enumerate(entries):
                _read_chain(entry, section, f"{kind}[{index}]", called, chains)
        for_all = chains.pop("*", [])
        if kind == "fallbacks":
            for names, section in both.lists("default_fallbacks"):
                for_all = for_all or _known(names, section, "default_fallbacks", called)
        for name, model in models.items():
            chain = [other for other in chains.get(name, for_all) if other != name]
            if chain:
                model[kind] = chain[:MAX_FALLBACKS]


def _read_chain(
    entry: object,
    section: Section,
    place: str,
    called: _Called,
    chains: dict[str, list[str]],
) -> None:
    if not isinstance(entry, Mapping):
        section.leave(place, "expected a mapping of a model to others")
        return
    for name, others in entry.items():
        where = f"{place}.{name}"
        ours = "*" if name == "*" else called.find(name)
        if ours is None:
            section.leave(where, called.why_not(name))
            continue
        found = _known(others if isinstance(others, list) else [others], section, where, called)
        # The router's own settings are read first, and have the say.
        chains.setdefault(ours, found)


def _known(others: list[Any], section: Section, place: str, called: _Called) -> list[str]:
    found: list[str] = []
    for index, other in enumerate(others):
        ours = called.find(other)
        if ours is None:
            section.leave(f"{place}[{index}]", called.why_not(other))
        elif ours not in found:
            found.append(ours)
    return found
