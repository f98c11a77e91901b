"""Slicings of a model's rows: which groups figures are told of one by one.

Knows the document's words for them. Knows nothing of columns that exist, or of how rows are found
to be in a group.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from gateway.config.words import Name, Section

MAX_SLICINGS: Final = 6  # a record has so many places
MAX_GROUPS: Final = 31  # each of five bits, 0 being in none
# What is forgotten leaves sums of each group and hour, up to 45 KB each.
MAX_ALL_GROUPS: Final = 64
MAX_VALUE_CHARS: Final = 200
OTHER: Final = "other"
"""The rows that are in none of a slicing's groups."""

SliceName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")]


def _value(given: Any) -> bool | int | float | str:
    if not isinstance(given, bool | int | float | str) or given != given:
        raise ValueError("expected a text, a number or a boolean")
    if len(str(given)) > MAX_VALUE_CHARS:
        raise ValueError(f"expected at most {MAX_VALUE_CHARS} characters")
    return given


def _named(given: Any) -> Any:
    """A list of values: each is a group of its own name."""
    if not isinstance(given, list):
        return given
    values = [_value(one) for one in given]
    names = [_text(one) for one in values]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise ValueError(f"expected each value once, got '{twice[0]}' again")
    return {name: [value] for name, value in zip(names, values, strict=True)}


def _text(value: bool | int | float | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


Value = Annotated[
    bool | int | float | str,
    PlainValidator(_value),
    WithJsonSchema({"type": ["boolean", "number", "string"]}),
]
_ByName = dict[Name, Annotated[list[Value], Field(min_length=1)]]
Groups = Annotated[_ByName, BeforeValidator(_named, json_schema_input_type=list[Value] | _ByName)]


class Slicing(Section):
    """How rows are told apart: by a feature or by a request parameter. See docs/outcomes.md."""

    feature: Name | None = Field(
        None, description="a column of the model's inputs, as its profile or feature_names call it"
    )
    parameter: Name | None = Field(
        None, description="a parameter of the request, which the model does not see"
    )
    groups: Groups = Field(
        default_factory=dict, description="values by the name of a group; or a list, each a group"
    )
    drift: bool = Field(
        True, description="the values of each group's rows are counted, too: see docs/outcomes.md"
    )
    edges: Annotated[list[float], Field(max_length=MAX_GROUPS - 1)] = Field(
        default_factory=list, description="ascending: below the first, from each to the next, above"
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.feature is None) == (self.parameter is None):
            given = "neither" if self.feature is None else "both"
            raise ValueError(f"expected either feature or parameter, got {given}")
        if bool(self.groups) == bool(self.edges):
            given = "both" if self.edges else "neither"
            raise ValueError(f"expected either groups or edges, got {given}")
        if self.edges and self.parameter is not None:
            raise ValueError("edges: expected groups of a parameter, got edges")
        if any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError("edges: must be ascending and without repeats")
        self._check_groups()
        return self

    def _check_groups(self) -> None:
        if len(self.names) > MAX_GROUPS:
            raise ValueError(f"groups: expected at most {MAX_GROUPS}, got {len(self.names)}")
        values = [_text(value) for some in self.values for value in some]
        twice = [one for one, times in Counter(values).items() if times > 1]
        if twice:
            raise ValueError(f"groups: expected each value once, got '{twice[0]}' again")
        if OTHER in self.names:
            raise ValueError(f"groups: '{OTHER}' is what rows in no group are called")

    @property
    def names(self) -> tuple[str, ...]:
        """What its groups are called, in their order."""
        if self.edges:
            ends = ["", *(repr(edge).removesuffix(".0") for edge in self.edges), ""]
            return tuple(f"{low}..{high}" for low, high in pairwise(ends))
        return tuple(self.groups)

    @property
    def values(self) -> tuple[tuple[bool | int | float | str, ...], ...]:
        """Of each of its groups; none where there are edges."""
        return tuple(tuple(some) for some in self.groups.values())


def check_all(slicings: dict[str, Slicing]) -> dict[str, Slicing]:
    """The slicings of one model.

    Raises:
        ValueError: there are too many of them, or of their groups.
    """
    if len(slicings) > MAX_SLICINGS:
        raise ValueError(f"expected at most {MAX_SLICINGS}, got {len(slicings)}")
    groups = sum(len(one.names) for one in slicings.values())
    if groups > MAX_ALL_GROUPS:
        raise ValueError(f"expected at most {MAX_ALL_GROUPS} groups in all, got {groups}")
    return slicings
