"""Reads the tokens that an answer took, in every shape that providers tell them in.

Knows the shapes of usage. Knows nothing of prices or of what else an answer holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.wire.llm.fields import MOST, Values, count, mapping, text
from gateway.wire.llm.words import Dialect, Usage

_NUMBERS = frozenset({int, float})
_SERVICE = "service_tier"
_USUAL = frozenset({"", "auto", "default", "standard", "standard_only"})
_DEEPSEEK = "prompt_cache_hit_tokens"
"""Where that provider tells what was cached."""


def usage_of(dialect: Dialect, answer: Values) -> Usage | None:
    """What a whole answer, or an event of a stream, says of its tokens; None: nothing."""
    usage = answer.get("usage")
    if dialect is Dialect.CHAT and type(usage) is dict and _SERVICE not in answer:
        return _of_chat(usage) if _counted(usage, "prompt_tokens", "completion_tokens") else None
    usage = told_usage(answer)
    return read_usage(dialect, usage) if usage else None


def told_usage(values: Values) -> Values:
    """What stands at `usage`, with the service tier, which Anthropic tells there and OpenAI beside.

    Empty where it is no object.
    """
    usage = mapping(values, "usage")
    if usage and _SERVICE in values:
        return {**usage, _SERVICE: values[_SERVICE]}
    return usage


def read_usage(dialect: Dialect, usage: Values) -> Usage | None:
    """What the object at `usage` says; None where the dialect tells none, or it holds no counts."""
    found = _read(dialect, usage)
    if found is not None and _SERVICE in usage:
        found.service = service_of(usage)
    return found


def service_of(values: Values) -> str:
    """The service tier that is asked for, or told; empty: the usual one."""
    service = text(values, _SERVICE)
    return "" if service in _USUAL else service


def _read(dialect: Dialect, usage: Values) -> Usage | None:
    told = TELLINGS[dialect]
    if told is None:
        return None
    of, read, written = told
    return of(usage) if _counted(usage, read, written) else None


def grown(known: Values, told: Values) -> Values:
    """Two tellings of one count, as a stream of messages gives them: each number only grows.

    So a later event that leaves a number out, or tells it as zero, takes nothing back.
    """
    merged = {**known, **_grown(known, told)}
    if _SERVICE in told:
        merged[_SERVICE] = told[_SERVICE]
    for key, parts in told.items():
        if type(parts) is dict:
            before = mapping(known, key)
            merged[key] = {**before, **_grown(before, parts)}
    return merged


def _grown(known: Values, told: Values) -> Values:
    return {key: value for key in told if (value := count(told, key)) > count(known, key)}


def _counted(usage: Values, one: str, other: str) -> bool:
    """Whether it tells one of these. What is no count is not told, rather than charged as none."""
    first: Any = usage.get(one)
    second: Any = usage.get(other)
    if type(first) in _NUMBERS and not 0 <= first <= MOST:
        return False
    if type(second) in _NUMBERS:
        return bool(0 <= second <= MOST)
    return type(first) in _NUMBERS


def _of_chat(usage: Values) -> Usage:
    of_read = mapping(usage, "prompt_tokens_details")
    of_written = mapping(usage, "completion_tokens_details")
    if not (any(of_read.values()) or any(of_written.values()) or _DEEPSEEK in usage):
        # Most answers: nothing was cached, thought or heard.
        read, written = count(usage, "prompt_tokens"), count(usage, "completion_tokens")
        return Usage(read, max(written, count(usage, "total_tokens") - read))
    cached = count(of_read, "cached_tokens") or count(usage, _DEEPSEEK)
    stored = count(of_read, "cache_write_tokens")
    read = _whole(count(usage, "prompt_tokens"), cached + stored)
    reasoning = count(of_written, "reasoning_tokens")
    # Some tell reasoning beside the completion: then the total has it.
    written = max(count(usage, "completion_tokens"), count(usage, "total_tokens") - read, reasoning)
    return Usage(
        input=read,
        output=written,
        cache_read=cached,
        cache_write=stored,
        reasoning=reasoning,
        audio_input=min(count(of_read, "audio_tokens"), read),
        audio_output=min(count(of_written, "audio_tokens"), written),
    )


def _of_responses(usage: Values) -> Usage:
    of_read = mapping(usage, "input_tokens_details")
    cached, stored = count(of_read, "cached_tokens"), count(of_read, "cache_write_tokens")
    reasoning = count(mapping(usage, "output_tokens_details"), "reasoning_tokens")
    return Usage(
        input=_whole(count(usage, "input_tokens"), cached + stored),
        output=max(count(usage, "output_tokens"), reasoning),
        cache_read=cached,
        cache_write=stored,
        reasoning=reasoning,
    )


def _of_messages(usage: Values) -> Usage:
    read = count(usage, "cache_read_input_tokens")
    by_life = mapping(usage, "cache_creation")
    hour = count(by_life, "ephemeral_1h_input_tokens")
    written = max(
        count(usage, "cache_creation_input_tokens"),
        hour + count(by_life, "ephemeral_5m_input_tokens"),
    )
    return Usage(
        input=count(usage, "input_tokens") + read + written,
        output=count(usage, "output_tokens"),
        cache_read=read,
        cache_write=written - hour,
        cache_write_1h=hour,
        reasoning=count(mapping(usage, "output_tokens_details"), "thinking_tokens"),
    )


def _whole(whole: int, parts: int) -> int:
    """Parts that pass their whole were told beside it: they are added, so that none goes unpaid."""
    return whole if parts <= whole else whole + parts


_Telling = tuple[Callable[[Values], Usage], str, str]
_LIKE_CHAT: _Telling = (_of_chat, "prompt_tokens", "completion_tokens")
TELLINGS: dict[Dialect, _Telling | None] = {
    Dialect.CHAT: _LIKE_CHAT,
    Dialect.COMPLETIONS: _LIKE_CHAT,
    Dialect.EMBEDDINGS: _LIKE_CHAT,
    Dialect.RESPONSES: (_of_responses, "input_tokens", "output_tokens"),
    Dialect.MESSAGES: (_of_messages, "input_tokens", "output_tokens"),
    Dialect.COUNT: None,  # what it counts was neither read nor written
}
"""What reads a dialect's usage, and the two numbers of which a usage has at least one."""
