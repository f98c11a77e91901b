"""What clients may send to a model: the file's own word, narrowed by what its owner declared.

Knows specs and declarations. Knows nothing of files or of where a declaration came from.

A declaration is plain values, so that it can travel in a plan:
`{"max_batch_size": 8, "inputs": [{"name": "x", "datatype": "FP32", "dims": [4], "labels": []}],
"outputs": [...]}`. With a `max_batch_size` above 0 its dims leave the batch dimension out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gateway.errors import ModelRefused
from gateway.models.embedding import output_of, places_of
from gateway.tensors import Signature, TensorSpec

if TYPE_CHECKING:
    from gateway.config import Embeddings
    from gateway.models.onnx_file import OnnxFile

Declared = Mapping[str, Any]


def signature(
    onnx_file: OnnxFile,
    declared: Declared,
    max_batch_size: int,
    embeddings: Embeddings | None = None,
) -> Signature:
    """What the model takes and gives, and whether requests may share a run.

    Args:
        onnx_file: what the file says.
        declared: what its owner says of it, or empty.
        max_batch_size: rows in one run by the settings in force; 0: never batch.
        embeddings: how it makes vectors of texts; None: it is served as it is.

    Returns:
        Batched where `max_batch_size` is above 0 and the first axis of every input and output is
        variable, in the file and by what is declared.

    Raises:
        ModelRefused: the declaration does not fit the file, an input's shape is not known, or it
            makes no such vectors.
    """
    batching = int(declared.get("max_batch_size", 0)) > 0
    silent = set(onnx_file.unranked)
    inputs = _narrow(onnx_file, "input", onnx_file.inputs, declared, batching, silent)
    outputs = _narrow(onnx_file, "output", onnx_file.outputs, declared, batching, silent)
    for spec in inputs:
        if spec.name in silent:
            raise ModelRefused(
                f"{onnx_file.file}: input {spec.name!r}: the file gives no shape;"
                " declare its dims in config.pbtxt"
            )
    if embeddings is not None:
        outputs = (output_of(places_of(inputs, outputs, embeddings), outputs),)
    rows = all(spec.shape[:1] == (-1,) and spec.name not in silent for spec in (*inputs, *outputs))
    return Signature(inputs, outputs, rows and max_batch_size > 0 and bool(inputs))


def _narrow(
    onnx_file: OnnxFile,
    side: str,
    specs: tuple[TensorSpec, ...],
    declared: Declared,
    batching: bool,
    silent: set[str],
) -> tuple[TensorSpec, ...]:
    wanted: Sequence[Mapping[str, Any]] = declared.get(f"{side}s", ())
    by_name = {spec.name: spec for spec in specs}
    narrowed = dict(by_name)
    for one in wanted:
        name = one["name"]
        where = f"{onnx_file.file}: {side} {name!r}"
        if name not in by_name:
            raise ModelRefused(f"{where}: declared, but the model's {side}s are {_listed(by_name)}")
        narrowed[name] = _fit(where, by_name[name], one, batching, silent)
    if wanted and side == "input" and len(wanted) < len(specs):
        missing = by_name.keys() - {one["name"] for one in wanted}
        raise ModelRefused(f"{onnx_file.file}: inputs {_listed(missing)} are not declared")
    if batching:
        for spec in narrowed.values():
            if spec.name not in silent and spec.shape[:1] != (-1,):
                raise ModelRefused(
                    f"{onnx_file.file}: {side} {spec.name!r}: max_batch_size is declared, so a"
                    f" shape beginning with -1 is wanted, got {list(spec.shape)}"
                )
    return tuple(narrowed.values())


def _fit(
    where: str, spec: TensorSpec, one: Mapping[str, Any], batching: bool, silent: set[str]
) -> TensorSpec:
    if one["datatype"] != spec.datatype:
        raise ModelRefused(f"{where}: declared as {one['datatype']}, the model has {spec.datatype}")
    shape = (*((-1,) if batching else ()), *one["dims"])
    if spec.name in silent:
        silent.discard(spec.name)
    elif len(shape) != len(spec.shape) or any(
        own not in (-1, dim) for own, dim in zip(spec.shape, shape, strict=True)
    ):
        raise ModelRefused(
            f"{where}: declared with shape {list(shape)}, the model has {list(spec.shape)}"
        )
    return replace(spec, shape=shape, labels=tuple(one.get("labels") or spec.labels))


def _listed(names: Mapping[str, Any] | set[str]) -> str:
    shown = ", ".join(repr(name) for name in sorted(names)[:20])
    return shown + (", ..." if len(names) > 20 else "") if shown else "none"
