"""How versions stand by their outcomes, made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from gateway.control.ledger_store import LedgerStore
from gateway.control.standings import Standing, Standings, Window
from gateway.outcomes.concept import Settings, Streams
from gateway.outcomes.figures import performance
from kernels.performance import BINARY, add, no_sums
from tests.outcomes.records import NOON_MS, records

SETTINGS = Settings(200, 0.05, 0.05)
WINDOW_S = 3600.0


def no_store() -> LedgerStore:
    raise AssertionError("nothing is kept here")


def nobodys() -> Standings:
    """Of a server without a ledger."""
    return Standings(no_store, lambda: SETTINGS, lambda: NOON_MS)


def standing(
    *parts: tuple[int, float], tops: int = BINARY, answered: int = 1000, scores: Any = 0.9
) -> Standing:
    """Of a version that is sure of itself: how many outcomes, and how often they are 0."""
    rng = np.random.default_rng(7)
    wrong = np.concatenate([rng.random(count) < rate for count, rate in parts])
    told = records(
        range(len(wrong)), scores=scores, outcomes=1.0 - wrong, tops=tops, outcome_ms=NOON_MS + 5000
    )
    streams = Streams(lambda series: None)
    streams.feed(told, SETTINGS, NOON_MS)
    sums = no_sums()
    add(sums, told, 1, 0, 2 * NOON_MS)
    window = Window(answered, performance(sums))
    return Standing(streams.judged(1, SETTINGS), {WINDOW_S: window})
