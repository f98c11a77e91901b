"""What a trace tells of a request to a language model.

Knows what happened, and names of OpenTelemetry's conventions for generative AI. Knows nothing of
spans. What was asked and what was answered is never told: neither prompts nor texts.
"""

from __future__ import annotations

from typing import Any, Final

from gateway.llm.counting import OPERATIONS, system_of
from gateway.llm.told import Happened
from gateway.monitor import layout
from gateway.spans import Generation
from gateway.wire.llm.reading import Reading

MAX_CHARS: Final = 200
_PICO: Final = 1e-12
_NO_READING: Final = Reading()


def generation(happened: Any, now: float) -> Generation | None:
    """The facts of one request that is over; None where no upstream was asked.

    Args:
        happened: to it.
        now: seconds; ages are told by it.
    """
    assert isinstance(happened, Happened)
    target, spoken, usage = happened.target, happened.spoken, happened.usage
    operation = None if spoken is None else OPERATIONS[spoken.client]
    if target is None or spoken is None or operation is None:
        return None
    reading = happened.reading or _NO_READING
    moments = (happened.asked_at, happened.content_at, happened.ended_at)
    return {
        "operation": layout.OPERATIONS[operation],
        "system": system_of(target.kind, f"https://{target.origin.host}"),
        "upstream": target.called,
        "address": target.origin.host,
        "port": target.origin.port,
        "request_model": target.model,
        "response_model": reading.model[:MAX_CHARS],
        "response_id": reading.id[:MAX_CHARS],
        "fingerprint": reading.fingerprint[:MAX_CHARS],
        "finish": reading.finish[:MAX_CHARS],
        "stream": happened.call.stream,
        "max_tokens": happened.call.max_output_tokens,
        "tokens": None
        if usage is None or happened.estimated
        else {
            "input": usage.input,
            "output": usage.output,
            "cache_read": usage.cache_read,
            "cache_write": usage.cache_write + usage.cache_write_1h,
            "reasoning": usage.reasoning,
        },
        "cost_usd": None if happened.cost is None else happened.cost * _PICO,
        "attempts": happened.attempts,
        "result": happened.result,
        "ages_ns": [int((now - moment) * 1e9) if moment else None for moment in moments],
    }
