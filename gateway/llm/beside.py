"""Holds what a shadow answered beside what was answered, request by request.

Knows requests that are over, twice each, and what is compared of them. Knows nothing of who counts
it, of when, or of threads: it is one function, which takes some 0.1 ms for a request.

Texts are compared and forgotten: what is left of them is how alike they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import Any, Final

import numpy as np

from gateway.llm.features import ASKED, FINISHES, SAID, Features, Row, joined, tensors
from gateway.llm.told import Happened
from gateway.tensors import Array
from gateway.wire.llm.reading import Reading
from gateway.wire.llm.words import Dialect
from kernels import answers
from kernels.likeness import TABLE_WORDS, likeness, points_of

Reals = np.ndarray[Any, np.dtype[np.float64]]
Twice = tuple[Happened, Happened]
"""What happened to a request, and to its copy."""

_PLACES: Final = {name: place for place, name in enumerate((*ASKED, *SAID))}
# As `kernels.answers` has them, less those that are no feature as it stands.
_FLAGS: Final = [_PLACES[name] for name in ("refused", "empty", "json_valid")]
_FINISH_CODES: Final = {word: float(code) for code, word in enumerate(FINISHES)}
_NOTHING_SAID: Final = (nan,) * len(answers.ASPECTS)
_NO_READING: Final = Reading()


@dataclass(frozen=True, slots=True)
class Beside:
    """Requests that two versions have answered.

    Attributes:
        inputs: what was asked, as the tensors of `features.SIGNATURE`.
        outputs: features of what was answered.
        shadow: of what the shadow said.
        first, second: (requests, answers.COLUMNS) what is compared of the two.
        alike: (requests,) how alike both texts are; NaN: there is none.
    """

    inputs: Sequence[Array]
    outputs: Sequence[Array | None]
    shadow: Sequence[Array | None]
    first: Reals
    second: Reals
    alike: Reals


def beside(pairs: Sequence[Twice]) -> Beside:
    """What there is to compare of some requests, each of which was answered twice."""
    features, table = Features(), np.empty(TABLE_WORDS, np.uint64)
    rows: tuple[list[Row], list[Row]] = ([], [])
    compared: tuple[list[tuple[float, ...]], list[tuple[float, ...]]] = ([], [])
    alike = []
    for pair in pairs:
        tools = _tools(*pair)
        for side, happened in enumerate(pair):
            row = features.row(happened, _longest_gap(happened.stamps))
            rows[side].append(row)
            compared[side].append(
                (*_aspects(happened, row, tools[side]), *_measures(happened, row))
            )
        texts = [points_of(joined(_said(happened).texts)) for happened in pair]
        alike.append(likeness(texts[0], texts[1], table))
    inputs, outputs = tensors(rows[0])
    first, second = (np.array(one, np.float64) for one in compared)
    return Beside(inputs, outputs, tensors(rows[1])[1], first, second, np.array(alike, np.float64))


def _said(happened: Happened) -> Reading:
    return happened.reading or _NO_READING


def _aspects(happened: Happened, row: Row, tools: float) -> tuple[float, ...]:
    """The aspects of `kernels.answers`; embeddings say nothing that agrees or does not."""
    spoken = happened.spoken
    if spoken is not None and spoken.client is Dialect.EMBEDDINGS:
        return _NOTHING_SAID
    numbers, (finish, _) = row
    return (_FINISH_CODES[finish], *(numbers[place] for place in _FLAGS), tools)


def _measures(happened: Happened, row: Row) -> tuple[float, ...]:
    """The measures of `kernels.answers`.

    Both are timed from the moment on that the upstream was asked: a copy has not arrived anywhere,
    and nobody reads it slowly.
    """
    numbers = row[0]
    return (
        numbers[_PLACES["output_tokens"]],
        numbers[_PLACES["first_token_s"]],
        happened.last_byte_at - happened.asked_at,
        numbers[_PLACES["cost_usd"]],
    )


def _tools(first: Happened, second: Happened) -> tuple[float, float]:
    """What both call, by names: 0 for nothing, the same where they are; NaN: neither calls any."""
    was, now = (sorted(call.name for call in _said(one).calls) for one in (first, second))
    if not was and not now:
        return nan, nan
    if was and now and was != now:
        return 1.0, 2.0
    return float(bool(was)), float(bool(now))


def _longest_gap(stamps: Sequence[float]) -> float:
    return float(np.diff(stamps).max()) if len(stamps) > 1 else nan
