"""Contracts as JSON: a readable text, a canonical one, and the digest by which one is known.

Knows the document's schema. Knows nothing of where documents lie. Written as profiles are
(`gateway.profiles.document`): no clock, numbers that come back exactly as they were.

    {"schema": 1,
     "tensors": [{"name": "x", "datatype": "FP32", "columns": [
       {"name": "age", "min": 17.0, "max": 99.0, "whole": true, "missing": false,
        "infinite": false},
       {"name": "plan", "categories": [0, 1, 2], "others": false, "missing": false}]}]}

A column has `min` and `max` (null: any), or `categories`. `missing`, `infinite` and `others` say
what is taken, `whole` that fractions are not.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from gateway.contracts.values import Choice, Column, Contract, Range, Tensor
from gateway.errors import ContractInvalid
from gateway.profiles.document import short
from gateway.profiles.fields import Fields
from gateway.profiles.values import COUNTED_AS, STRING

SCHEMA = 1
# A thousand times what a model of thirty columns needs.
MAX_BYTES = 16 << 20


def canonical(contract: Contract) -> bytes:
    """The one text of a contract: keys sorted, no white space."""
    return orjson.dumps(plain(contract), option=orjson.OPT_SORT_KEYS)


def digest(contract: Contract) -> str:
    """SHA-256 of the canonical text, in hex: what a contract is called."""
    return hashlib.sha256(canonical(contract)).hexdigest()


def text(contract: Contract) -> str:
    """For people and for files: a column a line."""
    tensors = ",\n".join(_tensor_text(tensor) for tensor in plain(contract)["tensors"])
    head = ["{", f' "schema": {SCHEMA},', ' "tensors": [']
    return "\n".join([*head, *([tensors] if tensors else []), " ]", "}", ""])


def read(given: bytes | str) -> Contract:
    """A contract out of its JSON.

    Raises:
        ContractInvalid: it is none, or of a newer schema; the message names the place, what was
            wanted and what was got.
    """
    whole = _Fields.whole(given, MAX_BYTES, SCHEMA)
    contract = Contract(tuple(_tensor(one) for one in whole.objects("tensors")))
    whole.no_more()
    whole.unique("tensors", [tensor.name for tensor in contract.tensors])
    return contract


def load(path: Path) -> Contract:
    """The contract in a file.

    Raises:
        ContractInvalid: there is none.
    """
    try:
        with path.open("rb") as stream:
            given = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ContractInvalid(f"{path}: {error.strerror}") from error
    try:
        return read(given)
    except ContractInvalid as error:
        raise ContractInvalid(f"{path}: {error}") from error


class _Fields(Fields):
    document, error = "contract", ContractInvalid


# ---- writing ------------------------------------------------------------------------------------


def plain(contract: Contract) -> dict[str, Any]:
    """The document as plain values."""
    return {
        "schema": SCHEMA,
        "tensors": [
            {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "columns": [_plain_column(column, tensor.type) for column in tensor.columns],
            }
            for tensor in contract.tensors
        ],
    }


def _plain_column(column: Column, type_: str) -> dict[str, Any]:
    if isinstance(column, Choice):
        return {
            "name": column.name,
            "categories": list(column.categories),
            "others": column.others,
            "missing": column.missing,
        }
    return {
        "name": column.name,
        "min": _bound(column.min, type_),
        "max": _bound(column.max, type_),
        "whole": column.whole,
        "missing": column.missing,
        "infinite": column.infinite,
    }


def _bound(value: float | int | None, type_: str) -> float | int | None:
    return value if value is None or type_ != "float32" else short(np.float32(value))


def _tensor_text(tensor: dict[str, Any]) -> str:
    columns = tensor.pop("columns")
    head = _line(tensor).removesuffix("}")
    lines = ",\n".join(f"   {_line(column)}" for column in columns)
    return f'  {head},"columns": [\n{lines}\n  ]}}'


def _line(value: Any) -> str:
    return orjson.dumps(value).decode()


# ---- reading ------------------------------------------------------------------------------------


def _tensor(one: Fields) -> Tensor:
    name, datatype = one.string("name"), one.choice("datatype", tuple(COUNTED_AS))
    type_ = COUNTED_AS[datatype]
    tensor = Tensor(
        name, datatype, tuple(_column(column, type_) for column in one.objects("columns"))
    )
    one.no_more()
    one.unique("columns", [column.name for column in tensor.columns])
    return tensor


def _column(one: Fields, type_: str) -> Column:
    name, missing = one.string("name"), one.boolean("missing")
    column: Column
    if one.has("categories") or type_ == STRING:
        column = Choice(name, _categories(one, type_), one.boolean("others"), missing)
    else:
        low, high = _own(one, "min", type_), _own(one, "max", type_)
        if low is not None and high is not None and low > high:
            raise one.fault("max", f"at least min, {low}", str(high))
        column = Range(name, low, high, one.boolean("whole"), missing, one.boolean("infinite"))
    one.no_more()
    return column


def _categories(one: Fields, type_: str) -> tuple[str | int | bool, ...]:
    found: list[Any] = (
        one.strings("categories") if type_ == STRING else one.whole_or_boolean("categories")
    )
    if not all(a < b for a, b in itertools.pairwise(found)):
        raise one.fault("categories", "each above the last", "others")
    if type_ != STRING and any(int(np.dtype(type_).type(v)) != v for v in found):
        raise one.fault("categories", f"numbers that are exact in {type_}", "others")
    return tuple(found)


def _own(one: Fields, key: str, type_: str) -> float | int | None:
    """A bound in the column's own type, in which values are compared with it."""
    value = one.number_or_none(key)
    if value is None:
        return None
    if type_ == "int64" and (type(value) is not int or not -(2**63) <= value < 2**63):
        raise one.fault(key, "a whole number of 64 bits", repr(value))
    with np.errstate(over="ignore"):
        own: float | int = np.dtype(type_).type(value).item()
    if not math.isfinite(own):
        raise one.fault(key, f"a finite number of {type_}", repr(value))
    return own
