"""The plan: an immutable, numbered snapshot of what every worker should hold and route.

Knows how a plan is written and read. Knows nothing of who decides (control) or who follows
(workers).

A plan travels as hashed parts, so that only parts that changed are sent: one part per held
deployment and one for what it counts into, one for the routes, one for what is known but does not
serve.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import orjson

from gateway.taken import Taken, plain, read

# The states that the repository index knows, and the reasons that are told from others.
READY, LOADING, UNAVAILABLE = "READY", "LOADING", "UNAVAILABLE"
UNLOADED = "unloaded"
UNASKED = "registered; give it an alias to have it served"

# What a version is: a file that is loaded here, or other servers that are asked.
ONNX, LLM = "onnx", "llm"


@dataclass(frozen=True, slots=True)
class Held:
    """One version of a model that a worker should have loaded.

    Attributes:
        name, version: identity.
        folder: where its files lie; nothing outside it is ever read. Empty where there are none.
        file: the ONNX file, relative to `folder`.
        digest: of the files' content: other content is another deployment of the same version.
        settings: `ModelSettings` as plain values; of an LLM what `llm.settings` reads.
        declared: what a config.pbtxt says of inputs and outputs, or empty: read it from the file.
        block: offset of its counters in the arena.
        load: counts deliberate reloads; another number loads again.
        kind: ONNX or LLM.
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
    kind: str = ONNX

    @property
    def id(self) -> str:
        """Equal for equal deployments: same content, same settings, same load."""
        what = orjson.dumps(
            [self.digest, self.settings, self.declared], option=orjson.OPT_SORT_KEYS
        )
        return f"{self.name}/{self.version}/{hashlib.sha256(what).hexdigest()[:16]}/{self.load}"


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
class Shadow:
    """A version that runs copies of a route's requests once they are answered.

    Attributes:
        version: runs them.
        share: of requests, each by itself.
        tolerance: predicted numbers agree that differ by no more than this part of the larger.
        max_waiting_rows, max_waiting_bytes: of copies in one worker.
        blocks: of the counts of pairs, by the version that answered.
        kind, output, positive, threshold: what a score is, as `monitor.scores.reading` takes them,
            and above which the positive class is predicted.
    """

    version: int
    share: float
    tolerance: float = 0.01
    max_waiting_rows: int = 2048
    max_waiting_bytes: int = 32 << 20
    blocks: tuple[tuple[int, int], ...] = ()
    kind: str = "auto"
    output: str | None = None
    positive: int = 1
    threshold: float = 0.5


@dataclass(frozen=True, slots=True)
class Split:
    """How requests that name no version are divided among variants.

    Attributes:
        variants: at least one of them with a weight above 0.
        sticky_header, sticky_parameter: what requests of one variant have in common; empty: no such
            thing.
        override_header, override_parameter: where a request may name the variant that it wants;
            empty: nowhere.
        instead: the variant that answers where a request names another that was pulled; by its name
            and by its version.
        shadows: run what was answered once more.
    """

    variants: tuple[Variant, ...]
    sticky_header: str = ""
    sticky_parameter: str = ""
    override_header: str = ""
    override_parameter: str = ""
    instead: Mapping[str, str] = field(default_factory=dict)
    shadows: tuple[Shadow, ...] = ()


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

    Attributes:
        version: 0 where not even that is known.
        retired: for good; its callers are to ask another.
        successor: the version that was named in its place; 0: none was.
    """

    name: str
    version: int
    state: str
    reason: str
    retired: bool = False
    successor: int = 0

    @property
    def unloaded(self) -> bool:
        """Out of service because somebody wanted it so."""
        return self.retired or self.reason == UNLOADED

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

    @property
    def pairs(self) -> set[int]:
        """Offsets of the blocks that answers are held against those of shadows in."""
        return {
            block
            for route in self.routes
            if route.split is not None
            for shadow in route.split.shadows
            for _, block in shadow.blocks
        }

    def parts(self) -> dict[str, Any]:
        """The plan as named plain values; `from_parts` is its inverse."""
        # Not `asdict`: its deep copies are most of what a plan of many models costs.
        values: dict[str, Any] = {
            f"model/{held.id}": {name: getattr(held, name) for name in _HELD_FIELDS}
            for held in self.held
        }
        for held, watched in self.watched.items():
            values[f"watched/{held}"] = [plain(one) for one in watched]
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
                name.removeprefix("watched/"): tuple(read(one) for one in value)
                for name, value in parts.items()
                if name.startswith("watched/")
            },
        )


def _split(value: Mapping[str, Any] | None) -> Split | None:
    if value is None:
        return None
    shadows = tuple(_shadow(one) for one in value["shadows"])
    variants = tuple(Variant(**one) for one in value["variants"])
    return Split(**{**value, "variants": variants, "shadows": shadows})


def _shadow(value: Mapping[str, Any]) -> Shadow:
    return Shadow(**{**value, "blocks": tuple((one, block) for one, block in value["blocks"])})


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
