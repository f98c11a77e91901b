"""Which GPUs there are, which of them a worker takes, and how many workers that makes.

Knows CUDA's environment variable and where the driver shows its devices. Knows nothing of ONNX
Runtime and never calls CUDA: the supervisor asks here before it forks, and a process that was
forked after CUDA had started could not use it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from gateway.config import Config

CUDA = "CUDAExecutionProvider"
"""What ONNX Runtime calls it. Whether it is installed is for others to ask: see `used_gpus`."""
VISIBLE = "CUDA_VISIBLE_DEVICES"


def count_gpus(environ: Mapping[str, str] = os.environ, root: Path = Path("/")) -> int:
    """How many GPUs CUDA will show a process of this server.

    Args:
        environ: `CUDA_VISIBLE_DEVICES` narrows and reorders what there is.
        root: where `proc` and `dev` are found.
    """
    driver = len(list(root.glob("proc/driver/nvidia/gpus/*")))
    nodes = len(list(root.glob("dev/nvidia[0-9]*")))
    # A container may see all of the driver's list and be given few of its devices; and before the
    # first use of a GPU its device may not have been made yet.
    present = min(driver, nodes) or max(driver, nodes)
    listed = environ.get(VISIBLE)
    return present if listed is None else _listed(listed, present)


def _listed(listed: str, present: int) -> int:
    """How many entries CUDA would take: it stops at the first that is no device."""
    seen: set[str] = set()
    for entry in (part.strip() for part in listed.split(",")):
        if entry.startswith("MIG-"):
            return 1  # a process gets one slice of a GPU, however many are listed
        known = entry.startswith("GPU-") or (entry.isdecimal() and int(entry) < present)
        if not known or entry in seen or len(seen) == present:
            break
        seen.add(entry)
    return len(seen)


def share(slot: int, gpus: int) -> int:
    """The GPU of a worker slot: each gets its own while there are enough, then they go round."""
    return slot % gpus if gpus else 0


def number(device: str, gpu: int) -> int:
    """The GPU that `device` means in a worker whose share is `gpu`; `cuda:N` is taken literally."""
    own = device.partition(":")[2]
    return int(own) if own else gpu


def used_gpus(config: Config, gpus: int) -> int:
    """On how many GPUs the models of a document would run.

    Args:
        config: what it leaves open (files, folders, registered models) runs where `defaults` say.
        gpus: what `count_gpus` found; 0 where nothing is installed that could use them.
    """
    devices = {config.defaults.device, *(config.settings(name).device for name in config.models)}
    if devices & {"auto", "cuda"}:
        return gpus
    return len({number(device, 0) for device in devices - {"cpu"}} & set(range(gpus)))


def default_workers(config: Config, gpus: int, cores: int) -> int:
    """One worker per GPU in use, else one per core.

    A worker holds every model: more of them on one GPU would hold the same weights in its memory
    again, and one is enough to keep it busy.
    """
    return used_gpus(config, gpus) or cores
