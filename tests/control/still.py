"""A planner for the operations of the control port alone: its plan stands still."""

from __future__ import annotations

from gateway.control.memory import Memory
from gateway.plan import Absent, Plan
from gateway.tensors import Signature


class Still:
    """Serves versions 1 and 2 of `m`, of which nothing is loaded."""

    def __init__(self, plan: Plan | None = None) -> None:
        self.memory = Memory(plan or Plan(0))

    async def apply(self, name: str | None = None, alone: bool = False) -> tuple[Absent, ...]:
        return ()

    async def divide(self) -> None:
        pass

    def signatures(self, name: str) -> dict[int, Signature]:
        return {}

    def knows(self, name: str) -> bool:
        return name == "m"

    def versions(self, name: str) -> set[int]:
        return {1, 2}

    def aliases(self, name: str) -> dict[str, int]:
        return {"next": 2}
