"""What is watched of each answer of a language model, as tensors that profiles know.

Knows requests that are over, and what profiles take. Knows nothing of what is made of the values.
Each feature is a tensor of its own, so that reports call it by its name. NaN where there is nothing
to say.

Answers are read once they were written, as a whole: no chunk of a stream is looked at for this.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import Final

import numpy as np
import orjson

from gateway.llm.phrases import Phrases
from gateway.llm.told import Happened
from gateway.tensors import Array, Signature, TensorSpec
from gateway.wire.llm.reading import Called, Reading
from kernels import texts

ASKED: Final = ("prompt_chars", "messages", "tools", "max_output_tokens")
"""Of what was asked."""
SAID: Final = (
    # The first is what the ledger keeps of an answer where the document does not say otherwise.
    *("output_tokens", "input_tokens", "cached_tokens", "reasoning_tokens", "answer_chars"),
    *("first_token_s", "inter_token_s", "longest_gap_s", "tokens_per_s", "duration_s", "cost_usd"),
    *(
        "refused",
        "refused_in_words",
        "empty",
        "json_valid",
        "tool_calls",
        "tools_known",
        "arguments_valid",
    ),
    "repetition",
)
"""Of what came back."""
NAMED: Final = ("finish", "script")
"""The same, in words."""

SIGNATURE: Final = Signature(
    tuple(TensorSpec(name, "FP32", (-1, 1)) for name in ASKED),
    (
        *(TensorSpec(name, "FP32", (-1, 1)) for name in SAID),
        *(TensorSpec(name, "BYTES", (-1, 1)) for name in NAMED),
    ),
    batched=True,
)

# Whether longer texts are JSON is not looked at: it would hold the event loop for a millisecond.
MAX_JSON_CHARS: Final = 256 << 10
_PICO: Final = 1e-12
_NO_READING: Final = Reading()
_FINISHES: Final = {
    "": b"none",
    "stop": b"stop",
    "end_turn": b"stop",
    "stop_sequence": b"stop",
    "completed": b"stop",
    "length": b"length",
    "max_tokens": b"length",
    "max_output_tokens": b"length",
    "model_context_window_exceeded": b"length",
    "incomplete": b"length",
    "tool_calls": b"tool_calls",
    "tool_use": b"tool_calls",
    "function_call": b"tool_calls",
    "content_filter": b"refused",
    "refusal": b"refused",
    "pause_turn": b"paused",
}
"""Providers' words for why an answer ended, in one set of words; others are `other`."""
_SCRIPTS: Final = [name.encode() for name in texts.SCRIPTS]

Row = tuple[Sequence[float], Sequence[bytes]]
"""Features of one request: numbers in the order of ASKED and SAID, then those of NAMED."""


class Features:
    """Reads them. Used on one thread: it has one table for all texts."""

    def __init__(self) -> None:
        """Makes the table."""
        self._table = np.zeros(texts.TABLE_WORDS, np.int64)
        self._figures = np.zeros(texts.FIGURES)

    def row(self, happened: Happened, longest_gap_s: float, phrases: Phrases) -> Row:
        """Of one request that was answered.

        Args:
            happened: to it.
            longest_gap_s: between two pieces of its answer; NaN where there was none.
            phrases: in which its model refuses.
        """
        call, reading = happened.call, happened.reading or _NO_READING
        prompt, text = call.prompt, _joined(reading.texts)
        most = call.max_output_tokens
        repeated, script, visible = self._read(text)
        empty = not visible and not reading.calls
        numbers = (
            prompt.chars,
            prompt.messages,
            len(prompt.tools),
            nan if most is None else most,
            *_tokens(happened),
            len(text),
            *_times(happened, longest_gap_s),
            _dollars(happened),
            reading.refused,
            phrases.found(text),
            empty,
            _is_json(text) if prompt.json_wanted else nan,
            *_calls(reading.calls, prompt.tools),
            repeated,
        )
        return numbers, (_FINISHES.get(reading.finish, b"other"), script)

    def _read(self, text: str) -> tuple[float, bytes, float]:
        """How much of a text's end repeats, its script, and how much of it is to be seen."""
        figures = self._figures
        data = text[-texts.MAX_BYTES :].encode(errors="replace")[-texts.MAX_BYTES :]
        texts.read_text(data, self._table, figures)
        repeated, script, visible = figures[texts.REPEATED], figures[0], figures[texts.VISIBLE]
        return float(repeated), _SCRIPTS[int(script)], float(visible)


def tensors(rows: Sequence[Row]) -> tuple[list[Array], list[Array | None]]:
    """The inputs and outputs of `SIGNATURE` that these rows make."""
    table = np.array([numbers for numbers, _ in rows], np.float32).T.copy()
    numbers: list[Array] = [column.reshape(-1, 1) for column in table]
    words = np.empty((len(NAMED), len(rows), 1), object)
    for place, (_, named) in enumerate(rows):
        words[:, place, 0] = named
    return numbers[: len(ASKED)], [*numbers[len(ASKED) :], *words]


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else "\n".join(parts)


def _dollars(happened: Happened) -> float:
    return nan if happened.cost is None else happened.cost * _PICO


def _tokens(happened: Happened) -> tuple[float, ...]:
    usage = happened.usage
    if usage is None:
        return nan, nan, nan, nan
    return usage.output, usage.input, usage.cache_read, usage.reasoning


def _times(happened: Happened, longest_gap_s: float) -> tuple[float, ...]:
    """Until the first content, between pieces, the longest of these, tokens per second, in all."""
    stamps = happened.stamps
    first = gap = pace = nan
    if happened.call.stream and happened.content_at:
        first = happened.content_at - happened.asked_at
    if len(stamps) > 1:
        gap = (stamps[-1] - stamps[0]) / (len(stamps) - 1)
    took = happened.last_byte_at - happened.asked_at
    if happened.usage is not None and took > 0.0:
        pace = happened.usage.output / took
    began = happened.asked_at if happened.copy else happened.arrived
    return first, gap, longest_gap_s, pace, happened.ended_at - began


def _calls(calls: Sequence[Called], offered: Sequence[str]) -> tuple[float, float, float]:
    """How many tools are called, whether all were offered, and whether all get an object."""
    if not calls:
        return 0.0, nan, nan
    return (
        len(calls),
        all(one.name in offered for one in calls),
        all(_is_object(one.arguments) for one in calls),
    )


def _is_json(text: str) -> float:
    if len(text) > MAX_JSON_CHARS:
        return nan
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return 0.0
    return 1.0


def _is_object(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text or "{}"), dict)
    except orjson.JSONDecodeError:
        return False
