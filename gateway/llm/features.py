"""What is watched of each answer of a language model, as tensors that profiles know.

Knows requests that are over, and what profiles take. Knows nothing of what is made of the values.
Each feature is a tensor of its own, so that reports call it by its name. NaN where there is nothing
to say.

Answers are read once they were written, as a whole: no chunk of a stream is looked at for this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from math import nan
from struct import Struct
from typing import Final

import numpy as np
import orjson

from gateway.llm.phrases import Phrases
from gateway.llm.told import Happened
from gateway.tensors import Array, Signature, TensorSpec
from gateway.wire.llm.reading import Called, Reading
from gateway.wire.llm.words import Usage
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
_NO_TEXT: Final = ("",)
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
_OTHER: Final = b"other"
FINISHES: Final = (*dict.fromkeys(_FINISHES.values()), _OTHER)
"""All words of that set."""
_SCRIPTS: Final = [name.encode() for name in texts.SCRIPTS]

_NUMBERS: Final = (*ASKED, *SAID)
_WIDTH: Final = len(_NUMBERS)
_PACK: Final[Callable[..., None]] = Struct(f"{_WIDTH}d").pack_into
_ROW_BYTES: Final = 8 * _WIDTH
_CALLED, _EMPTY = _NUMBERS.index("tool_calls"), _NUMBERS.index("empty")
_REPEATED: Final = _NUMBERS.index("repetition")
_OF_ALL_WORDS: Final = [
    _NUMBERS.index(name)
    for name in ("refused_in_words", "json_valid", "tools_known", "arguments_valid", "repetition")
]
"""What nobody knows of an answer that is not wholly kept."""
_LATER: Final = nan
"""What is known once the texts are read, of all rows at once."""
_NO_CALLS: Final = (0.0, nan, nan)
_NO_USAGE: Final = (nan, nan, nan, nan)


class Rows:
    """Features of requests that were answered, read one by one.

    What a kernel tells of their texts is told of all by one call, at the end; but for phrases of
    refusal, which one short call for each row finds absent from nearly all.

    Attributes:
        numbers: (rows, ASKED and SAID); what the texts tell is there once `tensors` was asked.
        finishes: why each ended, one of FINISHES.
    """

    def __init__(self, table: texts.Table, phrases: Phrases, count: int) -> None:
        """Has none.

        Args:
            table: (texts.TABLE_WORDS,) for the kernel; others on this thread may use it, too.
            phrases: in which the model refuses.
            count: of rows that will be added.
        """
        self._table = table
        self._phrases = phrases
        self.numbers = np.zeros((count, _WIDTH))
        self._texts: list[bytes] = []
        self._firsts: list[int] = []  # of each row, among the texts
        self._incomplete: list[int] = []  # rows
        self.finishes: list[bytes] = []

    def add(self, happened: Happened, reading: Reading, longest_gap_s: float) -> None:
        """Reads one request that was answered.

        Args:
            happened: to it.
            reading: of its answer.
            longest_gap_s: between two pieces of its answer; NaN where there was none.
        """
        call, usage = happened.call, happened.usage
        prompt, calls, said = call.prompt, reading.calls, reading.texts or _NO_TEXT
        most, cost = call.max_output_tokens, happened.cost
        _PACK(
            self.numbers,
            len(self.finishes) * _ROW_BYTES,
            prompt.chars,
            prompt.messages,
            len(prompt.tools),
            nan if most is None else most,
            *(_NO_USAGE if usage is None else _tokens(usage)),
            reading.text_chars,
            *_times(happened, longest_gap_s),
            nan if cost is None else cost * _PICO,
            reading.refused,
            self._phrases.found(said[0]),
            _LATER,
            _are_json(said) if prompt.json_wanted else nan,
            *(_calls(calls, prompt.tools) if calls else _NO_CALLS),
            _LATER,
        )
        if not reading.complete:
            self._incomplete.append(len(self.finishes))
        self.finishes.append(_FINISHES.get(reading.finish, _OTHER))
        self._firsts.append(len(self._texts))
        most = texts.MAX_BYTES // len(said)
        for text in said:
            # In UTF-8 it is no shorter than in characters: of those no more need be written so.
            self._texts.append(text[-most:].encode(errors="replace")[-most:])

    def tensors(self) -> tuple[list[Array], list[Array | None]]:
        """The inputs and outputs of `SIGNATURE` that the rows make."""
        figures, numbers = self._read(), self.numbers
        numbers[:, _EMPTY] = (figures[:, texts.VISIBLE] == 0.0) & (numbers[:, _CALLED] == 0.0)
        numbers[:, _REPEATED] = figures[:, texts.REPEATED]
        if self._incomplete:
            numbers[np.ix_(self._incomplete, _OF_ALL_WORDS)] = nan
        columns: list[Array] = list(np.ascontiguousarray(numbers.T, np.float32)[:, :, None])
        words = np.empty((len(NAMED), len(figures), 1), object)
        words[0, :, 0] = self.finishes
        words[1, :, 0] = [_SCRIPTS[int(script)] for script in figures[:, texts.SCRIPT].tolist()]
        return columns[: len(ASKED)], [*columns[len(ASKED) :], *words]

    def _read(self) -> texts.Figures:
        """(rows, texts.FIGURES) of what was answered, each choice of an answer read by itself."""
        figures = np.empty((len(self._texts), texts.FIGURES))
        ends = np.fromiter(accumulate(map(len, self._texts)), np.int64)
        joined = np.frombuffer(bytearray().join(self._texts), np.uint8)
        texts.read_texts(joined, ends, self._table, figures)
        if len(figures) == len(self._firsts):
            return figures
        # Of several choices the first is what the row is in; one that goes in circles is enough.
        found = figures[self._firsts]
        for place, gather in ((texts.VISIBLE, np.add), (texts.REPEATED, np.fmax)):
            found[:, place] = gather.reduceat(figures[:, place], self._firsts)
        return found


def joined(parts: Sequence[str]) -> str:
    """All that an answer shows."""
    return parts[0] if len(parts) == 1 else "\n".join(parts)


def _tokens(usage: Usage) -> tuple[float, ...]:
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
    return (
        len(calls),
        {one.name for one in calls} <= set(offered),
        all(_is_object(one.arguments) for one in calls),
    )


def _are_json(said: Sequence[str]) -> float:
    """Whether each choice of an answer is JSON."""
    if sum(map(len, said)) > MAX_JSON_CHARS:
        return nan
    try:
        for text in said:
            orjson.loads(text)
    except orjson.JSONDecodeError:
        return 0.0
    return 1.0


def _is_object(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text or "{}"), dict)
    except orjson.JSONDecodeError:
        return False
