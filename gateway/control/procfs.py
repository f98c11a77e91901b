"""What the kernel says of processes and of the machine: CPU seconds and memory.

Knows the files under /proc. Knows nothing of metrics. Where a file is missing (a process that has
just ended, another operating system) the answer is none.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """One process.

    Attributes:
        cpu_s: user and system CPU time since it was born.
        rss_bytes: resident memory, pages shared with others included.
        threads: how many.
    """

    cpu_s: float
    rss_bytes: int
    threads: int


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine, since it was started.

    Attributes:
        busy_s, total_s: CPU time over all cores.
        memory_bytes, used_bytes: physical memory, and what of it is not available.
    """

    busy_s: float
    total_s: float
    memory_bytes: int
    used_bytes: int


def process_usage(pid: int, proc: Path = _PROC) -> ProcessUsage | None:
    """CPU and memory of a process, or none where it is not to be seen."""
    try:
        text = (proc / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The command, in parentheses, may itself hold blanks and parentheses.
    fields = text.rpartition(")")[2].split()
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    ticks = int(fields[11]) + int(fields[12])
    return ProcessUsage(ticks / tick, int(fields[21]) * page, int(fields[17]))


def machine(proc: Path = _PROC) -> Machine | None:
    """CPU time and memory of the machine, or none where it is not to be seen."""
    try:
        cpu = (proc / "stat").read_text().partition("\n")[0].split()[1:]
        lines = (proc / "meminfo").read_text().splitlines()
    except OSError:
        return None
    tick = os.sysconf("SC_CLK_TCK")
    # user nice system idle iowait irq softirq steal; guest time is in user already.
    ticks = [int(field) for field in cpu[:8]]
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    total, available = kib["MemTotal"] << 10, kib.get("MemAvailable", 0) << 10
    idle = ticks[3] + ticks[4]
    return Machine((sum(ticks) - idle) / tick, sum(ticks) / tick, total, total - available)
