"""How long the phases of a request took, as `Server-Timing` tells it.

Knows stamps and the header's format. Knows nothing of what a phase does.
"""

from __future__ import annotations

from gateway.exchange import Phases

SERVER_TIMING = b"server-timing"


def server_timing(arrived: float, phases: Phases | None, now: float) -> bytes:
    """The header's value, in milliseconds; `total` alone where the phases are not known.

    Args:
        arrived: when the request's first byte was read.
        phases: when it went from room to room.
        now: when its answer is about to be written.
    """
    total = b"total;dur=%.3f" % ((now - arrived) * 1e3)
    if phases is None:
        return total
    queued, started, finished = phases
    return b"decode;dur=%.3f, queue;dur=%.3f, infer;dur=%.3f, encode;dur=%.3f, %b" % (
        (queued - arrived) * 1e3,
        (started - queued) * 1e3,
        (finished - started) * 1e3,
        (now - finished) * 1e3,
        total,
    )
