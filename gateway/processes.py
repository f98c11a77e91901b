"""Forks children that end with their parent, and makes signals something to wait for.

Knows fork, signals and exit codes. Knows nothing of what the children do.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
LARGE_BLOCK_BYTES = 4 << 20
FREE_HEAP_BYTES = 16 << 20
NICE = 5
_LIBC = ctypes.CDLL(None)
# What a child ends with when Python itself failed in it: EX_SOFTWARE of sysexits.
FAILED = 70
_FOR_US = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def give_back_large_blocks() -> None:
    """From now on freed memory in large blocks goes back to the system, here and in children.

    glibc takes a block that has once been freed as a sign that more of its size will come, and from
    then on keeps them, up to 32 MB each, in a heap that only shrinks from its end: a few small
    things that live long keep a gigabyte of answers that nobody holds. Blocks of 2 MB and less are
    as fast in the heap, those of 10 MB cost a sixth more. Does nothing where malloc is another.
    """
    mallopt = getattr(_LIBC, "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
        # Naming one sets the other back to 128 KB, at which the heap would shrink all the time.
        mallopt(_M_TRIM_THRESHOLD, FREE_HEAP_BYTES)


def give_way() -> None:
    """From now on this process waits where others of its server want its core, too.

    What is done each second takes milliseconds on end: on a core that both share a request that
    came meanwhile would wait for the system to take turns, which is one request in a hundred.
    A server that has no core to spare still leaves it a quarter of one.
    """
    with contextlib.suppress(OSError):  # a sandbox may forbid even that
        os.nice(NICE)


def leave_no_cores() -> None:
    """From now on no crash leaves a core dump, here and in children: it would hold secrets.

    The limit alone is not heeded where the kernel pipes cores into a handler. What may not be
    dumped may not be traced either, and its memory and environment are shown to root alone.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _LIBC.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def fork(main: Callable[[], int]) -> int:
    """Runs `main` in a child, which exits with what it returns; gives the child's process id.

    The child dies with its parent, has default signal handling, and ignores SIGINT: Ctrl-C reaches
    a whole terminal group, and only the parent acts on it.
    """
    parent = os.getpid()
    # A signal for a child that still has its parent's handlers would be taken and forgotten.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_US)
    try:
        pid = os.fork()
        if pid == 0:
            _child(main, parent, mask)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return pid


def end_with_parent() -> None:
    """From now on this process gets SIGTERM when the one that started it ends, however it ends.

    To be called between fork and exec: an exec leaves it as it is, a fork does not hand it on.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)


def wakeup(signals: list[int]) -> int:
    """A descriptor that turns readable with every signal; SIGTERM, SIGINT and SIGHUP are listed."""
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number in _FOR_US:
        signal.signal(number, lambda got, _: signals.append(got))
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return read


def empty(waker: int) -> None:
    """Takes everything out of a descriptor that `wakeup` gave."""
    with contextlib.suppress(BlockingIOError):
        while os.read(waker, 512):
            pass


def reap() -> tuple[int, int] | None:
    """A child that has ended: its id, and its exit status or minus the signal; None: none has."""
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, os.waitstatus_to_exitcode(status)) if pid else None


def kill(pid: int, number: int) -> None:
    """Sends a signal, if there is somebody to get it."""
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def how_it_ended(code: int) -> str:
    """In words: `reap` gave this code."""
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def usable_cores() -> int:
    """The smaller of CPU affinity and cgroup quota, at least 1."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def _child(main: Callable[[], int], parent: int, mask: set[int | signal.Signals]) -> NoReturn:
    status = FAILED
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        # A terminal sends these to its whole group; what they mean is the supervisor's to say.
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() == parent:
            status = main()
    except BaseException as error:  # a child must never return into its parent's code
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
