"""Leaves out of a stream the usage that was asked for on the gateway's own account.

Knows where chat's events have it, and how they are written. Knows nothing of what it is read for.
"""

from __future__ import annotations

from typing import Final

import orjson

from gateway.wire.llm.crowds import crowd_answered
from gateway.wire.llm.sse import DONE, Frames, event_of

_NULL_AT_END: Final = b',"usage":null}\n\n'


def without_usage(cutter: Frames, data: bytes) -> bytes:
    """Whole events of what came, without what was asked for on the gateway's own account."""
    if data.endswith(b"\n\n") and not cutter.kept:
        if data.endswith(_NULL_AT_END):
            data = data[: -len(_NULL_AT_END)] + b"}\n\n"
        # From behind: that takes half as long.
        if data.rfind(b'"usage"') < 0:
            return data
        data = without_nulls(data)
        if b'"usage"' not in data:
            return data
    frames = cutter.feed(data)
    data = b"".join(frames)
    if b'"usage"' in data:
        data = b"".join([one for one in frames if not _is_usage(event_of(one)[1])])
    if b"\r" in data:  # every line end means the same; one of two bytes may have come in halves
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return without_nulls(data)


def without_nulls(data: bytes) -> bytes:
    """Inside a JSON string the quotes would have backslashes: this is never somebody's text."""
    if b'"usage":null' in data:
        return data.replace(b',"usage":null', b"")
    return data.replace(b', "usage": null', b"")


def _is_usage(payload: bytes) -> bool:
    """Whether an event tells of usage and of nothing else."""
    if b'"usage"' not in payload or payload == DONE or crowd_answered(payload):
        return False
    try:
        values = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return False
    return isinstance(values, dict) and values.get("choices") == [] and bool(values.get("usage"))
