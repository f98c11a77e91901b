"""What is in force and not written down yet: routes that were stopped, and versions pulled of them.

Knows whose it is, and what last kept it from being written down. Knows nothing of stores, or of
what a route divides.

Whatever takes something out of traffic waits for no disk. It is kept here until one takes it, and
with the plan, so that a control process that is killed meanwhile takes nothing of it along.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.control.audit import Actor
from gateway.control.splits import Pull, Stop

NOT_YET = "it is being written down"


@dataclass(frozen=True, slots=True)
class StopBy:
    """A stop of a route, and who asked for it, as the audit will tell."""

    stop: Stop
    actor: Actor


class Unwritten:
    """Of one control process. Added to on its event loop, taken out of on any thread.

    Attributes:
        keep: called on whichever thread after each change; it leaves what is here to a successor.
        why: what last kept something from being written down; empty: nothing has.
    """

    def __init__(self) -> None:
        """Begins empty."""
        self.keep: Callable[[], object] = lambda: None
        self.why = ""
        self._stops: dict[str, StopBy] = {}
        self._pulls: list[tuple[str, Pull]] = []
        self._changing = threading.Lock()  # held for no longer than a line

    @property
    def stops(self) -> Mapping[str, StopBy]:
        """The newest of each model."""
        with self._changing:
            return dict(self._stops)

    @property
    def pulls(self) -> Sequence[tuple[str, Pull]]:
        """Of which model, and what; the oldest first."""
        with self._changing:
            return tuple(self._pulls)

    def why_of(self, model: str) -> str:
        """Why something of a model is not written down; empty where all is."""
        waits = model in self.stops or any(model == one for one, _ in self.pulls)
        return (self.why or NOT_YET) if waits else ""

    def stop(self, model: str, one: StopBy) -> None:
        """A route is stopped."""
        with self._changing:
            self._stops[model] = one
        self.keep()

    def pull(self, model: str, pull: Pull) -> None:
        """A version is pulled."""
        with self._changing:
            self._pulls.append((model, pull))
        self.keep()

    def wrote_stop(self, model: str, one: StopBy) -> None:
        """It is written down, unless another has taken its place meanwhile."""
        with self._changing:
            if self._stops.get(model) is one:
                del self._stops[model]
        self._written()

    def wrote_pulls(self, written: Sequence[tuple[str, Pull]]) -> None:
        """They are written down."""
        with self._changing:
            self._pulls = [one for one in self._pulls if one not in written]
        self._written()

    def plain(self) -> dict[str, Any]:
        """As plain values and what JSON makes such of; `read` is the inverse."""
        return {"stops": self.stops, "pulls": self.pulls}

    def read(self, values: Mapping[str, Any]) -> None:
        """Takes up what a predecessor has left."""
        self._stops = {
            model: StopBy(Stop(**one["stop"]), Actor(**one["actor"]))
            for model, one in values["stops"].items()
        }
        self._pulls = [(model, Pull(**pull)) for model, pull in values["pulls"]]

    def _written(self) -> None:
        self.why = ""
        self.keep()
