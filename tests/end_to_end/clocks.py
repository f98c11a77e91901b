"""A wall clock that a test moves under a whole server, as a bad time source would.

The system's own clock is shared with everything on the machine, and time namespaces leave it alone.
So a few lines of C stand before libc's and shift what Python, SQLite and OpenSSL are told; the
monotonic clock and the times that the kernel gives files are as they were.
"""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

SHIFT = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long *shift;  /* whole seconds */

__attribute__((constructor)) static void find(void) {
    const char *path = getenv("SHIFTED_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *place = mmap(0, sizeof(long), PROT_READ, MAP_SHARED, fd, 0);
    if (place != MAP_FAILED) shift = place;
    close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && shift && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += *shift;
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (now) *now = precise.tv_sec;
    return precise.tv_sec;
}
"""


class Clock:
    """The wall clock of every process that is started with `environment`."""

    def __init__(self, library: Path, file: Path) -> None:
        self.environment: Mapping[str, str] = {
            "LD_PRELOAD": str(library),
            "SHIFTED_CLOCK": str(file),
        }
        with file.open("w+b") as opened:
            opened.write(bytes(8))
            opened.flush()
            self._word = mmap.mmap(opened.fileno(), 8)
        self._shift_s = 0

    def jump(self, seconds: int) -> None:
        """From one moment to the next it is so much later, or earlier."""
        self._shift_s += seconds
        self._word[:] = struct.pack("@q", self._shift_s)

    @property
    def now(self) -> float:
        """Seconds since 1970, by this clock."""
        return time.time() + self._shift_s

    def close(self) -> None:
        self._word.close()


@contextmanager
def clock(folder: Path) -> Iterator[Clock]:
    """One that is right, to begin with; skips the test where there is no compiler to make it."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to make a clock with")
    source, library = folder / "shift.c", folder / "shift.so"
    source.write_text(SHIFT)
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if made.returncode != 0:
        pytest.skip(f"the C compiler cannot make a clock here: {made.stderr.strip()[:200]}")
    shifted = Clock(library, folder / "shift")
    try:
        yield shifted
    finally:
        shifted.close()
