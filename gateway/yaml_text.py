"""Reads YAML without surprises: bounded in depth and size, and no key of a mapping given twice.

Knows YAML. Knows nothing of what a document may say.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from gateway.errors import ConfigInvalid

MAX_DEPTH = 50
MAX_VALUES = 1_000_000
# The one in C reads a document of 500 models in a tenth of the time.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(text: str, source: str) -> tuple[Any, list[str]]:
    """The values of a document, and the faults of its text that they do not show.

    Args:
        text: YAML.
        source: how errors call it.

    Raises:
        ConfigInvalid: it is not YAML, or larger than a document may be.
    """
    try:
        faults = _scan(text, source)
        values = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise ConfigInvalid(f"{source}: not YAML: {_marked(error)}") from error
    except yaml.YAMLError as error:
        raise ConfigInvalid(f"{source}: not YAML: {' '.join(str(error).split())}") from error
    except ValueError as error:  # a date that is none, say
        raise ConfigInvalid(f"{source}: not a value: {error}") from error
    _check_size(values, source)
    return values, faults


def _marked(error: yaml.MarkedYAMLError) -> str:
    """What the parser says and where; not the line itself, which may hold a secret."""
    said = " ".join(part for part in (error.context, error.problem) if part)
    mark = error.problem_mark or error.context_mark
    return said if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: {said}"


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come yet: the lines of a mapping's keys so far."""

    is_mapping: bool
    keys: dict[str, int] = field(default_factory=dict)
    at_key: bool = True


def _scan(text: str, source: str) -> list[str]:
    """Tells every key that is given twice: the loader would quietly take the last.

    Raises:
        ConfigInvalid: nested so deep that building it would overflow the stack of the loader.
    """
    faults: list[str] = []
    within: list[_Open] = []
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionEndEvent):
            within.pop()
        elif isinstance(event, yaml.NodeEvent):
            if within and within[-1].is_mapping:
                faults += _note_key(within[-1], event)
            if isinstance(event, yaml.CollectionStartEvent):
                within.append(_Open(isinstance(event, yaml.MappingStartEvent)))
                if len(within) > MAX_DEPTH:
                    raise ConfigInvalid(f"{source}: expected at most {MAX_DEPTH} levels, got more")
    return faults


def _note_key(mapping: _Open, event: Any) -> list[str]:
    """Takes up a key, or passes over a value; the fault, where the key was there before."""
    is_key, mapping.at_key = mapping.at_key, not mapping.at_key
    if not (is_key and isinstance(event, yaml.ScalarEvent)):
        return []
    mark: Any = event.start_mark
    line, key = mark.line + 1, event.value
    if key not in mapping.keys:
        mapping.keys[key] = line
        return []
    return [f"line {line}: {key[:80]!r} is there already, on line {mapping.keys[key]}"]


def _check_size(values: Any, source: str) -> None:
    """Refuses what is short only because its aliases are not written out."""
    left = [values]
    for _ in range(MAX_VALUES):
        if not left:
            return
        value = left.pop()
        if isinstance(value, dict):
            left += value.values()
        elif isinstance(value, list):
            left += value
    raise ConfigInvalid(f"{source}: expected at most {MAX_VALUES} values, got more")
