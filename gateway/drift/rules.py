"""What it takes to call something drift, with the reason for each default.

Knows numbers. Knows nothing of counts.

Settled by `loadtest.simulate_alarms`: 30 columns, 60 bins, a fresh reference of 5,000 rows and a
fresh start each day, looked at every second. loadtest/RESULTS.md says on how many days there was a
false alarm, for independent rows and for AR(1) rows with 0.9, and after how many rows a shift by a
quarter standard deviation is found.

Tried and given up: sixty groups (twice the rows of ten); a concentration of 1,000 (1,700 rows where
200 needs 1,100); scatter taken as it is, with a margin on all of it (1,700 rows where 1,300 do);
no `min_batch` (2 to 8 % of AR(1) days alarm, all within the first minutes, as batches of ten rows
hide most of the dependence); `min_batch` held against estimates as they are (1 to 3 %).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

PANE_S: Final = 10.0
"""Counts are kept in panes of so many seconds: every look-back begins at the start of one."""

LOOKBACK_ROWS: Final = (1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000)
"""Looks back, in rows, that an alarm watches; one of them is nearly filled by any change.

From 1,000 on, as a quarter standard deviation takes some 1,100 independent rows; to 128,000, since
rows that follow each other with correlation 0.9 tell a nineteenth as much.
"""


@dataclass(frozen=True, slots=True)
class Rules:
    """When a column has drifted.

    `false_alarms_per_day` is kept however often one looks: it is shared out over the starts of a
    day's look-backs (one a pane), and over columns by e-BH.
    """

    false_alarms_per_day: float = 0.01
    ks_floor: float = 0.05  # an eighth of a standard deviation; less is rarely worth a page
    min_rows: int = 200  # fewer say nothing that a person would believe
    watch_log10_e: float = 2.0  # 1 in 100, without a thought for how often one looks
    min_pairs: int = 16  # pairs of neighbouring batches before their scatter is believed
    min_batch: float = 8.0  # rows a batch for each unit of the design effect that it shows
    caution: float = 1.0  # see kernels.dependence.estimate
    margin: float = 1.25  # by which what is above 1 is taken up: scatter is noisy, alarms dear

    @property
    def log10_level(self) -> float:
        """log10 of the probability that may be spent on look-backs from one start."""
        return math.log10(self.false_alarms_per_day * PANE_S / 86_400)


DEFAULT: Final = Rules()
