"""What outlives a control process: the plan, and what was learned of models.

Knows whom to blame for a crash, whom to give another chance, and how it is handed on. Knows nothing
of how a plan is made. It is kept in memory, like the counters that it names: a server that is
started begins anew, and a control process that is replaced needs no disk to go on.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence, Set
from dataclasses import dataclass, field

import orjson

from gateway.control.unwritten import Unwritten
from gateway.keepsake import Keepsake
from gateway.plan import Plan

log = logging.getLogger("penstock.control")

CRASHES_TO_QUARANTINE = 2
_SHADOW = (
    "quarantined: it crashed a worker natively while it ran as a shadow; new content, or loading it"
    " by name, gives it another chance"
)
_QUARANTINED = (
    "quarantined: it crashed a worker natively {} times; new content, or loading it by name, "
    "gives it another chance"
)


@dataclass(slots=True)
class Memory:
    """What control knows and cannot find out anew. It is kept with each plan.

    Attributes:
        plan: the newest.
        crashes: native crashes that each deployment is blamed for, by id.
        refused: why a deployment may not run, by id.
        unloaded: names of models that were taken out of service on purpose.
        loads: how often each model was loaded anew on purpose, by name.
        unwritten: what was stopped or pulled and no disk has taken yet.
    """

    plan: Plan = field(default_factory=lambda: Plan(0))
    crashes: dict[str, int] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    unloaded: set[str] = field(default_factory=set)
    loads: dict[str, int] = field(default_factory=dict)
    unwritten: Unwritten = field(default_factory=Unwritten, compare=False)

    def crashed(self, blocks: Sequence[int]) -> dict[str, int]:
        """A worker crashed natively while it loaded or ran the models that count in `blocks`.

        New content counts where the old content of its version does. What is held and not routed is
        being loaded, so it is suspected before what has served in that place.

        Of several suspects only those with the most crashes behind them are blamed: the others were
        beside them. A version that only runs copies is suspected before all others, and has no
        second chance: without it nobody misses anything.

        Returns:
            How many crashes each of those that are blamed for this one has behind it now.
        """
        routed = self.plan.routed
        here = {held.id: held.block for held in self.plan.held if held.block in blocks}
        entering = {block for held_id, block in here.items() if held_id not in routed}
        suspects = [i for i, block in here.items() if i not in routed or block not in entering]
        copying = self._copying() & set(suspects)
        suspects = [i for i in suspects if i in copying] or suspects
        most = max((self.crashes.get(held_id, 0) for held_id in suspects), default=0)
        blamed = [held_id for held_id in suspects if self.crashes.get(held_id, 0) == most]
        for held_id in blamed:
            self.crashes[held_id] = most + 1
            if held_id in copying:
                self.refused[held_id] = _SHADOW
            elif most + 1 >= CRASHES_TO_QUARANTINE:
                self.refused[held_id] = _QUARANTINED.format(most + 1)
        return dict.fromkeys(blamed, most + 1)

    def _copying(self) -> set[str]:
        """Deployments that run copies of requests and answer none that a route sends."""
        found = set()
        for route in self.plan.routes:
            if route.split is not None:
                copying = {one.version for one in route.split.shadows} - {route.version}
                copying -= {one.version for one in route.split.variants if one.weight}
                found |= {held for v, held in route.deployments.items() if v in copying}
        return found

    def _quarantined(self, held_id: str) -> bool:
        return self.refused[held_id].startswith("quarantined")

    def reload(self, name: str) -> None:
        """Forgets what was held against a model and has it loaded anew."""
        self.unloaded.discard(name)
        self.loads[name] = self.loads.get(name, 0) + 1
        self.forget_refusals(name)

    def forget_refusals(self, name: str | None = None) -> None:
        """Gives refused deployments another chance: of all models, or of one, named on purpose.

        What is quarantined crashed workers, not just a trial: only who names it gets it back.
        """
        for held_id in list(self.refused):
            named = held_id.startswith(f"{name}/")
            if named if name is not None else not self._quarantined(held_id):
                del self.refused[held_id]
                self.crashes.pop(held_id, None)

    def retry(self, name: str) -> None:
        """Gives what one model was refused for another chance, but for what is quarantined."""
        for held_id in list(self.refused):
            if held_id.startswith(f"{name}/") and not self._quarantined(held_id):
                del self.refused[held_id]
                self.crashes.pop(held_id, None)

    def forget_others(self, ids: Set[str], names: Set[str]) -> None:
        """Forgets what is remembered of all but these deployments and models."""
        self.refused = {held_id: why for held_id, why in self.refused.items() if held_id in ids}
        self.crashes = {held_id: n for held_id, n in self.crashes.items() if held_id in ids}
        self.loads = {name: count for name, count in self.loads.items() if name in names}
        self.unloaded &= names


def write(keepsake: Keepsake, memory: Memory) -> None:
    """Leaves it to the next control process. What fails is logged: the plan itself goes out."""
    data = orjson.dumps(
        {
            "number": memory.plan.number,
            "parts": memory.plan.parts(),
            "crashes": memory.crashes,
            "refused": memory.refused,
            "unloaded": sorted(memory.unloaded),
            "loads": memory.loads,
            "unwritten": memory.unwritten.plain(),
        }
    )
    try:
        keepsake.write(data)
    except OSError as error:
        log.error("the plan cannot be kept for a successor of this process: %s", error.strerror)


def read(keepsake: Keepsake) -> Memory | None:
    """What an earlier control process of this server left, or None."""
    data = keepsake.read()
    if data is None:
        return None
    found = orjson.loads(data)
    memory = Memory(
        Plan.from_parts(found["number"], found["parts"]),
        found["crashes"],
        found["refused"],
        set(found["unloaded"]),
        found["loads"],
    )
    memory.unwritten.read(found["unwritten"])
    return memory
