"""Reads YAML without surprises: bounded before anything is built, no key of a mapping given twice.

Knows YAML. Knows nothing of what a document may say.

Merge keys (`<<`) are not taken: what they write out can be larger than any bound on the text, and
where a value is from would be for its reader to guess. Neither is `1:30:00` a number, as it was in
YAML 1.1: it is the text that it is in YAML 1.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from gateway.errors import ConfigInvalid

MAX_DEPTH = 50
MAX_VALUES = 1_000_000
MAX_DIGITS = 100
_MERGE = "tag:yaml.org,2002:merge"
# The one in C reads a document of 500 models in a tenth of the time.
_Loader: Any = type("_Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})

# What stands in two places is written in both, as a person would.
_Dumper: Any = type("_Dumper", (yaml.SafeDumper,), {"ignore_aliases": lambda self, data: True})


def _integer(loader: Any, node: Any) -> Any:
    if len(node.value) > MAX_DIGITS:  # of thousands, not even a fault could be written
        raise ValueError(f"expected a number of at most {MAX_DIGITS} digits, got more")
    return node.value if ":" in node.value else loader.construct_yaml_int(node)


def _float(loader: Any, node: Any) -> Any:
    return node.value if ":" in node.value else loader.construct_yaml_float(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _float)


def read(text: str, source: str) -> tuple[Any, list[str]]:
    """The values of a document, and the faults of its text that they do not show.

    Args:
        text: YAML.
        source: how errors call it.

    Raises:
        ConfigInvalid: it is not YAML, larger than a document may be, or has merge keys.
    """
    try:
        scan = _Scan(source)
        for event in yaml.parse(text, Loader=_Loader):
            scan.take(event)
        values = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise ConfigInvalid(f"{source}: not YAML: {_marked(error)}") from error
    except yaml.YAMLError as error:
        raise ConfigInvalid(f"{source}: not YAML: {' '.join(str(error).split())}") from error
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        # A date that is none, or a tag whose text is nothing of the kind (`!!bool x`).
        what = error if isinstance(error, ValueError) else "a tag that its text does not fit"
        raise ConfigInvalid(f"{source}: not a value: {what}") from error
    return values, scan.faults


def write(values: Any) -> str:
    """A document of these values, in the order in which they stand; `read` gives them back."""
    text: str = yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text


def _marked(error: yaml.MarkedYAMLError) -> str:
    """What the parser says and where; not the line itself, which may hold a secret."""
    said = " ".join(part for part in (error.context, error.problem) if part)
    mark = error.problem_mark or error.context_mark
    return said if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: {said}"


@dataclass(frozen=True, slots=True)
class _Extent:
    """What a node comes to with its aliases written out: nodes, and levels of nesting."""

    nodes: int = 1
    levels: int = 0


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come yet: what it comes to so far.

    Attributes:
        keys: the lines of a mapping's keys.
    """

    is_mapping: bool
    anchor: str | None = None
    nodes: int = 1
    levels: int = 1
    keys: dict[str, int] = field(default_factory=dict)
    at_key: bool = True


class _Scan:
    """Goes over the events of a text, before anything is built of them.

    `faults` tells every key that is given twice: the loader would quietly take the last.
    """

    def __init__(self, source: str) -> None:
        self.faults: list[str] = []
        self._source = source
        self._within: list[_Open] = []
        self._anchors: dict[str, _Extent | None] = {}  # None: its end has not come yet

    def take(self, event: Any) -> None:
        """Takes the next event.

        Raises:
            ConfigInvalid: building it would take more stack, memory or time than a document may.
        """
        if isinstance(event, yaml.CollectionEndEvent):
            ended = self._within.pop()
            self._end(ended.anchor, _Extent(ended.nodes, ended.levels))
        elif isinstance(event, yaml.NodeEvent):
            if self._within and self._within[-1].is_mapping:
                self.faults += _note_key(self._within[-1], event)
            self._begin(event)

    def _begin(self, event: Any) -> None:
        if isinstance(event, yaml.CollectionStartEvent):
            self._within.append(_Open(isinstance(event, yaml.MappingStartEvent), event.anchor))
            self._check(_Extent())
            if event.anchor is not None:
                self._anchors[event.anchor] = None
        elif isinstance(event, yaml.AliasEvent):
            self._end(None, self._meant(event))
        else:
            if event.tag == _MERGE or (event.value == "<<" and event.implicit[0]):
                raise self._refused(event, "merge keys (<<) are not taken: write out what is meant")
            self._end(event.anchor, _Extent())

    def _meant(self, event: Any) -> _Extent:
        if event.anchor not in self._anchors:
            return _Extent()  # the loader says that there is none
        extent = self._anchors[event.anchor]
        if extent is None:
            raise self._refused(event, f"*{event.anchor[:80]} stands within itself")
        return extent

    def _end(self, anchor: str | None, extent: _Extent) -> None:
        """Adds a whole node to what it stands in."""
        self._check(extent)
        if anchor is not None:
            self._anchors[anchor] = extent
        if self._within:
            parent = self._within[-1]
            parent.nodes += extent.nodes
            parent.levels = max(parent.levels, extent.levels + 1)

    def _check(self, extent: _Extent) -> None:
        if len(self._within) + extent.levels > MAX_DEPTH:
            raise ConfigInvalid(f"{self._source}: expected at most {MAX_DEPTH} levels, got more")
        if extent.nodes + (self._within[-1].nodes if self._within else 0) > MAX_VALUES:
            raise ConfigInvalid(f"{self._source}: expected at most {MAX_VALUES} values, got more")

    def _refused(self, event: Any, why: str) -> ConfigInvalid:
        return ConfigInvalid(f"{self._source}: line {event.start_mark.line + 1}: {why}")


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
