"""What tests need of a GPU: whether there is one, and how much of its memory is taken."""

from __future__ import annotations

import ctypes
import subprocess

import onnxruntime as ort
import pytest

from gateway.devices import CUDA, count_gpus

GPUS = count_gpus() if CUDA in ort.get_available_providers() else 0
NEEDS_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not GPUS, reason="no GPU, or no CUDA provider"),
]


def taken_bytes() -> int:
    """Memory of the first GPU that anybody has taken."""
    cuda = ctypes.CDLL("libcuda.so.1")
    context, free, total = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t()
    calls = (
        lambda: cuda.cuInit(0),
        lambda: cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0),
        lambda: cuda.cuCtxSetCurrent(context),
        lambda: cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)),
    )
    for number, call in enumerate(calls):
        assert (status := call()) == 0, f"CUDA call {number} returned {status}"
    return total.value - free.value


def holders() -> dict[int, int]:
    """Bytes that each process holds of the GPUs' memory, by its id."""
    command = ["nvidia-smi", "--query-compute-apps=pid,used_memory"]
    command.append("--format=csv,noheader,nounits")
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = (line.split(",") for line in told.splitlines() if line.strip())
    return {int(pid): int(size) << 20 for pid, size in lines}
