"""Pieces of an event stream, as dialects make them and connections send them.

Knows nothing of what stands in them, or of time.
"""

from __future__ import annotations

from typing import NamedTuple

EOLS = {"lf": b"\n", "crlf": b"\r\n", "cr": b"\r"}


class Piece(NamedTuple):
    """A frame of an event stream, with line feeds; and whether it is one of the answer's tokens."""

    frame: bytes
    token: bool = False


def framed(data: bytes, event: str = "") -> bytes:
    """An event frame."""
    return b"event: %s\ndata: %s\n\n" % (event.encode(), data) if event else b"data: %s\n\n" % data


def with_eol(frame: bytes, eol: str) -> bytes:
    """The same with other ends of lines."""
    return frame if eol == "lf" else frame.replace(b"\n", EOLS[eol])
