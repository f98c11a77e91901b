"""Runs a new model on made-up inputs, so that its first request is not its slowest.

Knows signatures and costs. Knows nothing of queues or requests.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from math import prod
from time import perf_counter, thread_time

import numpy as np

from gateway.errors import GatewayError
from gateway.serving.cost import CostModel
from gateway.serving.runtime import Runtime
from gateway.tensors import DTYPES, Array, Signature, TensorSpec

log = logging.getLogger("penstock.serving")

# Sizes for dimensions that the model leaves open. One that suits no size stays cold.
LENGTHS = (16, 256)
MAX_INPUT_BYTES = 64 << 20
MAX_RUN_S = 0.25
REPEATS, REPEAT_S = 5, 0.02


class Unfit(Exception):
    """An output has not one row per row of the inputs: requests must not share a run."""


def warm(
    runtime: Runtime,
    max_rows: int,
    wall: CostModel,
    hold: CostModel,
    lengths: Sequence[int] = LENGTHS,
) -> str:
    """Runs growing batches up to `max_rows`, and tells the cost models what they took.

    Growing stops early where runs get long or inputs large; the line is drawn through what was
    seen.

    Returns:
        Why the model stayed cold, or "".

    Raises:
        Unfit: it cannot be batched, whatever its signature says.
    """
    problem = ""
    for length in lengths:
        try:
            _grow(runtime, max_rows, length, wall, hold)
        except GatewayError as error:
            problem = str(error)
        else:
            return ""
        if wall.runs or _fixed(runtime.signature):
            break
    return problem


def sizes(max_rows: int) -> Iterator[int]:
    """1, 2, 4, ... and `max_rows` itself."""
    rows = 1
    while rows < max_rows:
        yield rows
        rows *= 2
    yield max(max_rows, 1)


def synthetic(signature: Signature, rows: int, length: int) -> list[Array]:
    """Inputs that most models take: small numbers, index 0, empty text."""
    random = np.random.default_rng(1)
    return [
        _values(spec, _shape(spec, signature.batched, rows, length), random)
        for spec in signature.inputs
    ]


def _grow(runtime: Runtime, max_rows: int, length: int, wall: CostModel, hold: CostModel) -> None:
    signature = runtime.signature
    wanted = tuple(range(len(signature.outputs)))
    for rows in sizes(max_rows if signature.batched else 1):
        if rows > 1 and _input_bytes(signature, rows, length) > MAX_INPUT_BYTES:
            return
        inputs = synthetic(signature, rows, length)
        outputs = runtime.run(inputs, wanted)  # once unmeasured: it plans memory and compiles
        if signature.batched:
            _check_rows(signature, outputs, rows)
        wall_s, cpu_s = _best(lambda inputs=inputs: runtime.run(inputs, wanted))  # type: ignore[misc]
        # Other models may be tried out and loaded beside it: time without the processor is theirs.
        # A guess too high would refuse every request with a deadline, and without runs there is
        # nothing to learn better from; one too low is put right by the first that run.
        alone = runtime.threads == 1
        wall.add(rows, cpu_s if alone and runtime.device == "cpu" else wall_s)
        hold.add(rows, cpu_s if alone else wall_s)
        if wall_s > MAX_RUN_S:
            return


def _best(run: Callable[[], object]) -> tuple[float, float]:
    """Least wall and processor time of a few runs, fewer where they are long."""
    walls, cpus = [], []
    end = perf_counter() + REPEAT_S
    for _ in range(REPEATS):
        cpu, start = thread_time(), perf_counter()
        run()
        walls.append(perf_counter() - start)
        cpus.append(thread_time() - cpu)
        if perf_counter() > end:
            break
    return min(walls), min(cpus)


def _check_rows(signature: Signature, outputs: Sequence[Array], rows: int) -> None:
    for spec, output in zip(signature.outputs, outputs, strict=True):
        if output.ndim == 0 or output.shape[0] != rows:
            raise Unfit(f"output '{spec.name}': {rows} rows gave shape {list(output.shape)}")


def _fixed(signature: Signature) -> bool:
    first = 1 if signature.batched else 0
    return all(-1 not in spec.shape[first:] for spec in signature.inputs)


def _shape(spec: TensorSpec, batched: bool, rows: int, length: int) -> tuple[int, ...]:
    shape = tuple(length if size == -1 else size for size in spec.shape)
    return (rows, *shape[1:]) if batched else shape


def _input_bytes(signature: Signature, rows: int, length: int) -> int:
    return sum(
        prod(_shape(spec, signature.batched, rows, length)) * DTYPES[spec.datatype].itemsize
        for spec in signature.inputs
    )


def _values(spec: TensorSpec, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    if spec.datatype == "BYTES":
        return np.full(shape, b"", object)
    dtype = DTYPES[spec.datatype]
    if dtype.kind == "f":
        return random.standard_normal(shape).astype(dtype)
    return np.zeros(shape, dtype)  # 0 is an index, a class and a truth value; as bits a BF16 too
