"""What a trace tells of a request to a language model.

Knows what happened, and names of OpenTelemetry's conventions for generative AI. Knows nothing of
spans. What was asked and what was answered is never told: neither prompts nor texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.llm.counting import OPERATIONS, system_of
from gateway.llm.targets import Target
from gateway.llm.told import Failed, Happened
from gateway.monitor import layout
from gateway.spans import Generation
from gateway.wire.llm.fields import text
from gateway.wire.llm.reading import Reading
from gateway.wire.llm.words import Dialect

MAX_CHARS: Final = 200
MAX_TRIES: Final = 16
"""More of one request are not told: the last ones are."""
MAX_STOPS: Final = 8
MAX_STOP_CHARS: Final = 64
_PICO: Final = 1e-12
_NO_READING: Final = Reading()
_NUMBERS: Final = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "n": "choice.count",
}
"""What requests say by number, and what the conventions call it."""
_STOPS: Final = ("stop", "stop_sequences")
_TIER: Final = "service_tier"
_APIS: Final = {Dialect.CHAT: "chat_completions", Dialect.RESPONSES: "responses"}
"""What the conventions call those of OpenAI's that they name."""
_MOST: Final = 2**63 - 1

Parameters = dict[str, float | str | list[str]]


def parameters(values: Mapping[str, Any]) -> Parameters:
    """What a request says of how it is to be answered, by the conventions' names.

    Whatever else it says, or says by another type, is left out.
    """
    found: Parameters = {}
    for field, name in _NUMBERS.items():
        value = values.get(field)
        if type(value) is float or (type(value) is int and -_MOST <= value <= _MOST):
            found[name] = value
    for field in _STOPS:
        given = values.get(field)
        each = given if type(given) is list else [given]
        words = [one[:MAX_STOP_CHARS] for one in each[:MAX_STOPS] if type(one) is str]
        if words:
            found["stop_sequences"] = words
    if tier := text(values, _TIER):
        found[_TIER] = tier[:MAX_CHARS]
    return found


def generations(happened: Any, now: float) -> list[Generation]:
    """The facts of each try of a request that is over, the last of them last.

    Args:
        happened: to it; `values` are its parameters by now.
        now: seconds; ages are told by it.
    """
    assert isinstance(happened, Happened)
    spoken = happened.spoken
    if spoken is None or OPERATIONS[spoken.client] is None:
        return []
    tries = happened.tries
    found = [_failed(happened, one, now) for one in tries[-MAX_TRIES:]]
    # One that failed, and that no other followed, is among these.
    if happened.target is not None and not (tries and tries[-1].span_id == happened.span_id):
        found.append(_last(happened, happened.target, now))
    first = happened.attempts - len(found)
    for place, one in enumerate(found, first + 1):
        one["attempts"] = place
    return found


def _asked(happened: Happened, target: Target, span_id: bytes) -> Generation:
    """What is known of a try before anything came of it."""
    assert happened.spoken is not None, "it was asked"
    operation = OPERATIONS[happened.spoken.client]
    assert operation is not None, "the rest are not traced"
    spoken, said = happened.spoken, dict(happened.values)
    tier = said.pop(_TIER, "")
    # Between OpenAI's and Anthropic's no tier is translated, so none was asked for.
    kept = spoken.client is spoken.upstream or (spoken.client in _APIS and spoken.upstream in _APIS)
    return {
        "span_id": span_id.decode(),
        "operation": layout.OPERATIONS[operation],
        "system": system_of(target.kind, f"https://{target.origin.host}"),
        "api": _APIS.get(spoken.upstream, ""),
        "upstream": target.called,
        "address": target.origin.host,
        "port": target.origin.port,
        "request_model": target.model,
        "service_tier": tier if kept else "",
        "response_model": "",
        "response_id": "",
        "fingerprint": "",
        "served_tier": "",
        "finish": "",
        "stream": happened.call.stream,
        "max_tokens": happened.call.max_output_tokens,
        "parameters": said,
        "tokens": None,
        "cost_usd": None,
        "attempts": 0,
        "result": "",
        "ages_ns": [],
    }


def _failed(happened: Happened, one: Failed, now: float) -> Generation:
    told = _asked(happened, one.target, one.span_id)
    told["result"] = one.why
    told["ages_ns"] = _ages(now, one.asked_at, 0.0, one.ended_at)
    return told


def _last(happened: Happened, target: Target, now: float) -> Generation:
    reading, usage, cost = happened.reading or _NO_READING, happened.usage, happened.cost
    told = _asked(happened, target, happened.span_id)
    told |= {
        "response_model": reading.model[:MAX_CHARS],
        "response_id": reading.id[:MAX_CHARS],
        "fingerprint": reading.fingerprint[:MAX_CHARS],
        "served_tier": reading.service[:MAX_CHARS],
        "finish": reading.finish[:MAX_CHARS],
        "cost_usd": None if cost is None else cost * _PICO,
        "result": happened.result,
        "ages_ns": _ages(now, happened.asked_at, happened.content_at, happened.ended_at),
    }
    if usage is not None and not happened.estimated:
        told["tokens"] = {
            "input": usage.input,
            "output": usage.output,
            "cache_read": usage.cache_read,
            "cache_write": usage.cache_write + usage.cache_write_1h,
            "reasoning": usage.reasoning,
        }
    return told


def _ages(now: float, *moments: float) -> list[int | None]:
    return [int((now - moment) * 1e9) if moment else None for moment in moments]
