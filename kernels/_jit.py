"""The one decorator under which every numeric loop is compiled.

Knows numba's flags and why each is set. Knows nothing of what the loops compute.

Nothing is compiled at import, so that commands that count nothing start at once: the supervisor
calls `compile_all()` before it forks, and from then on no kernel compiles anything, ever. With
NUMBA_DISABLE_JIT=1 kernels are the plain Python functions they are written as.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

_numba: Any = numba.config  # its settings are attributes made at import, which no type knows

_kernels: list[tuple[Any, tuple[str, ...]]] = []
"""Every kernel with its signatures, in the order of definition: callees before their callers."""


def _sources_digest() -> str:
    digest = hashlib.sha256(f"{numba.__version__} {_numba.CPU_NAME}".encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _cache_folder() -> str | None:
    """The folder that compiled kernels may be kept in, or none.

    Numba notices a change of a kernel's own file, but not of a constant or a helper that the kernel
    takes from another file; a folder per state of all sources makes a stale hit impossible.
    """
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if not chosen:
        return None
    folder = Path(chosen) / f"kernels-{_sources_digest()}"
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
        compiled = numba.njit(
            nogil=True,  # a batch counted on a model's thread never holds up the event loop
            parallel=False,  # a thread pool would be forked with the supervisor, and hang the fork
            fastmath=False,  # NaN means missing and is counted; sums must come out the same again
            error_model="numpy",  # division gives inf or NaN as arrays do, without a branch
            cache=CACHE_FOLDER is not None,  # else each start compiles anew: seconds, not failures
        )(function)
        _kernels.append((compiled, signatures))
        return cast(Kernel, compiled)

    return decorate


def compile_all(progress: Callable[[int, int], None] = lambda done, total: None) -> float:
    """Compiles every kernel that has been imported, or takes it from the cache.

    Afterwards a call with types that no signature names raises TypeError, where numba would
    otherwise compile for a second in the middle of somebody's request.

    Args:
        progress: told before each kernel how many are done, and of how many.

    Returns:
        Seconds it took.
    """
    start = time.perf_counter()
    if not _numba.DISABLE_JIT:
        for done, (compiled, signatures) in enumerate(_kernels):
            progress(done, len(_kernels))
            compiled.disable_compile(False)
            for signature in signatures:
                _compile(compiled, signature)
        for compiled, _ in _kernels:
            compiled.disable_compile()
    return time.perf_counter() - start


def _compile(compiled: Any, signature: str) -> None:
    """Compiles one signature; that it cannot be kept, on a full disk say, is no reason to fail.

    numba raises once it has compiled what it cannot keep. If that was another kernel, which this
    one calls, then this one is still to be compiled.
    """
    for _ in _kernels:
        try:
            compiled.compile(signature)
        except OSError:
            continue
        return
