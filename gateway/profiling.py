"""Runs a model over the rows of a file, and builds the profile of what went in and came out.

Or takes rows that hold what came out already, as those of language models do.

Knows loaded models, rows and builders. Knows nothing of HTTP, of batching or of the registry: the
model runs in this process, on the same runtime as behind the data port.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import numpy as np

from gateway.client.encoding import tensors
from gateway.config import Scores
from gateway.errors import InvalidTensor, ModelFailed, ModelRefused, ProfileInvalid
from gateway.labels import Labels
from gateway.plan import Held
from gateway.profiles.builder import Builder
from gateway.profiles.names import Configured, by_input, feature_names
from gateway.profiles.plans import FramePlan, plan_frames
from gateway.profiles.points import MAX_COLUMNS
from gateway.profiles.values import BINS, STRING, Profile
from gateway.rows.batch import Batch, Source
from gateway.rows.cells import of_numbers
from gateway.rows.source import batches
from gateway.serving import deployment
from gateway.serving.runtime import Runtime
from gateway.tensors import DTYPES, Array, Signature, TensorSpec

# One run takes so many rows, or fewer where they are large: enough that calls cost nothing.
_RUN_ROWS, _RUN_BYTES = 4096, 8 << 20

Progress = Callable[[int, int], None]
Named = dict[str, Array]


@dataclass(frozen=True, slots=True)
class Options:
    """How a profile is made.

    Attributes:
        bins: of a numeric column, at most.
        seed: of the sample that edges are taken from.
        limit: rows to read; None: all.
        categories: names of columns whose whole numbers are names.
        exact: names of columns of numbers of which KS is to be exact.
        configured: what the configuration calls the columns; the model and its rows go first.
        configured_categories: what it says of `categories`, some of which may not be there.
        scores: what it says of the model's scores, which are held against the source's labels.
    """

    bins: int = BINS
    seed: int = 0
    limit: int | None = None
    categories: tuple[str, ...] = ()
    exact: tuple[str, ...] = ()
    configured: Configured = ()
    configured_categories: tuple[str, ...] = ()
    scores: Scores = field(default_factory=Scores)


@dataclass(frozen=True, slots=True)
class Profiled:
    """A profile, and the outputs that are not in it, since they have no row for each row."""

    profile: Profile
    left_out: tuple[str, ...]


def profile_of(
    held: Held, source: Source, options: Options, reading: Progress, counting: Progress
) -> Profiled:
    """Profiles a model on the rows of a file.

    Args:
        held: the model; its settings' warm-up is left out.
        source: of the rows.
        options: see there.
        reading: told of (bytes read, bytes in all).
        counting: told of (bytes counted, bytes in all), after all are read.

    Raises:
        ModelRefused: the model cannot be loaded, or does not count rows on its first axis.
        InvalidRequest: the file cannot be read, or does not fit the model.
        ProfileInvalid: the source has labels, and the model no probabilities that they fit.
        ModelFailed: the model refuses the rows; the message names them.
        StoreFailed: there is no room for the rows' temporary copy.
    """
    quiet = {**held.settings, "warmup": False, "max_output_sets": 0}
    loaded = deployment.load(replace(held, settings=quiet))
    runtime = loaded.runtime
    _check_rows(runtime.signature)
    own = feature_names(loaded.file.metadata)
    source = replace(source, features=source.features or own)
    signature = runtime.signature

    def answered(batch: Batch, first: int) -> tuple[Named, Named]:
        inputs = _inputs(source.path, signature.inputs, batch)
        return inputs, _run(runtime, inputs, batch.rows, first)

    batched = _batches(source, signature.inputs, options.limit, reading)
    try:
        with ExitStack() as stack:
            return _profile(signature, batched, answered, source, own, options, counting, stack)
    finally:
        runtime.close()


def profile_of_answers(
    signature: Signature, source: Source, options: Options, reading: Progress, counting: Progress
) -> Profiled:
    """Profiles rows that hold, by the names of tensors, what went in and what came out.

    Args:
        signature: of tensors of one value a row.
        source: of the rows; where it names columns or drops some, the other tensors are left out.
        options: see there.
        reading: told of (bytes read, bytes in all).
        counting: told of (bytes counted, bytes in all), after all are read.

    Raises:
        InvalidRequest: the file cannot be read, or has not these columns.
        StoreFailed: there is no room for the rows' temporary copy.
    """
    chosen = [
        [spec for spec in specs if _is_wanted(spec.name, source)]
        for specs in (signature.inputs, signature.outputs)
    ]
    asked, said = map(tuple, chosen)
    source = replace(source, features=tuple(spec.name for spec in (*asked, *said)))

    def answered(batch: Batch, first: int) -> tuple[Named, Named]:
        return _inputs(source.path, asked, batch), _inputs(source.path, said, batch)

    signature = Signature(asked, said, batched=True)
    batched = _batches(source, (*asked, *said), options.limit, reading)
    with ExitStack() as stack:
        return _profile(signature, batched, answered, source, (), options, counting, stack)


def _is_wanted(name: str, source: Source) -> bool:
    return name not in source.drop and (not source.columns or name in source.columns)


def _profile(
    signature: Signature,
    batched: Iterator[tuple[int, Batch]],
    answered: Callable[[Batch, int], tuple[Named, Named]],
    source: Source,
    own: Sequence[str],
    options: Options,
    counting: Progress,
    stack: ExitStack,
) -> Profiled:
    builder: Builder | None = None
    missing: set[str] = set()
    labels = Labels(signature, options.scores, source.path) if source.label else None
    for first, batch in batched:
        inputs, outputs = answered(batch, first)
        if builder is None:
            missing = {spec.name for spec in signature.outputs} - outputs.keys()
            plans = plan_frames(
                signature,
                inputs,
                outputs,
                _names(signature, batch, own, options.configured),
                (*options.categories, *options.configured_categories),
            )
            _check_named(plans, options)
            builder = stack.enter_context(
                Builder(plans, options.bins, options.seed, exact=options.exact)
            )
        builder.add(batch.rows, inputs, outputs, batch.nulls)
        if labels is not None and batch.labels is not None:
            labels.add(outputs, batch.labels, first)
    if builder is None:
        raise ProfileInvalid(f"{source.path}: a profile needs at least one row, got none")
    calibration = None if labels is None else labels.calibration()
    return Profiled(builder.build(counting, calibration), tuple(sorted(missing)))


def _check_named(plans: Sequence[FramePlan], options: Options) -> None:
    """Columns that an option names are there, and such as it is about."""
    known = {name for plan in plans for name in plan.columns}
    numbers = {name for p in plans if p.type != STRING for name in p.columns} - {
        name for plan in plans for name in plan.categories
    }
    for what, names in (("categories", options.categories), ("exact KS", options.exact)):
        if unknown := sorted(set(names) - known):
            raise ProfileInvalid(f"{what}: the model has no column {unknown[0]!r}")
    if wrong := sorted(set(options.exact) - numbers):
        raise ProfileInvalid(f"exact KS: column {wrong[0]!r} has no numbers in order")
    if len(options.exact) > MAX_COLUMNS:
        raise ProfileInvalid(
            f"exact KS: expected at most {MAX_COLUMNS} columns, got {len(options.exact)}"
        )


def _check_rows(signature: Signature) -> None:
    fixed = [spec for spec in signature.inputs if spec.shape[:1] != (-1,)]
    if fixed or not signature.inputs:
        what = f"input '{fixed[0].name}' has shape {list(fixed[0].shape)}" if fixed else "no input"
        raise ModelRefused(f"a profile is of rows, which the first axis counts: {what}")


def _batches(
    source: Source, specs: Sequence[TensorSpec], limit: int | None, progress: Progress
) -> Iterator[tuple[int, Batch]]:
    """With the number of its first row, each batch of a size that one run takes."""
    row_bytes = sum(
        math.prod(max(1, length) for length in spec.shape[1:]) * DTYPES[spec.datatype].itemsize
        for spec in specs
    )
    size = max(1, min(_RUN_ROWS, _RUN_BYTES // row_bytes))
    first = 1
    for batch in batches(source, specs, size, limit, progress):
        yield first, batch
        first += batch.rows


def _names(
    signature: Signature, batch: Batch, own: Sequence[str], configured: Configured
) -> dict[str, list[str]]:
    """Names of columns by input: the data's, else the model's own, else the configuration's."""
    inputs = [spec.name for spec in signature.inputs]
    found = {**by_input(own, configured, inputs), **batch.names}
    return {
        tensor: [name or f"{tensor}[{place}]" for place, name in enumerate(names)]
        for tensor, names in found.items()
    }


