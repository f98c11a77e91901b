"""Whether there is memory for one more model.

Knows what the kernel says of this machine and this process's control group. Knows nothing of
models.
"""

from __future__ import annotations

from pathlib import Path

from gateway.errors import ModelRefused

# While a model is read, its file and its weights stand side by side; later, weights that were
# rearranged for speed stand beside the originals.
COPIES = 2
_UNLIMITED = 1 << 60


def available_bytes(root: Path = Path("/")) -> int | None:
    """Memory that this process may still take without being killed; None where nobody says.

    Args:
        root: where `proc` and `sys` are found.
    """
    found = [_meminfo(root / "proc/meminfo"), _group(root)]
    return min((size for size in found if size is not None), default=None)


def require(file_bytes: int, available: int | None) -> None:
    """Refuses a model that memory would not hold.

    Raises:
        ModelRefused: `COPIES` times its files are more than is available.
    """
    needed = COPIES * file_bytes
    if available is not None and needed > available:
        raise ModelRefused(
            f"needs about {_mb(needed)} MB of memory to load, {_mb(available)} MB are available"
        )


def _mb(size: int) -> int:
    return -(-size // 1_000_000)


def _meminfo(path: Path) -> int | None:
    for line in _lines(path):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _group(root: Path) -> int | None:
    """What the tightest control group above this process leaves; version 2, else version 1."""
    found = []
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            names = ("memory.max", "memory.current", "inactive_file")
            base = root / "sys/fs/cgroup"
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            base = root / "sys/fs/cgroup/memory"
        else:
            continue
        # Inside a container the path may name a folder of the host: then only the base is there.
        parts = [part for part in path.split("/") if part not in ("", "..")]
        found += [_left(base.joinpath(*parts[:depth]), names) for depth in range(len(parts) + 1)]
    return min((size for size in found if size is not None), default=None)


def _left(folder: Path, names: tuple[str, str, str]) -> int | None:
    limit, used = (_number(folder / name) for name in names[:2])
    if limit is None or used is None or limit >= _UNLIMITED:
        return None
    for line in _lines(folder / "memory.stat"):
        if line.startswith(f"{names[2]} "):
            used -= int(line.split()[1])  # cached file pages: given back when memory is wanted
    return max(limit - max(used, 0), 0)


def _number(path: Path) -> int | None:
    lines = _lines(path)
    return int(lines[0]) if lines and lines[0].isdigit() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
