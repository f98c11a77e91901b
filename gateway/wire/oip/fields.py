"""Typed access to decoded JSON, with refusals that name the place, the wanted and the got.

Knows plain values. Knows nothing of tensors or models.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gateway.errors import InvalidParameter, MalformedJson

MAX_PARAMETERS = 256
Parameters = Mapping[str, Any]
NO_PARAMETERS: Parameters = MappingProxyType({})
# The decoder for NaN knows integers of hundreds of digits, which no float or array could take.
MAX_UNSIGNED = (1 << 64) - 1


def shown(value: Any) -> str:
    """A short form of a client's value for a message, whatever its size."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, str):
        return quoted(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if not isinstance(value, int) or abs(value) < 1 << 64 else "a huge integer"


def quoted(name: str) -> str:
    """A client's string in quotes, cut where it is long."""
    return f"'{name}'" if len(name) <= 80 else f"'{name[:77]}...'"


def dims(shape: Any) -> str:
    """A shape as messages show it."""
    shown_dims = [shown(dim) for dim in shape[:16]] + (["..."] if len(shape) > 16 else [])
    return f"[{', '.join(shown_dims)}]"


def as_object(value: Any, place: str) -> dict[str, Any]:
    """`value` as an object, or `MalformedJson`."""
    if type(value) is not dict:
        raise MalformedJson(f"{place}: expected an object, got {shown(value)}")
    return value


def as_array(value: Any, place: str) -> list[Any]:
    """`value` as an array, or `MalformedJson`."""
    if type(value) is not list:
        raise MalformedJson(f"{place}: expected an array, got {shown(value)}")
    return value


def as_string(value: Any, place: str) -> str:
    """`value` as a string, or `MalformedJson`."""
    if type(value) is not str:
        raise MalformedJson(f"{place}: expected a string, got {shown(value)}")
    return value


def parameters_of(owner: dict[str, Any], place: str) -> Parameters:
    """The `parameters` of a request, an input or an output.

    Raises:
        MalformedJson: they are no object.
        InvalidParameter: more than `MAX_PARAMETERS`, or a value that is neither string, number
            nor boolean.
    """
    if "parameters" not in owner:
        return NO_PARAMETERS
    value = as_object(owner["parameters"], f"{place}: parameters")
    if len(value) > MAX_PARAMETERS:
        raise InvalidParameter(
            f"{place}: expected at most {MAX_PARAMETERS} parameters, got {len(value)}"
        )
    for name, item in value.items():
        if type(item) not in (str, int, float, bool):
            raise InvalidParameter(
                f"{place}: parameter {quoted(name)}: expected a string, number or boolean, "
                f"got {shown(item)}"
            )
    return value


def flag(parameters: Parameters, name: str, default: bool, place: str) -> bool:
    """A boolean parameter."""
    value = parameters.get(name, default)
    if type(value) is not bool:
        raise InvalidParameter(
            f"{place}: parameter '{name}': expected a boolean, got {shown(value)}"
        )
    return value


def unsigned(parameters: Parameters, name: str, default: int, place: str) -> int:
    """An integer parameter from 0 to `MAX_UNSIGNED`."""
    value = parameters.get(name, default)
    if type(value) is not int or not 0 <= value <= MAX_UNSIGNED:
        raise InvalidParameter(
            f"{place}: parameter '{name}': expected an unsigned integer, got {shown(value)}"
        )
    return value
