"""The demo's part on rollouts: a candidate that takes itself back, and one that is promoted.

Knows how to make a worse candidate, how to send rows and what came of them, and what control says.
Knows nothing of how a candidate is judged: it asks as anybody would.
"""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.demo_drift import ANSWERED_WITHIN_S, BURST, CONNECTIONS, PAUSE_S
from gateway.cli.demo_rows import DATA, MODEL, Row
from gateway.cli.output import progress, say
from gateway.cli.rollout import story
from gateway.errors import Unavailable

if TYPE_CHECKING:
    from gateway.client import Admin

SEED = 3
WRONG, GOOD = 2, 3
FLATTENED = 0.2  # of what each leaf of the trees says: the same answers, but unsure of them
OVER_WITHIN_S = 120.0
GUARD = "calibration"
PLAN = {
    "steps": [
        {"percent": 50, "bake_s": 2, "require": "pass"},
        {"percent": 100, "bake_s": 0.5},
    ],
    "guards": [
        {"kind": "errors", "max": 0.05},
        {"kind": "latency", "max_ms": 250},
        {"kind": GUARD},
    ],
    "watch_s": 1,
}


@dataclass(frozen=True, slots=True)
class RolledOut:
    """How it went.

    Attributes:
        taken_back: the rollout of the candidate whose calibration is off, as the API tells it.
        promoted: that of the good one.
        rows: sent during both.
        failed: of those, without an answer.
    """

    taken_back: dict[str, Any]
    promoted: dict[str, Any]
    rows: int
    failed: int

    def faults(self) -> list[str]:
        """What is not as it should be."""
        found = [f"{self.failed} requests failed during rollouts"] if self.failed else []
        if self.taken_back["state"] != "rolled_back":
            found.append(f"the candidate with wrong scores: {self.taken_back['state']}")
        if f"failed: {GUARD}" not in self.taken_back["story"][-1]["says"]:
            found.append(f"it was taken back for: {self.taken_back['story'][-1]['says']}")
        if self.promoted["state"] != "promoted":
            found.append(f"the good candidate: {self.promoted['state']}")
        return found

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def roll_out(home: Path, port: int, control: Admin, rows: Sequence[Row]) -> RolledOut:
    """Rolls both candidates out, with traffic and what came of it.

    Args:
        home: of the server.
        port: where rows are sent.
        control: asked and told.
        rows: drawn from.

    Raises:
        Unavailable: a rollout is not over in time; or no answer.
    """
    drawn = random.Random(SEED)
    _register(home)
    progress(f"rolling out version {WRONG}, whose scores are off; its answers are the same")
    wrong, rows_1, failed_1 = _until_over(port, control, rows, drawn, WRONG)
    progress(f"rolling out version {GOOD}, which is good")
    good, rows_2, failed_2 = _until_over(port, control, rows, drawn, GOOD)
    return RolledOut(wrong, good, rows_1 + rows_2, failed_1 + failed_2)


def tell(found: RolledOut) -> None:
    """Both stories."""
    for rollout in (found.taken_back, found.promoted):
        say("\n".join(story(rollout)))
        say()
    failed = "none" if not found.failed else str(found.failed)
    say(f"Of {found.rows:,} requests meanwhile {failed} failed.")


def _register(home: Path) -> None:
    from gateway.control.registry import Registry
    from gateway.control.store import Store

    model = (DATA / f"{MODEL}.onnx").read_bytes()
    with Store.open(home) as store:
        registry = Registry(store, home)
        for version, content in ((WRONG, _flattened(model)), (GOOD, model)):
            folder = home / "candidates" / str(version)
            folder.mkdir(parents=True)
            (folder / f"{MODEL}.onnx").write_bytes(content)
            registry.register(folder / f"{MODEL}.onnx", MODEL, version)


def _flattened(model: bytes) -> bytes:
    """The same trees with smaller leaves: the same labels, with probabilities nearer to a half."""
    data = bytearray(model)
    for name in (b"class_weights", b"base_values"):
        place = data.index(name) + len(name)
        while data[place] == 0x3D:  # an attribute's numbers, each with its tag before it
            (value,) = struct.unpack_from("<f", data, place + 1)
            struct.pack_into("<f", data, place + 1, FLATTENED * value)
            place += 5
    return bytes(data)


def _until_over(
    port: int, control: Admin, rows: Sequence[Row], drawn: random.Random, version: int
) -> tuple[dict[str, Any], int, int]:
    """The rollout when it is over, the rows sent meanwhile, and how many had no answer."""
    from gateway.cli.volley import fire

    why = "a demonstration"
    path = f"/api/routes/{MODEL}/rollouts"
    number = control.ask("POST", path, {"to": version, "plan": PLAN, "why": why})["number"]
    sent = failed = 0
    deadline = time.monotonic() + OVER_WITHIN_S
    while not (rollout := control.ask("GET", f"/api/rollouts/{number}"))["over"]:
        if time.monotonic() > deadline:
            raise Unavailable(f"rollout {number} is not over within {OVER_WITHIN_S:g} s: {rollout}")
        start = time.monotonic()
        some = drawn.choices(rows, k=BURST)
        requests = [row.request for row in some]
        found = fire("127.0.0.1", port, requests, CONNECTIONS, ANSWERED_WITHIN_S)
        told = [
            {"id": answer.id, "outcome": row.target}
            for row, answer in zip(some, found.answers, strict=True)
        ]
        control.ask("POST", "/api/outcomes", {"outcomes": told})
        sent += BURST
        failed += sum(answer.status != 200 for answer in found.answers)
        # A steady rate, as traffic has one: control looks once a second.
        time.sleep(max(0.0, start + PAUSE_S - time.monotonic()))
    return rollout, sent, failed
