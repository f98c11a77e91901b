"""A model's counters in the fields of Triton's statistics extension.

Knows those fields and what each includes. Knows nothing of paths or bodies.

Where the figures differ from Triton's: batches of more than `timing.MAX_SIZE` rows share the entry
of the next size; there is no response cache, so its two entries stay zero; `fail` includes what was
refused, as Triton's does.
"""

from __future__ import annotations

from typing import Any

from gateway.monitor.report import ModelCounters


def statistics(model: ModelCounters) -> dict[str, Any]:
    """One entry of `model_stats`."""
    riders = model.riders
    return {
        "name": model.name,
        "version": model.version,
        "last_inference": model.last_ms,
        "inference_count": model.rows,
        "execution_count": model.executions,
        "inference_stats": {
            "success": _duration(model.results["ok"], model.phase_ns["total"]),
            "fail": _duration(model.results["failed"] + model.results["refused"], model.fail_ns),
            "queue": _duration(riders, model.phase_ns["queue"]),
            "compute_input": _duration(riders, model.input_ns),
            "compute_infer": _duration(riders, model.infer_ns),
            "compute_output": _duration(riders, model.output_ns),
            "cache_hit": _duration(0, 0),
            "cache_miss": _duration(0, 0),
        },
        "response_stats": {},
        "batch_stats": [
            {
                "batch_size": size.rows,
                "compute_input": _duration(size.batches, size.input_ns),
                "compute_infer": _duration(size.batches, size.infer_ns),
                "compute_output": _duration(size.batches, size.output_ns),
            }
            for size in model.sizes
        ],
        "memory_usage": [],
    }


def _duration(count: int, ns: int) -> dict[str, int]:
    return {"count": count, "ns": ns}
