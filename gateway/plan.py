"""The plan: an immutable, numbered snapshot of what every worker should hold and route.

Knows how a plan is written and read. Knows nothing of who decides (control) or who follows
(workers).

A plan travels as hashed parts, so that only parts that changed are sent: one part per held
deployment and one for what it counts into, one for the routes, one for what is known but does not
serve.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import orjson

# The states that the repository index knows, and the reasons that are told from others.
READY, LOADING, UNAVAILABLE = "READY", "LOADING", "UNAVAILABLE"
UNLOADED = "unloaded"
UNASKED = "registered; give it an alias to have it served"


@dataclass(frozen=True, slots=True)
class Held:
    """One version of a model that a worker should have loaded.

    Attributes:
        name, version: identity.
        folder: where its files lie; nothing outside it is ever read.
        file: the ONNX file, relative to `folder`.
        digest: of the files' content: other content is another deployment of the same version.
        settings: `ModelSettings` as plain values.
        declared: what a config.pbtxt says of inputs and outputs, or empty: read it from the file.
        block: offset of its counters in the arena.
        load: counts deliberate reloads; another number loads again.
    """

    name: str
    version: int
    folder: str
    file: str
    digest: str
    settings: Mapping[str, Any]
    declared: Mapping[str, Any]
    block: int
    load: int = 0

    @property
    def id(self) -> str:
        """Equal for equal deployments: same content, same settings, same load."""
        what = orjson.dumps(
            [self.digest, self.settings, self.declared], option=orjson.OPT_SORT_KEYS
        )
        return f"{self.name}/{self.version}/{hashlib.sha256(what).hexdigest()[:16]}/{self.load}"


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
    """

    digest: str
    path: str
    block: int
    contract: Agreed | None = None

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
    def contract(self) -> Agreed | None:
        """There is none before there is a profile."""
        return None

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
    def contract(self) -> Agreed | None:
        """Answers have none."""
        return None

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
    def contract(self) -> Agreed | None:
        """It is that of all rows."""
        return None

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
    """

    block: int
    schema: Mapping[str, Any]
    everything: bool
    share: float
    below: float | None
    between: Sequence[float] | None
    alarms: bool
    subject: str

    @property
    def contract(self) -> Agreed | None:
        """What is kept has none."""
        return None

    @property
    def blocks(self) -> tuple[int, ...]:
        """Every block that is written to."""
        return (self.block,)


Taken = Watched | Kept | Recorded | Sliced | Captured
"""Where the values of a deployment's traffic go."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One of those that a route's requests are divided among.

    Attributes:
        name: within its route.
        version: answers.
        weight: relative to the others'.
    """

    name: str
    version: int
    weight: float


@dataclass(frozen=True, slots=True)
class Split:
    """How requests that name no version are divided among variants.

    Attributes:
        variants: at least one of them with a weight above 0.
        sticky_header, sticky_parameter: what requests of one variant have in common; empty: no such
            thing.
        override_header, override_parameter: where a request may name the variant that it wants;
            empty: nowhere.
    """

    variants: tuple[Variant, ...]
    sticky_header: str = ""
    sticky_parameter: str = ""
    override_header: str = ""
    override_parameter: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """A public model name.

    Attributes:
        name: what clients call.
        version: stands for the model where a path names no version; without `split` it answers.
        deployments: the deployment id that serves each version.
        split: among which versions requests are divided that name none; None: `version` has all.
    """

    name: str
    version: int
    deployments: Mapping[int, str]
    split: Split | None = None


@dataclass(frozen=True, slots=True)
class Absent:
    """A version that is known and does not serve, with the state and reason the index shows.

    `version` is 0 where not even that is known.
    """

    name: str
    version: int
    state: str
    reason: str

    @property
    def unloaded(self) -> bool:
        """Out of service because somebody wanted it so."""
        return self.reason == UNLOADED

    @property
    def unasked(self) -> bool:
        """A version that nobody asked to have served."""
        return self.reason == UNASKED

    @property
    def broken(self) -> bool:
        """Neither on its way nor unloaded."""
        return self.state != LOADING and not self.unloaded


@dataclass(frozen=True, slots=True)
class Plan:
    """What a worker follows. A higher number replaces a lower one.

    Attributes:
        watched: where each deployment's values go, by its id; it may change while that serves.
        settled: all that the server was started with serves or is refused.
    """

    number: int
    held: tuple[Held, ...] = ()
    routes: tuple[Route, ...] = ()
    absent: tuple[Absent, ...] = ()
    settled: bool = False
    watched: Mapping[str, tuple[Taken, ...]] = field(default_factory=dict)

    @property
    def routed(self) -> set[str]:
        """Ids of the deployments that answer requests."""
        return {held for route in self.routes for held in route.deployments.values()}

    def parts(self) -> dict[str, Any]:
        """The plan as named plain values; `from_parts` is its inverse."""
        # Not `asdict`: its deep copies are most of what a plan of many models costs.
        values: dict[str, Any] = {
            f"model/{held.id}": {name: getattr(held, name) for name in _HELD_FIELDS}
            for held in self.held
        }
        for held, watched in self.watched.items():
            values[f"watched/{held}"] = [asdict(one) for one in watched]
        values["routes"] = [
            [
                route.name,
                route.version,
                [list(pair) for pair in route.deployments.items()],
                None if route.split is None else asdict(route.split),
            ]
            for route in self.routes
        ]
        values["absent"] = [asdict(absent) for absent in self.absent]
        values["settled"] = self.settled
        return values

    @classmethod
    def from_parts(cls, number: int, parts: Mapping[str, Any]) -> Plan:
        """Builds the plan that `parts` describes."""
        return cls(
            number,
            tuple(Held(**value) for name, value in parts.items() if name.startswith("model/")),
            tuple(
                Route(name, version, {int(v): held for v, held in deployments}, _split(split))
                for name, version, deployments, split in parts["routes"]
            ),
            tuple(Absent(**value) for value in parts["absent"]),
            parts["settled"],
            {
                name.removeprefix("watched/"): tuple(_taken(one) for one in value)
                for name, value in parts.items()
                if name.startswith("watched/")
            },
        )


def _split(value: Mapping[str, Any] | None) -> Split | None:
    if value is None:
        return None
    return Split(**{**value, "variants": tuple(Variant(**one) for one in value["variants"])})


def _taken(value: Mapping[str, Any]) -> Taken:
    if "series" in value:
        return Recorded(**value)
    if "slices" in value:
        slices = tuple(Slicing(**one) for one in value["slices"])
        return Sliced(slices, value["names"], tuple(Part(**one) for one in value["parts"]))
    if "schema" in value:
        return Captured(**value)
    if "digest" not in value:
        return Kept(**value)
    contract = value["contract"]
    return Watched(**{**value, "contract": None if contract is None else Agreed(**contract)})


_HELD_FIELDS = tuple(field.name for field in fields(Held))


def part_hash(value: Any) -> str:
    """Content hash of one part, equal in every process."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()


