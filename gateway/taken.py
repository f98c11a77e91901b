"""What is taken of a deployment's traffic: where values are counted, written down and kept.

Knows how that is told to workers, and blocks of the arena by their offset. Knows nothing of who
decides (control), or of how it is done (`sketches`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Agreed:
    """What a deployment's inputs may hold.

    Attributes:
        digest: of the contract.
        path: of its file.
        policy: what becomes of a breach: `observe`, `warn` or `reject`.
        block: offset of the counts.
    """

    digest: str
    path: str
    policy: str
    block: int


@dataclass(frozen=True, slots=True)
class Watched:
    """What a deployment's traffic is counted into.

    Attributes:
        digest: of the profile whose bins they are.
        path: of its file.
        block: offset of the counts.
        contract: that its inputs are held against, too.
        common: the profile is another version's, for the two to be held against each other.
    """

    digest: str
    path: str
    block: int
    contract: Agreed | None = None
    common: bool = False

    @property
    def blocks(self) -> tuple[int, ...]:
        """Every block that is counted into."""
        return (self.block,) if self.contract is None else (self.block, self.contract.block)


@dataclass(frozen=True, slots=True)
class Kept:
    """Where a deployment without a profile keeps its first rows, until one is made of them.

    Attributes:
        block: offset of the rows.
        rows: wanted.
        names: of columns, by input, where somebody gave any.
        categories: names of columns whose whole numbers are names.
    """

    block: int
    rows: int
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    categories: Sequence[str] = ()

    @property
    def blocks(self) -> tuple[int, ...]:
        """Every block that is counted into."""
        return (self.block,)


@dataclass(frozen=True, slots=True)
class Slicing:
    """How a deployment's rows are told apart; the groups of one slicing exclude one another.

    Attributes:
        name: of the slicing.
        names: of its groups, which are numbered from 1 on.
        feature: a column of the inputs; or none.
        parameter: of requests, where there is no feature.
        edges: of groups that are ranges: below the first, from each to the next, from the last on.
        values: of groups that have some, for each group its own.
    """

    name: str
    names: Sequence[str]
    feature: str | None
    parameter: str | None
    edges: Sequence[float]
    values: Sequence[Sequence[bool | int | float | str]]


@dataclass(frozen=True, slots=True)
class Recorded:
    """Where a deployment's answers are written down, for outcomes to be joined to.

    Attributes:
        block: offset of the ledger's ring, the same for all.
        series: the number of the version in it.
        kind, output, positive: what a score is, as `monitor.scores.reading` takes them.
        held_out: share of requests that are held out.
        policy: what whoever asked is told of those.
        share: of requests, that are written down.
        client_ids: whether clients' own ids are, too.
    """

    block: int
    series: int
    kind: str
    output: str | None
    positive: int
    held_out: float = 0.0
    policy: str = ""
    share: float = 1.0
    client_ids: bool = False

    @property
    def blocks(self) -> tuple[int, ...]:
        """Every block that is written to."""
        return (self.block,)


@dataclass(frozen=True, slots=True)
class Part:
    """Where the values of one group's rows are counted.

    Attributes:
        grouping: which slicing, from 0 on.
        group: which of its groups, from 1 on.
        block: offset of the counts.
    """

    grouping: int
    group: int
    block: int


@dataclass(frozen=True, slots=True)
class Sliced:
    """How a deployment's rows are told apart: what is written down says so, and values are counted.

    Attributes:
        slices: at most `kernels.marks.GROUPINGS`.
        names: of columns, as configured, where no profile has any.
        parts: what is counted by the bins of the profile, beside all rows together.
    """

    slices: Sequence[Slicing]
    names: Sequence[str] | Mapping[str, Sequence[str]] = ()
    parts: Sequence[Part] = ()

    @property
    def blocks(self) -> tuple[int, ...]:
        """Every block that is counted into."""
        return tuple(part.block for part in self.parts)


@dataclass(frozen=True, slots=True)
class Captured:
    """Where inputs and outputs of a deployment's answers are kept.

    Attributes:
        block: offset of the version's ring.
        schema: what is kept, as `capture.schema.Schema.read` takes it.
        everything, share, below, between, alarms: as `monitor.capture.Choice` has them.
        subject: the request parameter that says whom a request is about; empty: none does.
        shadows: as `Choice` has it.
    """

    block: int
    schema: Mapping[str, Any]
    everything: bool
    share: float
    below: float | None
    between: Sequence[float] | None
    alarms: bool
    subject: str
    shadows: bool = False

    @property
    def blocks(self) -> tuple[int, ...]:
        """Every block that is written to."""
        return (self.block,)


Taken = Watched | Kept | Recorded | Sliced | Captured
"""What is taken of a deployment's traffic, and where it goes."""

_KINDS: Final = {one.__name__: one for one in (Watched, Kept, Recorded, Sliced, Captured)}


def plain(taken: Taken) -> dict[str, Any]:
    """One as plain values; `read` is its inverse."""
    return {"taken": type(taken).__name__, **asdict(taken)}


def read(value: Mapping[str, Any]) -> Taken:
    """The one that plain values describe."""
    values = dict(value)
    kind = _KINDS[values.pop("taken")]
    if kind is Watched and values["contract"] is not None:
        values["contract"] = Agreed(**values["contract"])
    if kind is Sliced:
        values["slices"] = tuple(Slicing(**one) for one in values["slices"])
        values["parts"] = tuple(Part(**one) for one in values["parts"])
    return kind(**values)
