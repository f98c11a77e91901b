"""What guards are shown at a time: what was counted since they were last shown something.

Knows counts and figures as plain values. Knows nothing of where they come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Counts = np.ndarray[Any, np.dtype[np.int64]]
Reals = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Arm:
    """What came to one version since the last look; never below 0.

    Attributes:
        requests: answered, whatever came of them.
        errors: of those, by fault of the model or the gateway.
        refused: of those, answered with any other error.
        rows: that ran, of requests that went well or whose client left.
        non_finite: of those, with NaN or infinity in an output.
        latencies: (histogram.BUCKETS,) of requests that went well.
        runs: (timing.MAX_SIZE + 1, 2) how many there were and nanoseconds of the processor, by the
            rows of a batch from 1 on; the last is of all larger ones.
        values: of inputs that were held against a contract.
        breaches: of those that broke it.
    """

    requests: int = 0
    errors: int = 0
    refused: int = 0
    rows: int = 0
    non_finite: int = 0
    latencies: Counts | None = None
    runs: Counts | None = None
    values: int = 0
    breaches: int = 0


@dataclass(frozen=True, slots=True)
class Outputs:
    """Values of both versions' outputs since the last look, in the same bins.

    Attributes:
        names: of columns.
        bins: of each column.
        ordered: whether these have an order.
        candidate, baseline: (columns, width).
        effects: (columns,) by how much more than independent ones values scatter, >= 1; NaN: that
            is not known.
    """

    names: Sequence[str]
    bins: Sequence[int]
    ordered: Sequence[bool]
    candidate: Counts
    baseline: Counts
    effects: Reals


@dataclass(frozen=True, slots=True)
class Known:
    """A figure of outcomes of what was answered since the beginning.

    Attributes:
        value: None where it does not exist.
        n: outcomes.
        low, high: where it lies at all times at once; None where nothing can be said.
    """

    value: float | None = None
    n: int = 0
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Both:
    """A figure of both versions; each interval holds with half of the guard's alpha."""

    candidate: Known
    baseline: Known


@dataclass(frozen=True, slots=True)
class Drifting:
    """What monitoring says of a version's columns by now.

    Attributes:
        rows: that it looked at.
        verdicts: by role (`features`, `outputs`) and name.
    """

    rows: int
    verdicts: Mapping[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class Look:
    """All that there is to be seen.

    Attributes:
        candidate, baseline: what came to them.
        outputs: of both; None where these cannot be held against each other now.
        pairs: of a shadow's rows and the primary's since the last look.
        differing: of those, with another label.
        known: figures by the name of the guard that they are for; those that were made by now.
        drifting: what is said of the candidate's and the baseline's values by now, of either None
            where nothing is; None: nobody looked.
    """

    candidate: Arm = Arm()
    baseline: Arm = Arm()
    outputs: Outputs | None = None
    pairs: int = 0
    differing: int = 0
    known: Mapping[str, Both] = field(default_factory=dict)
    drifting: tuple[Drifting | None, Drifting | None] | None = None
