"""Large JSON requests: arrays of numbers are cut out before the rest is decoded.

Knows where such an array begins and ends in a text. Knows nothing of what else the text says.

The rest, with a mark in the place of each array, is decoded as any other request; a mark that is
found as an input's `data` says which piece of the text belongs there. That the piece is JSON is
seen when it is read. Whatever does not fit this picture is read the long way.
"""

from __future__ import annotations

import re
import secrets
from typing import NamedTuple

import numpy as np

from gateway.tensors import DTYPES, Array
from gateway.wire.oip.head import Part
from kernels.numbers import read_floats

MIN_SPAN = 1024
MAX_SPANS = 64
MAX_OPENINGS = 256
"""Short arrays count as well: a body of nothing else must not be looked through for long."""
MAX_TAIL = 512
"""What lies between an array and the next string: brackets, a comma, white space."""

# Random, so that no client can write one.
_MARK = secrets.token_hex(16)
_OPENING = re.compile(rb'"data"[ \t\r\n]*:[ \t\r\n]*((?:\[[ \t\r\n]*){1,16})[-0-9]')
_CLOSING = {rank: re.compile(rb"[ \t\r\n]*".join([rb"\]"] * rank)) for rank in range(1, 17)}


class Span(NamedTuple):
    """A piece of the text, brackets included, whose brackets nest `rank` deep."""

    start: int
    stop: int
    rank: int

    def read(self, body: bytes, part: Part) -> Array | None:
        """The input that stands here, or None: something in it only the long way can read."""
        if part.spec.datatype not in ("FP32", "FP64"):
            return None
        if self.rank == 1:
            nesting: tuple[int, ...] = (part.elements,)
        elif self.rank == len(part.shape):
            nesting = part.shape
        else:
            return None
        flat = np.empty(part.elements, DTYPES[part.spec.datatype])
        if not read_floats(body, self.start, self.stop, nesting, flat):
            return None
        return flat.reshape(part.shape)


def cut_out(body: bytes) -> tuple[bytes, dict[str, Span]]:
    """Takes the large arrays of numbers out of a text.

    Returns:
        The text with marks in their place, and for each mark what it stands for. Nothing is
        certain of a piece but that it begins like an array of numbers and ends like one.
    """
    pieces: list[bytes] = []
    spans: dict[str, Span] = {}
    kept = at = 0
    for _ in range(MAX_OPENINGS):
        opening = _OPENING.search(body, at)
        if opening is None:
            break
        rank = opening[1].count(b"[")
        stop = _end(body, opening.end(), rank)
        if stop is None:
            break
        at = stop
        start = opening.start(1)
        if stop - start < MIN_SPAN or len(spans) == MAX_SPANS:
            continue
        mark = f"{_MARK}{len(spans)}"
        pieces += (body[kept:start], b'"%b"' % mark.encode())
        spans[mark] = Span(start, stop, rank)
        kept = stop
    pieces.append(body[kept:])
    return b"".join(pieces), spans


def _end(body: bytes, at: int, rank: int) -> int | None:
    # Numbers hold no quotes, so that the brackets that close all of the array stand shortly before
    # the next one; a single byte is found ten times as fast as a row of brackets.
    quote = body.find(b'"', at)
    limit = len(body) if quote < 0 else quote
    start = max(at, limit - MAX_TAIL)
    found = body.find(b"]" * rank, start, limit)
    if found >= 0:
        return found + rank
    closing = _CLOSING[rank].search(body, start, limit)
    return None if closing is None else closing.end()
