"""What ONNX Runtime's CUDA provider is told, and the libraries that it needs.

Knows the provider's options. Knows nothing of models or sessions, and nothing here may be called
before a fork: see `gateway.devices`.
"""

from __future__ import annotations

import contextlib
import functools
import io
import threading

import onnxruntime as ort

_LOADING = threading.Lock()  # models load on several threads


def options(number: str, tf32: bool) -> dict[str, str]:
    """The provider's options for one GPU."""
    return {
        "device_id": number,
        # The next power of two would take memory that another model or process could have.
        "arena_extend_strategy": "kSameAsRequested",
        # Searching the best convolution anew for each batch size would cost seconds, again and
        # again.
        "cudnn_conv_algo_search": "HEURISTIC",
        # It keeps ten bits of each factor's fraction, and from the fourth digit on a row's answer
        # would depend on how many rows are beside it.
        "use_tf32": str(int(tf32)),
    }


def load_libraries() -> str:
    """Loads CUDA's libraries, as pip packages bring them or the system's.

    Returns:
        The first that did not load, and why, or "".
    """
    with _LOADING:
        return _load()


@functools.cache
def _load() -> str:
    told = io.StringIO()
    # What is missing it prints, among the lines of `penstock serve` itself.
    with contextlib.redirect_stdout(told):
        ort.preload_dlls()
    # Failed to load libx.so: libx.so: cannot open ...
    missed = [line for line in told.getvalue().splitlines() if line.startswith("Failed to load ")]
    return missed[0].partition(": ")[2] if missed else ""
