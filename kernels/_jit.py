"""The one decorator under which every numeric loop is compiled.

Knows numba's flags and why each is set. Knows nothing of what the loops compute.

Nothing is compiled at import, so that commands that count nothing start at once: the supervisor
calls `compile_all()` before it forks, and from then on no kernel compiles anything, ever. With
NUMBA_DISABLE_JIT=1 kernels are the plain Python functions they are written as.
"""

from __future__ import annotations

import gc
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])
Progress = Callable[[int, int], None]
Fork = Callable[[Callable[[], int]], int]

_numba: Any = numba.config  # its settings are attributes made at import, which no type knows
_njit: Any = numba.njit  # its stub lacks `no_cfunc_wrapper`

_kernels: list[tuple[Any, tuple[str, ...]]] = []
"""Every kernel with its signatures, in the order of definition: callees before their callers."""


def _sources_digest() -> str:
    digest = hashlib.sha256(f"{numba.__version__} {_numba.CPU_NAME}".encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _folder_below(chosen: Path) -> Path:
    return chosen / f"kernels-{_sources_digest()}"


def _cache_folder() -> str | None:
    """The folder that compiled kernels may be kept in, or none.

    Numba notices a change of a kernel's own file, but not of a constant or a helper that the kernel
    takes from another file; a folder per state of all sources makes a stale hit impossible.
    """
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if not chosen:
        return None
    folder = _folder_below(Path(chosen))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return str(folder) if os.access(folder, os.W_OK) else None


CACHE_FOLDER = _cache_folder()
if CACHE_FOLDER is not None:
    _numba.CACHE_DIR = CACHE_FOLDER


def kernel(*signatures: str) -> Callable[[Kernel], Kernel]:
    """Marks a loop for compilation with exactly these signatures.

    Args:
        signatures: as numba writes them, `"int64(int64[::1], float64)"`; `[::1]` is contiguous.
    """

    def decorate(function: Kernel) -> Kernel:
        compiled = _njit(
            nogil=True,  # a batch counted on a model's thread never holds up the event loop
            parallel=False,  # a thread pool would be forked with the supervisor, and hang the fork
            fastmath=False,  # NaN means missing and is counted; sums must come out the same again
            error_model="numpy",  # division gives inf or NaN as arrays do, without a branch
            no_cfunc_wrapper=True,  # nobody calls them from C
            cache=CACHE_FOLDER is not None,  # else each start compiles anew: seconds, not failures
        )(function)
        _kernels.append((compiled, signatures))
        return cast(Kernel, compiled)

    return decorate


def _silent(done: int, total: int) -> None:
    pass


def compile_all(progress: Progress = _silent, fork: Fork | None = None, helpers: int = 0) -> float:
    """Compiles every kernel that has been imported, or takes it from the cache.

    Afterwards a call with types that no signature names raises TypeError, where numba would
    otherwise compile for a second in the middle of somebody's request.

    Args:
        progress: told now and then how many kernels are done, and of how many.
        fork: runs a function in a forked process and says its id, or raises OSError.
        helpers: so many forked processes fill an empty cache.

    Returns:
        Seconds it took.
    """
    start = time.perf_counter()
    if not _numba.DISABLE_JIT:
        with _collecting_no_garbage():
            if fork is not None and _cache_is_empty():
                _fill_cache(progress, fork, helpers)
            for done, entry in enumerate(_kernels):
                progress(done, len(_kernels))
                _compile(*entry)
        for compiled, _ in _kernels:
            compiled.disable_compile()
    return time.perf_counter() - start


@contextmanager
def _collecting_no_garbage() -> Iterator[None]:
    """The compiler leaves little, and looking for it takes a tenth of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def all_kept(chosen: Path) -> bool:
    """Whether every kernel that was imported is kept below a folder, as the sources are now.

    numba keeps an index a kernel. One that was interrupted has left some out.
    """
    return sum(1 for _ in _folder_below(chosen).rglob("*.nbi")) >= len(_kernels)


def _cache_is_empty() -> bool:
    """Whether there is a cache, and no kernel in it; numba makes its folders earlier."""
    return CACHE_FOLDER is not None and not any(Path(CACHE_FOLDER).rglob("*.nbi"))


def _fill_cache(progress: Progress, fork: Fork, helpers: int) -> None:
    """Has everything compiled in processes of its own, each taking the next file of kernels.

    The caller waits and compiles nothing: what a compiler leaves behind, more than 200 MB, would be
    memory of every process that is forked later. What a helper compiles reaches the others as files
    of the cache alone. Where one fails, that is missing there, and is compiled by whoever needs it.
    """
    rooms = [list(room) for _, room in groupby(_kernels, lambda entry: entry[0].__module__)]
    queue, end = os.pipe()  # a byte a room; whoever reads it has it
    os.write(end, bytes(range(len(rooms))))
    os.close(end)
    finished, telling = os.pipe()  # the same byte, once all of it is compiled

    def take_rooms() -> int:
        while taken := os.read(queue, 1):
            for entry in rooms[taken[0]]:
                _compile(*entry)
            os.write(telling, taken)
        return 0

    forked: list[int] = []
    with suppress(OSError):  # no process to be had
        forked.extend(fork(take_rooms) for _ in range(helpers))
    os.close(queue)
    os.close(telling)
    done = 0
    while room := os.read(finished, 1):  # ends with the last helper
        done += len(rooms[room[0]])
        progress(done, len(_kernels))
    os.close(finished)
    for pid in forked:
        os.waitpid(pid, 0)


def _compile(compiled: Any, signatures: tuple[str, ...]) -> None:
    """Compiles a kernel; that it cannot be kept, on a full disk say, is no reason to fail.

    numba raises once it has compiled what it cannot keep. If that was another kernel, which this
    one calls, then this one is still to be compiled.
    """
    compiled.disable_compile(False)
    for signature in signatures:
        for _ in _kernels:
            try:
                compiled.compile(signature)
            except OSError:
                continue
            break
