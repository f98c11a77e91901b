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

from gateway.llm.features import ASKED, FINISHES, SAID, Rows, joined
from gateway.llm.phrases import Phrases
from gateway.llm.told import Happened
from gateway.tensors import Array
from gateway.wire.llm.reading import Reading
from gateway.wire.llm.words import Dialect
from kernels import texts
from kernels.likeness import TABLE_WORDS, likeness, points_of

Reals = np.ndarray[Any, np.dtype[np.float64]]
Twice = tuple[Happened, Happened]
"""What happened to a request, and to its copy."""

_PLACES: Final = {name: place for place, name in enumerate((*ASKED, *SAID))}
# As `kernels.answers` has them, less those that are no feature as it stands.
_FLAGS: Final = [_PLACES[name] for name in ("refused", "empty", "json_valid")]
_FINISH_CODES: Final = {word: float(code) for code, word in enumerate(FINISHES)}
_MEASURED: Final = [_PLACES[name] for name in ("output_tokens", "first_token_s", "cost_usd")]
_NO_READING: Final = Reading()


@dataclass(frozen=True, slots=True)
class Beside:
    """Requests that two versions have answered.

    Attributes:
        inputs: what was asked, as the tensors of `features.SIGNATURE`.
        outputs: features of what was answered.
        shadow: of what the shadow said.
        first, second: (requests, `kernels.answers.COLUMNS`) what is compared of the two.
        alike: (requests,) how alike both texts are; NaN: there is none.
    """

    inputs: Sequence[Array]
    outputs: Sequence[Array | None]
    shadow: Sequence[Array | None]
    first: Reals
    second: Reals
    alike: Reals


def beside(phrases: Phrases, pairs: Sequence[Twice]) -> Beside:
    """What there is to compare of some requests, each of which was answered twice.

    Args:
        phrases: in which their model refuses.
        pairs: the requests.
    """
    table = np.zeros(texts.TABLE_WORDS, np.int64)
    rows = Rows(table, phrases, len(pairs)), Rows(table, phrases, len(pairs))
    for pair in pairs:
        for row, happened in zip(rows, pair, strict=True):
            row.add(happened, _said(happened), _longest_gap(happened.stamps))
    (inputs, outputs), (_, shadow) = (one.tensors() for one in rows)
    tools = np.array([_tools(*pair) for pair in pairs], np.float64).T
    first, second = (
        _compared(one, [pair[side] for pair in pairs], tools[side]) for side, one in enumerate(rows)
    )
    return Beside(inputs, outputs, shadow, first, second, _alike(pairs))


def _alike(pairs: Sequence[Twice]) -> Reals:
    table = np.empty(TABLE_WORDS, np.uint64)
    points = [[points_of(joined(_said(one).texts)) for one in pair] for pair in pairs]
    return np.array([likeness(one, other, table) for one, other in points], np.float64)


def _said(happened: Happened) -> Reading:
    return happened.reading or _NO_READING


def _compared(rows: Rows, happened: Sequence[Happened], tools: Reals) -> Reals:
    """(requests, `kernels.answers.COLUMNS`) of one side.

    Both sides are timed from the moment on that the upstream was asked: a copy has not arrived
    anywhere, and nobody reads it slowly. Embeddings say nothing that agrees or does not.
    """
    numbers = rows.numbers
    finishes = [_FINISH_CODES[word] for word in rows.finishes]
    aspects = np.column_stack((finishes, numbers[:, _FLAGS], tools))
    aspects[[_is_embedding(one) for one in happened]] = nan
    tokens, first_token, cost = numbers[:, _MEASURED].T
    took = [one.last_byte_at - one.asked_at for one in happened]
    # Of columns numpy makes a block that lies column by column, which the kernel does not take.
    return np.ascontiguousarray(np.column_stack((aspects, tokens, first_token, took, cost)))


def _is_embedding(happened: Happened) -> bool:
    spoken = happened.spoken
    return spoken is not None and spoken.client is Dialect.EMBEDDINGS


def _tools(first: Happened, second: Happened) -> tuple[float, float]:
    """What both call, by names: 0 for nothing, the same where they are.

    NaN: neither calls any, or not all calls are known.
    """
    if not (_said(first).complete and _said(second).complete):
        return nan, nan
    was, now = (sorted(call.name for call in _said(one).calls) for one in (first, second))
    if not was and not now:
        return nan, nan
    if was and now and was != now:
        return 1.0, 2.0
    return float(bool(was)), float(bool(now))


def _longest_gap(stamps: Sequence[float]) -> float:
    return float(np.diff(stamps).max()) if len(stamps) > 1 else nan
