"""What is kept of a version: which tensors, as which columns, and what is hidden of them.

Knows signatures and names. Knows nothing of rings, files or of who captures.

A tensor whose rows have a fixed and small number of values is a column for each; any other is one
column of lists. What is hidden is said by name, and a name that is nobody's is a fault: whoever
misspells it must not find the values on the disk.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import orjson

from gateway.errors import InvalidParameter
from gateway.tensors import Signature, TensorSpec

FEATURE, OUTPUT = "feature", "output"
FULL, REDACTED = "full", "redacted"
"""What is kept of a text of a conversation: all of it, or all but what `redaction` takes out."""
OWN: Final = (
    *("request_id", "row", "at", "why", "subject", "prediction", "score"),
    *("outcome", "outcome_at"),
)
"""Columns that are no tensor's."""

# Of a tensor without names: what has more is looked at whole.
MAX_COLUMNS: Final = 256

Namer = Callable[[TensorSpec, str, int], Sequence[str]]
"""Names of the columns of a tensor: its spec, its role and how many there are."""


@dataclass(frozen=True, slots=True)
class Part:
    """One tensor.

    Attributes:
        role: FEATURE or OUTPUT.
        tensor: its name.
        datatype: one of `tensors.DTYPES`.
        shape: of a row; -1 is variable.
        columns: their names; one name and `many`: a list in each row.
        many: whether it is a column of lists.
        masked: places of columns that are left empty.
        hashed: places of columns of which a keyed hash is kept.
        text: of a text of a conversation, FULL or REDACTED; empty: it is none.
    """

    role: str
    tensor: str
    datatype: str
    shape: tuple[int, ...]
    columns: tuple[str, ...]
    many: bool = False
    masked: tuple[int, ...] = ()
    hashed: tuple[int, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class Schema:
    """What is kept of a version.

    Attributes:
        model, version: whose rows they are.
        parts: features first, in the order of the signature.
        batched: the first axis of every tensor counts rows.
        scores: how outputs are read: kind, output and positive.
    """

    model: str
    version: int
    parts: tuple[Part, ...]
    batched: bool
    scores: Mapping[str, Any]

    @property
    def texts(self) -> tuple[Part, ...]:
        """Texts of conversations, which come last."""
        return tuple(part for part in self.parts if part.text)

    @property
    def digest(self) -> str:
        """Equal for what may stand in one file."""
        return hashlib.sha256(self.text).hexdigest()[:16]

    @property
    def text(self) -> bytes:
        """As JSON; `read` is its inverse."""
        return orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Schema:
        """Out of plain values."""
        return cls(**{**values, "parts": tuple(_part(one) for one in values["parts"])})


def schema_of(
    model: str,
    version: int,
    signature: Signature,
    names: Mapping[str, Sequence[str]],
    namer: Namer,
    scores: Mapping[str, Any],
    mask: Collection[str] = (),
    hashes: Collection[str] = (),
    texts: Sequence[str] = (),
    text: str = REDACTED,
) -> Schema:
    """What is kept of a version whose columns have names.

    Args:
        model: whose.
        version: of it.
        signature: of the model.
        names: of columns, by input, where somebody gave any.
        namer: names columns that nobody named.
        scores: how outputs are read.
        mask: columns or tensors that are left empty.
        hashes: columns of which a keyed hash is kept.
        texts: of conversations, that stand beside the tensors of each row.
        text: FULL or REDACTED, of these.

    Raises:
        InvalidParameter: there is no such column to hide.
    """
    taken = set(OWN)
    parts: list[Part] = []
    hidden: set[str] = set()
    for role, specs in ((FEATURE, signature.inputs), (OUTPUT, signature.outputs)):
        for spec in specs:
            given = tuple(names.get(spec.name, ())) if role == FEATURE else ()
            inner = spec.shape[1:] if signature.batched else spec.shape
            own, many = _columns(spec, role, given, namer, inner)
            masked = tuple(_hidden(spec.name, own, mask))
            hashed = tuple(_hidden(spec.name, own, hashes))
            hidden |= {own[place] for place in (*masked, *hashed)} | {spec.name}
            if hashed and many:
                raise InvalidParameter(f"hash: '{spec.name}' is a list: mask it instead")
            columns = tuple(_unlike(taken, spec.name, name) for name in own)
            parts.append(Part(role, spec.name, spec.datatype, inner, columns, many, masked, hashed))
    for name in texts:
        masked, hashed = tuple(_hidden(name, [name], mask)), tuple(_hidden(name, [name], hashes))
        columns = (_unlike(taken, name, name),)
        parts.append(Part(OUTPUT, name, "BYTES", (1,), columns, False, masked, hashed, text))
        hidden.add(name)
    nobodys = (set(mask) | set(hashes)) - hidden
    if nobodys:
        raise InvalidParameter(f"mask, hash: no column of the model is called '{min(nobodys)}'")
    return Schema(model, version, tuple(parts), signature.batched, dict(scores))


def _columns(
    spec: TensorSpec,
    role: str,
    given: tuple[str, ...],
    namer: Namer,
    inner: tuple[int, ...],
) -> tuple[tuple[str, ...], bool]:
    if -1 in inner:
        # What nobody declared, a full list of names does.
        return (given, False) if given and len(inner) == 1 else ((spec.name,), True)
    width = math.prod(inner)
    if len(given) == width:
        return given, False
    if width > MAX_COLUMNS or width == 0:
        return (spec.name,), True
    return tuple(namer(replace(spec, shape=(-1, *inner)), role, width)), False


def _hidden(tensor: str, columns: Sequence[str], wanted: Collection[str]) -> Iterator[int]:
    for place, name in enumerate(columns):
        if name in wanted or tensor in wanted:
            yield place


def _unlike(taken: set[str], tensor: str, name: str) -> str:
    """The name, or a longer one where another column has it."""
    if name in taken:
        name = f"{tensor}.{name}"
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _part(values: Mapping[str, Any]) -> Part:
    lists = {name: tuple(values[name]) for name in ("shape", "columns", "masked", "hashed")}
    return Part(**{**values, **lists})
