"""Slices as control knows them: of the configuration, of a series, and as they are asked for.

Knows slicings, what the words of a series say of them, and cells. Knows nothing of files, of the
arena, or of how rows are told apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson

from gateway.config.slices import OTHER
from gateway.config.slices import Slicing as Configured
from gateway.control.ledger_rows import Series
from gateway.errors import InvalidParameter, NotFound
from gateway.outcomes.fairness import Fairness, fairness
from gateway.outcomes.worst import Worst, worst_slices
from gateway.taken import Slicing
from kernels.marks import grouped
from kernels.performance import Reals

SLICES: Final = "slices"
"""Beside what a score is in the words of a series: other slices are another series."""


@dataclass(frozen=True, slots=True)
class ByGroup:
    """What the records of a version add up to, by groups.

    Attributes:
        series: its answers.
        window_s: how far it looks back; None: at all.
        now: seconds since 1970.
        cells: as `kernels.groups` has them.
    """

    series: Series
    window_s: float | None
    now: float
    cells: Reals

    def fairness(self, name: str | None, min_rows: int) -> list[Fairness]:
        """Of one slicing, or of all.

        Raises:
            NotFound: there is no such slicing.
        """
        known = slicings_of(self.series)
        places = range(len(known)) if name is None else [_place(known, name)]
        return [
            fairness(known[at].name, known[at].names, self.cells[at, at].diagonal().T, min_rows)
            for at in places
        ]

    def worst(self, figure: str, min_rows: int) -> Worst:
        """Those that the model serves worse than the rest."""
        known = [(one.name, one.names) for one in slicings_of(self.series)]
        return worst_slices(figure, known, self.cells, min_rows)


def slicings(configured: Mapping[str, Configured]) -> tuple[Slicing, ...]:
    """What the document says, as workers follow it."""
    return tuple(
        Slicing(name, one.names, one.feature, one.parameter, tuple(one.edges), one.values)
        for name, one in configured.items()
    )


def words_of(scores: Mapping[str, object], some: Sequence[Slicing]) -> dict[str, object]:
    """What a series of such scores and slices is known by, as plain values of JSON."""
    return {**scores, SLICES: [_plain(one) for one in some]} if some else dict(scores)


def scores_of(series: Series) -> dict[str, object]:
    """What a score is, without slices."""
    return {name: value for name, value in series.scores.items() if name != SLICES}


def slicings_of(series: Series) -> tuple[Slicing, ...]:
    """How the rows of a series were told apart."""
    some: Any = series.scores.get(SLICES, ())
    return tuple(Slicing(**one) for one in some)


def group_of(series: Series, asked: str) -> tuple[int, int]:
    """Mask and value of the marks of rows in `SLICING:GROUP`.

    Raises:
        InvalidParameter: it is written in another way.
        NotFound: there is no such slicing or group.
    """
    return grouped(*_find(slicings_of(series), asked))


def part_of(slicing: Slicing, group: int) -> str:
    """What the block of a group's values is called; another slicing's is called otherwise."""
    text = orjson.dumps(_plain(slicing), option=orjson.OPT_SORT_KEYS)
    return f"{slicing.name}:{group}:{hashlib.sha256(text).hexdigest()[:16]}"


def part_asked(known: Sequence[Slicing], asked: str) -> str:
    """What the block of `SLICING:GROUP` is called.

    Raises:
        InvalidParameter: it is written in another way.
        NotFound: there is no such slicing or group.
    """
    place, group = _find(known, asked)
    return part_of(known[place], group)


def _find(known: Sequence[Slicing], asked: str) -> tuple[int, int]:
    """Place of a slicing, and number of its group: 0 of the rows in none."""
    name, colon, group = asked.partition(":")
    if not colon:
        raise InvalidParameter(f"slice: expected SLICING:GROUP, got '{asked[:80]}'")
    place = _place(known, name)
    names = list(known[place].names)
    if group == OTHER:
        return place, 0
    if group not in names:
        some = ", ".join((*names, OTHER))
        raise NotFound(f"slice: '{name}' has the groups {some}, and no '{group[:80]}'")
    return place, names.index(group) + 1


def _place(known: Sequence[Slicing], name: str) -> int:
    for place, one in enumerate(known):
        if one.name == name:
            return place
    some = ", ".join(one.name for one in known) or "none"
    raise NotFound(f"slice: expected one of models.NAME.slices ({some}), got '{name[:80]}'")


def _plain(slicing: Slicing) -> dict[str, object]:
    values = asdict(slicing)
    return values | {
        "names": list(slicing.names),
        "edges": list(slicing.edges),
        "values": [list(some) for some in slicing.values],
    }
