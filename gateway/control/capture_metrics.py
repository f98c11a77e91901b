"""What `/metrics` says of captured rows: names, labels and units.

Knows what became of rows. Knows nothing of rings or files. Versions of which nothing was ever
captured have no series.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gateway.control.captured_rows import Facts


def families(found: Sequence[Facts]) -> Iterator[Metric]:
    """All metrics of all versions."""
    labels = ["model", "version"]
    text = "Rows whose inputs and outputs workers kept."
    rows = CounterMetricFamily("penstock_capture_rows", text, labels=labels)
    text = "Rows that were to be kept and are not, by why."
    dropped = CounterMetricFamily("penstock_capture_dropped_rows", text, labels=[*labels, "reason"])
    text = "Rows that are kept and in no file yet."
    waiting = GaugeMetricFamily("penstock_capture_waiting_rows", text, labels=labels)
    text = "Size of the files of captured rows."
    nbytes = GaugeMetricFamily("penstock_capture_files_bytes", text, labels=labels)
    text = "When the oldest captured row that there is was answered."
    oldest = GaugeMetricFamily("penstock_capture_oldest_timestamp_seconds", text, labels=labels)
    for one in found:
        version = (one.model, str(one.version))
        rows.add_metric(version, one.captured)
        for reason, count in one.dropped.items():
            dropped.add_metric((*version, reason), count)
        waiting.add_metric(version, one.waiting)
        nbytes.add_metric(version, one.nbytes)
        if one.oldest_ms is not None:
            oldest.add_metric(version, one.oldest_ms / 1000.0)
    yield from (rows, dropped, waiting, nbytes, oldest)
