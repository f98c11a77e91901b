"""What a running server makes of a change in its home.

Knows how to ask it and how to say what it answered. Knows nothing of the change itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.cli import running
from gateway.errors import GatewayError

_ASK_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """A server's answer to a change of one model.

    Attributes:
        heard: a server runs on this home.
        plan: number of the plan that it follows now.
        faults: why versions of this model do not serve, one line each, or why nobody answered.
    """

    heard: bool
    plan: int | None = None
    faults: tuple[str, ...] = ()

    @property
    def status(self) -> int:
        """The exit status of the command that made the change."""
        return 1 if self.faults else 0

    def as_json(self) -> dict[str, Any] | None:
        """The answer as plain values; None where no server runs."""
        return {"plan": self.plan, "faults": list(self.faults)} if self.heard else None

    def words(self) -> list[str]:
        """The answer for people."""
        if not self.heard:
            return ["no server runs on this home"]
        if self.faults:
            return list(self.faults)
        return [f"the running server follows (plan {self.plan})"]


@dataclass(frozen=True, slots=True)
class Serving:
    """What a running server says of every version it knows, by (model, version).

    Attributes:
        states: with reasons.
        references: what it holds traffic against, as `/api/models` tells it; None: nothing.
    """

    states: dict[tuple[str, int | None], tuple[str, str]] = field(default_factory=dict)
    references: dict[tuple[str, int | None], dict[str, Any] | None] = field(default_factory=dict)

    def state(self, model: str, version: int | None) -> str:
        """The state of a version, with its reason; empty where nobody knows."""
        state, reason = self.states.get((model, version), ("", ""))
        return f"{state}: {reason}" if reason else state


def announce(home: Path, model: str, version: int | None = None) -> Verdict:
    """Tells the server of `home`, if one runs, and waits for what it makes of `model`.

    Args:
        home: whose server to tell.
        model: the model that changed.
        version: the version that should serve now; None: any fault of the model counts.
    """
    try:
        answer = running.notify(home, model)
    except GatewayError as error:
        return Verdict(True, None, (f"the change is stored, but: {error}",))
    if answer is None:
        return Verdict(False)
    faults = tuple(
        _fault(one)
        for one in answer.get("absent", ())
        if one["name"] == model and version in (None, one["version"])
    )
    return Verdict(True, answer.get("plan"), faults)


def _fault(one: Mapping[str, Any]) -> str:
    return f"model '{one['name']}' version {one['version']} does not serve: {one['reason']}"


def of_change(answer: Mapping[str, Any] | None) -> Verdict:
    """What a server answered to a change of its configuration; None: there is none."""
    if answer is None:
        return Verdict(False)
    return Verdict(True, answer["plan"], tuple(_fault(one) for one in answer["refused"]))


def serving(home: Path) -> Serving | None:
    """The states of everything that the server of `home` knows; None where none answers."""
    server = running.find(home)
    if server is None:
        return None
    try:
        with running.admin(home, server, _ASK_TIMEOUT_S) as control:
            lines = control.models()
    except GatewayError:
        return None
    return Serving(
        {
            (line["name"], line["version"]): (line["state"], line.get("reason") or "")
            for line in lines
        },
        {(line["name"], line["version"]): line.get("reference") for line in lines},
    )
