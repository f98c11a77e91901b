"""Reads and changes words that other processes change at the same time.

Knows one word of an array of int64 at a time. Knows nothing of what words mean.

Each is an instruction or two of the processor, which no Python expression becomes: compiled code
gets the instruction, and what is written is a plain twin that runs where nothing is compiled. All
are sequentially consistent but for `store`, which only keeps its place behind what was written
before it; `fence` keeps every later read behind every earlier write.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.core import types
from numba.extending import intrinsic, overload
from numba.np.arrayobj import make_array

_ALIGN = 8
_ORDER = "seq_cst"


def load(words: Any, at: Any) -> int:
    """What a word holds now, not what it held when it was last looked at."""
    found: int = words[at]
    return found


def store(words: Any, at: Any, value: Any) -> None:
    """Writes a word; whoever reads it sees all that was written before."""
    words[at] = value


def add(words: Any, at: Any, value: Any) -> int:
    """Adds to a word; gives what it held before."""
    before: int = words[at]
    words[at] += value
    return before


def swap(words: Any, at: Any, expected: Any, value: Any) -> int:
    """Writes a word if it holds what is expected; gives what it held."""
    before: int = words[at]
    if before == expected:
        words[at] = value
    return before


def fence() -> None:
    """Whatever is read from here on is read after all that was written so far can be seen."""


def _place(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    found: Any = make_array(kind)  # type: ignore[no-untyped-call]
    return builder.gep(found(context, builder, array).data, [at])


def _typed_load(_typing: Any, words: Any, at: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        place = _place(context, builder, signature.args[0], given[0], given[1])
        return builder.load_atomic(place, _ORDER, _ALIGN)

    return types.int64(words, types.int64), generate


def _typed_store(_typing: Any, words: Any, at: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        place = _place(context, builder, signature.args[0], given[0], given[1])
        builder.store_atomic(given[2], place, "release", _ALIGN)
        return context.get_dummy_value()

    return types.void(words, types.int64, types.int64), generate


def _typed_add(_typing: Any, words: Any, at: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        place = _place(context, builder, signature.args[0], given[0], given[1])
        return builder.atomic_rmw("add", place, given[2], _ORDER)

    return types.int64(words, types.int64, types.int64), generate


def _typed_swap(_typing: Any, words: Any, at: Any, expected: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        place = _place(context, builder, signature.args[0], given[0], given[1])
        found = builder.cmpxchg(place, given[2], given[3], _ORDER, _ORDER)
        return builder.extract_value(found, 0)

    return types.int64(words, types.int64, types.int64, types.int64), generate


def _typed_fence(_typing: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, _given: Any) -> Any:
        builder.fence(_ORDER)
        return context.get_dummy_value()

    return types.void(), generate


_load: Any = intrinsic(_typed_load)
_store: Any = intrinsic(_typed_store)
_add: Any = intrinsic(_typed_add)
_swap: Any = intrinsic(_typed_swap)
_fence: Any = intrinsic(_typed_fence)


@overload(load, inline="always")
def _load_compiled(words: Any, at: Any) -> Callable[..., Any]:
    def compiled(words: Any, at: Any) -> Any:
        return _load(words, at)

    return compiled


@overload(store, inline="always")
def _store_compiled(words: Any, at: Any, value: Any) -> Callable[..., Any]:
    def compiled(words: Any, at: Any, value: Any) -> Any:
        _store(words, at, value)

    return compiled


@overload(add, inline="always")
def _add_compiled(words: Any, at: Any, value: Any) -> Callable[..., Any]:
    def compiled(words: Any, at: Any, value: Any) -> Any:
        return _add(words, at, value)

    return compiled


@overload(swap, inline="always")
def _swap_compiled(words: Any, at: Any, expected: Any, value: Any) -> Callable[..., Any]:
    def compiled(words: Any, at: Any, expected: Any, value: Any) -> Any:
        return _swap(words, at, expected, value)

    return compiled


@overload(fence, inline="always")
def _fence_compiled() -> Callable[..., Any]:
    def compiled() -> Any:
        _fence()

    return compiled
