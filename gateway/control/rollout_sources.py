"""Where the figures come from that candidates are judged by.

Knows whom to ask. Knows nothing of guards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from gateway.config import Config
from gateway.control.contracts import Breaches
from gateway.control.drift import Drift
from gateway.control.outcomes import Outcomes
from gateway.control.rollout_traffic import Pairs
from gateway.monitor.arena import Arena


@dataclass(frozen=True, slots=True)
class Sources:
    """Where figures come from.

    Attributes:
        arena: counters of versions.
        drift: values by bins.
        counting: the thread that `drift` is used on.
        outcomes: what came of answers.
        breaches: what inputs of a version broke of its contract; None: it has none. Blocks.
        collecting: versions whose first rows are being kept for a profile.
        config: what is in force.
        pairs: of a shadow's rows; None: nobody counts them.
        scores: of which kind a version's are; empty: that is not known. Blocks.
    """

    arena: Arena
    drift: Drift
    counting: Executor
    outcomes: Outcomes
    breaches: Callable[[str, int], Breaches | None]
    collecting: Callable[[], Sequence[tuple[str, int]]]
    config: Callable[[], Config]
    pairs: Pairs | None = None
    scores: Callable[[str, int], str] = lambda model, version: ""
