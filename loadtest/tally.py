"""What came of a stream of requests: counts of every ending, and histograms of latency.

Knows numbers only. Knows nothing of sockets, schedules or HTTP beyond status codes.

Latencies are appended raw while the load runs (30 ns each) and enter an HDR histogram afterwards:
recording into one takes microseconds in Python, which the load's own core does not have to spare.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hdrh.histogram import HdrHistogram

# Ten minutes in microseconds; three significant digits, so every figure is right to 0.1 %.
HIGHEST_US = 600_000_000
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}
REFUSALS = frozenset({429, 503})


def histogram(seconds: Any) -> HdrHistogram:
    """An HDR histogram, in microseconds, of latencies in seconds."""
    made = HdrHistogram(1, HIGHEST_US, 3)
    micros = np.clip(np.rint(np.asarray(seconds, np.float64) * 1e6), 1, HIGHEST_US)
    for value, count in zip(*np.unique(micros.astype(np.int64), return_counts=True), strict=True):
        made.record_value(int(value), int(count))
    return made


def summary_ms(made: HdrHistogram) -> dict[str, float]:
    """Percentiles, mean and maximum in milliseconds; empty where nothing was recorded."""
    if not made.get_total_count():
        return {}
    figures = {name: made.get_value_at_percentile(at) / 1e3 for name, at in PERCENTILES.items()}
    return figures | {"mean": made.get_mean_value() / 1e3, "max": made.get_max_value() / 1e3}


@dataclass(slots=True)
class Tally:
    """Counts of one stream. Every request that was sent ends in exactly one of them.

    Attributes:
        ok: latencies of answers with status 200, from the intended start.
        others: latencies by any other status.
        cut: the connection was lost while the request was out.
        timeouts: no answer in time.
        hang_ups: we left on purpose.
        unsent: due, but no connection came free before the end.
        never: how long those waited that got no answer (timeouts and unsent): they took at least
            this long, and leaving them out of the percentiles would hide exactly the worst.
        open: connections that were open at the end of the window.
        late: arrivals which the generator itself issued over a millisecond behind schedule.
        seen: first and last answer and their number, by the server process that answered.
        cut_at: lost requests by the server process that their connection last spoke to.
    """

    sent: int = 0
    ok: array[float] = field(default_factory=lambda: array("d"))
    others: dict[int, array[float]] = field(default_factory=dict)
    cut: int = 0
    timeouts: int = 0
    hang_ups: int = 0
    unsent: int = 0
    connect_errors: int = 0
    bad_answers: int = 0
    reconnects: int = 0
    open: int = 0
    late: int = 0
    never: array[float] = field(default_factory=lambda: array("d"))
    seen: dict[str, list[float]] = field(default_factory=dict)
    cut_at: dict[str, int] = field(default_factory=dict)

    def other(self, status: int, latency: float) -> None:
        self.others.setdefault(status, array("d")).append(latency)

    def answered(self) -> int:
        return len(self.ok) + sum(len(those) for those in self.others.values())

    def document(self, seconds: float, in_window: int) -> dict[str, Any]:
        """All of it as plain values.

        Args:
            seconds: length of the measured window.
            in_window: good answers that came inside it; later ones are counted, not rated.
        """
        refused = [value for status in REFUSALS for value in self.others.get(status, ())]
        # Refused requests answer fast and would flatter; unanswered ones must not vanish.
        waited = np.concatenate([np.frombuffer(self.ok), np.frombuffer(self.never)])
        made = histogram(waited)
        return {
            "sent": self.sent,
            "ok": len(self.ok),
            "answered": self.answered(),
            "rps": in_window / seconds,
            "statuses": {"200": len(self.ok)}
            | {str(s): len(v) for s, v in sorted(self.others.items())},
            "cut": self.cut,
            "timeouts": self.timeouts,
            "hang_ups": self.hang_ups,
            "unsent": self.unsent,
            "connect_errors": self.connect_errors,
            "bad_answers": self.bad_answers,
            "reconnects": self.reconnects,
            "open": self.open,
            "late": self.late,
            "latency_ms": summary_ms(made),
            "refused_ms": summary_ms(histogram(refused)),
            "hdr": made.encode().decode(),
            "seen": self.seen,
            "cut_at": self.cut_at,
        }


def failed(document: dict[str, Any]) -> int:
    """Requests of a stream that were neither answered with 200 nor left on purpose."""
    bad = sum(count for status, count in document["statuses"].items() if status != "200")
    return int(
        bad + document["cut"] + document["timeouts"] + document["unsent"] + document["bad_answers"]
    )