def _inputs(path: str, specs: Sequence[TensorSpec], batch: Batch) -> Named:
    return {spec.name: _fitted(path, spec, np.asarray(batch.inputs[spec.name])) for spec in specs}


def _fitted(path: str, spec: TensorSpec, array: Array) -> Array:
    """An array in an input's datatype, rounded where that is all that it takes.

    Data sets are kept in float64 more often than models are made of it.
    """
    lengths = array.shape[1:]
    if len(lengths) != len(spec.shape) - 1 or any(
        want not in (-1, got) for got, want in zip(lengths, spec.shape[1:], strict=True)
    ):
        raise InvalidTensor(
            f"{path}: input '{spec.name}': expected rows of shape {list(spec.shape[1:])},"
            f" got {list(lengths)}"
        )
    if spec.datatype == "BYTES" and array.dtype.kind in "OSU":
        return tensors({spec.name: array}, "")[0].array
    if array.dtype == DTYPES[spec.datatype]:
        return np.ascontiguousarray(array)
    found = of_numbers(array, spec.datatype)
    if found is None:
        raise InvalidTensor(
            f"{path}: input '{spec.name}': expected values of {spec.datatype}, got {array.dtype}"
            " with some that would change"
        )
    return found


def _run(runtime: Runtime, inputs: Named, rows: int, first: int) -> Named:
    """The outputs that have a row for each row."""
    signature = runtime.signature
    step = rows if signature.batched else 1
    wanted = range(len(signature.outputs))
    try:
        parts = [
            runtime.run(
                [inputs[spec.name][start : start + step] for spec in signature.inputs], wanted
            )
            for start in range(0, rows, step)
        ]
    except (InvalidTensor, ModelFailed) as error:
        raise type(error)(f"rows {first} to {first + rows - 1}: {error}") from error
    found: Named = {}
    for place, spec in enumerate(signature.outputs):
        pieces = [part[place] for part in parts]
        if all(piece.shape[:1] == (step,) for piece in pieces):
            found[spec.name] = np.concatenate(pieces) if len(pieces) > 1 else pieces[0]
    return found