class Outbox:
    """The sender's side: knows what one follower has, and sends only what it lacks."""

    def __init__(self) -> None:
        self._has: dict[str, str] = {}

    def forget(self) -> None:
        """The follower was born again and has nothing."""
        self._has = {}

    def message(self, plan: Plan) -> dict[str, Any]:
        """The message that brings the follower from what it has to `plan`."""
        parts = plan.parts()
        hashes = {name: part_hash(value) for name, value in parts.items()}
        changed = {name: parts[name] for name, h in hashes.items() if self._has.get(name) != h}
        self._has = hashes
        return {"type": "plan", "number": plan.number, "hashes": hashes, "parts": changed}


class Inbox:
    """The follower's side: puts plans together from the parts that arrive."""

    def __init__(self) -> None:
        self._parts: dict[str, Any] = {}
        self._hashes: dict[str, str] = {}

    def take(self, message: Mapping[str, Any]) -> Plan | None:
        """The plan that the message completes; None where a part is missing: ask for all again."""
        parts = self._parts | message["parts"]
        known = self._hashes | {name: message["hashes"][name] for name in message["parts"]}
        if any(known.get(name) != h for name, h in message["hashes"].items()):
            return None
        self._hashes = dict(message["hashes"])
        self._parts = {name: parts[name] for name in self._hashes}
        return Plan.from_parts(message["number"], self._parts)
