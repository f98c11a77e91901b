"""What can be asked of language models through the control port.

Knows answers, plans and what was counted of upstreams. Knows nothing of how it was counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from gateway.access.roles import Permission
from gateway.config.llm import LlmUpstream
from gateway.control.audit import Actor
from gateway.control.llm_documents import Closed, CloseWanted, LlmModels, LlmUpstreams
from gateway.control.operations import Asked, Operation
from gateway.control.recorder import Values
from gateway.control.route_documents import RoutePath
from gateway.errors import NotFound, StoreFailed
from gateway.llm.pools.breaker import CLOSE_BREAKER
from gateway.llm.pricing import Price
from gateway.llm.settings import read
from gateway.monitor.arena import Arena
from gateway.monitor.upstreams import BREAKERS, UpstreamCounts, read_upstreams
from gateway.plan import LLM, Plan
from kernels import histogram

ACTION: Final = "upstream close"
_PICO = 1e12
_MILLION = 1e6

Record = Callable[[Actor, str, str, Values, Values], Awaitable[None]]
"""Writes an entry of the audit; returns when it is on disk."""
Tell = Callable[[dict[str, Any]], None]
"""Tells every worker something."""


def operations(
    arena: Arena, plan: Callable[[], Plan], record: Record, tell: Tell
) -> tuple[Operation, ...]:
    """The table.

    Args:
        arena: workers count there.
        plan: the newest.
        record: the audit.
        tell: tells every worker something.
    """

    async def llm_models(asked: Asked) -> Any:
        return {"versions": [one for one in models(plan()) if asked.may_see(one["model"])]}

    async def llm_upstreams(asked: Asked) -> Any:
        found = await asyncio.to_thread(lambda: list(upstreams(read_upstreams(arena))))
        return {"upstreams": [one for one in found if asked.may_see(one["model"])]}

    async def close_upstream(asked: Asked) -> Any:
        model, wanted = asked.path.model, asked.body
        versions = _asking(plan(), model, wanted.version, wanted.upstream)
        for version in versions:
            subject = f"{model}/{version}/{wanted.upstream}"
            await record(asked.actor, ACTION, subject, None, {"why": wanted.why})
            tell(
                {
                    "type": CLOSE_BREAKER,
                    "model": model,
                    "version": version,
                    "upstream": wanted.upstream,
                }
            )
        return {"model": model, "upstream": wanted.upstream, "versions": versions}

    return (
        Operation(
            "POST",
            "/api/llm/models/{model}/close",
            close_upstream,
            "Have an upstream asked again at once that is left alone, in every worker",
            Permission.OPERATE,
            scope="model",
            path_parameters=RoutePath,
            body=CloseWanted,
            answer=Closed,
            errors=(NotFound, StoreFailed),
        ),
        Operation(
            "GET",
            "/api/llm/models",
            llm_models,
            "Language models, who answers for them, and whether the price is known",
            Permission.READ,
            scope="caller",
            answer=LlmModels,
        ),
        Operation(
            "GET",
            "/api/llm/upstreams",
            llm_upstreams,
            "How each upstream of a language model is, and what it has done",
            Permission.READ,
            scope="caller",
            answer=LlmUpstreams,
        ),
    )


def _asking(plan: Plan, model: str, version: int | None, upstream: str) -> list[int]:
    """The versions of a model that ask an upstream; of one alone, where one is named.

    Raises:
        NotFound: none does.
    """
    found = [
        held.version
        for held in plan.held
        if held.kind == LLM and held.name == model and version in (None, held.version)
        if any(one.called == upstream for one in read(held.settings).version.upstreams)
    ]
    if not found:
        what = f"model '{model}'" + ("" if version is None else f" version {version}")
        raise NotFound(f"{what} has no upstream '{upstream}': penstock llm models lists them")
    return sorted(found)


def models(plan: Plan) -> Iterator[dict[str, Any]]:
    """A line for each version of a plan."""
    defaults = {route.name: route.version for route in plan.routes}
    for held in plan.held:
        if held.kind != LLM:
            continue
        settings = read(held.settings)
        yield {
            "model": held.name,
            "version": held.version,
            "aliases": list(settings.aliases),
            "default": defaults.get(held.name) == held.version,
            "order": settings.version.order,
            "unpriced": settings.unpriced,
            "upstreams": [
                {
                    "name": one.called,
                    "provider": one.provider,
                    "model": one.model,
                    "priced": one.called in settings.prices,
                    "price": _price(one, settings.prices.get(one.called)),
                }
                for one in settings.version.upstreams
            ],
        }


def _price(one: LlmUpstream, plain: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if plain is None:
        return None
    price = Price.read(plain)
    rates = price.rates(0)
    return {
        "entry": price.name if one.price is None else None,
        "input_usd_per_million": rates.input * _MILLION / _PICO,
        "output_usd_per_million": rates.output * _MILLION / _PICO,
    }


def upstreams(found: Iterable[UpstreamCounts]) -> Iterator[dict[str, Any]]:
    """A line for each upstream that some worker asks, in the order of their names."""
    for one in sorted(found, key=lambda u: (u.called.model, u.called.version, u.called.upstream)):
        if not one.called.upstream or not one.workers:
            continue
        workers = one.workers.values()
        first = sum(of.histograms["first_token"] for of in one.generations)
        yield {
            "model": one.called.model,
            "version": one.called.version,
            "upstream": one.called.upstream,
            "provider": one.called.provider,
            "breaker": max((w.breaker for w in workers), key=BREAKERS.index),
            "trouble": next((w.trouble for w in workers if w.trouble), ""),
            "sent": one.sent,
            "failed": one.failed,
            "limited": one.limited,
            "ok": sum(of.results["ok"] for of in one.generations),
            "input_tokens": sum(of.sums["input"] for of in one.generations),
            "output_tokens": sum(of.sums["output"] for of in one.generations),
            "cost_usd": sum(of.sums["cost"] for of in one.generations) / _PICO,
            "unpriced_answers": sum(of.sums["unpriced"] for of in one.generations),
            "first_token_p50_s": _quantile(first, 0.5),
            "first_token_p95_s": _quantile(first, 0.95),
            "workers": [
                {
                    "worker": worker,
                    "breaker": health.breaker,
                    "ready_in_s": health.ready_in_s,
                    "in_flight": health.in_flight,
                    "first_byte_s": health.first_byte_s,
                    "connections": health.connections,
                    "idle": health.idle,
                    "trouble": health.trouble,
                }
                for worker, health in one.workers.items()
            ],
        }


def _quantile(counts: Any, share: float) -> float | None:
    if isinstance(counts, int) or not counts.any():
        return None
    return histogram.quantile(counts, share) / 1e9
