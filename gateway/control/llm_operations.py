"""What can be asked of language models through the control port.

Knows answers, plans and what was counted of upstreams. Knows nothing of how it was counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gateway.access.roles import Permission
from gateway.control.llm_documents import LlmModels, LlmUpstreams
from gateway.control.operations import Asked, Operation
from gateway.llm.settings import read
from gateway.monitor.arena import Arena
from gateway.monitor.upstreams import BREAKERS, UpstreamCounts, read_upstreams
from gateway.plan import LLM, Plan
from kernels import histogram

_PICO = 1e12


def operations(arena: Arena, plan: Callable[[], Plan]) -> tuple[Operation, ...]:
    """The table."""

    async def llm_models(asked: Asked) -> Any:
        return {"versions": [one for one in models(plan()) if asked.may_see(one["model"])]}

    async def llm_upstreams(asked: Asked) -> Any:
        found = await asyncio.to_thread(lambda: list(upstreams(read_upstreams(arena))))
        return {"upstreams": [one for one in found if asked.may_see(one["model"])]}

    return (
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
                }
                for one in settings.version.upstreams
            ],
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
