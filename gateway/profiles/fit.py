"""Whether a profile is of a model that takes and gives what this one does.

Knows profiles and signatures. Knows nothing of how either came to be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from gateway.errors import ProfileInvalid
from gateway.profiles import summaries
from gateway.profiles.values import (
    COUNTED_AS,
    FEATURE,
    IMAGE,
    LENGTH,
    VECTOR,
    Frame,
    Profile,
    Summary,
)
from gateway.tensors import Signature, TensorSpec


def check_fit(profile: Profile, signature: Signature) -> None:
    """Refuses a profile of another model. Tensors that a profile leaves out go unwatched.

    Raises:
        ProfileInvalid: naming the tensor or column, what the model has and what the profile has.
    """
    inputs = {spec.name: spec for spec in signature.inputs}
    outputs = {spec.name: spec for spec in signature.outputs}
    for frame in profile.frames:
        if frame.role == FEATURE:
            _check(frame, "input", inputs)
        else:
            _check(frame, "output", outputs)


def _check(frame: Frame, side: str, specs: Mapping[str, TensorSpec]) -> None:
    where = f"profile: {side} '{frame.tensor}'"
    spec = specs.get(frame.tensor)
    if spec is None:
        known = ", ".join(repr(name) for name in list(specs)[:20]) or "none"
        raise ProfileInvalid(f"{where}: the model's {side}s are {known}")
    if frame.datatype != spec.datatype:
        raise ProfileInvalid(f"{where}: expected datatype {spec.datatype}, got {frame.datatype}")
    if not _alike(frame.shape, spec.shape):
        raise ProfileInvalid(f"{where}: expected shape {list(spec.shape)}, got {list(frame.shape)}")
    if frame.summary is None:
        _check_columns(frame, where, spec)
    else:
        _check_summary(frame, frame.summary, where)


def _check_columns(frame: Frame, where: str, spec: TensorSpec) -> None:
    width = math.prod(spec.shape[1:])
    if -1 not in spec.shape[1:] and len(frame.columns) != width:
        raise ProfileInvalid(f"{where}: expected {width} columns, got {len(frame.columns)}")
    wanted = COUNTED_AS[spec.datatype]
    for column in frame.columns:
        if column.type != wanted:
            raise ProfileInvalid(
                f"{where}, column '{column.name}': expected type {wanted}, got {column.type}"
            )


def _check_summary(frame: Frame, summary: Summary, where: str) -> None:
    """The figures must be those that live rows will be summarised to."""
    if summary.kind == VECTOR and summary != summaries.vector():
        raise ProfileInvalid(f"{where}: its projections are those of another release")
    if summary.kind == IMAGE and summary.parameters.get("channels") not in summaries.CHANNELS:
        known = ", ".join(map(str, summaries.CHANNELS))
        raise ProfileInvalid(f"{where}: expected channels of {known}")
    try:
        wanted = len(summaries.names(summary))
    except (KeyError, TypeError) as error:
        raise ProfileInvalid(f"{where}: summary '{summary.kind}': {error} is missing") from error
    if summary.kind == LENGTH:
        wanted = math.prod(frame.shape[1:])
    if len(frame.columns) != wanted:
        raise ProfileInvalid(f"{where}: expected {wanted} columns, got {len(frame.columns)}")


def _alike(mine: tuple[int, ...], model: tuple[int, ...]) -> bool:
    """Equal but for lengths that one of the two leaves open."""
    return len(mine) == len(model) and all(
        -1 in (a, b) or a == b for a, b in zip(mine, model, strict=True)
    )
