"""What a run costs: a line, seconds = fixed + per_row * rows, fitted to the runs there have been.

Knows numbers only. Knows nothing of what is run or of clocks.
"""

from __future__ import annotations

# A run's weight halves every 34 later runs: quick enough to follow a machine that gets busy, slow
# enough that one run says little.
DECAY = 0.98
# Steady traffic is all of one size, and then the runs say nothing of the slope: it is held where it
# was by the weight of this share of the mean size, squared.
HOLD = 1e-3
# Before this many runs there is no spread to tell an outlier by.
TRUSTED = 8
OUTLIER = 4.0


class CostModel:
    """A line through (rows, seconds), weighted towards the latest, deaf to single outliers.

    A run far off the line (a page fault, a stolen core) moves it only as far as `OUTLIER` times the
    usual distance; where runs stay far off, that distance grows, and the line follows.

    Attributes:
        fixed_s: cost of a run whatever its size, seconds, >= 0.
        per_row_s: cost of each row, seconds, >= 0.
        runs: how many runs were added since it was made, or last forgot.
    """

    __slots__ = (
        "_covariance",
        "_mean_rows",
        "_mean_s",
        "_spread_s",
        "_variance",
        "_weight",
        "fixed_s",
        "per_row_s",
        "runs",
    )

    def __init__(self) -> None:
        self.fixed_s = 0.0
        self.per_row_s = 0.0
        self.runs = 0
        self._weight = 0.0
        self._mean_rows = 0.0
        self._mean_s = 0.0
        self._variance = 0.0
        self._covariance = 0.0
        self._spread_s = 0.0

    def estimate(self, rows: int) -> float:
        """Seconds that a run of `rows` takes; 0.0 before any run was added."""
        return self.fixed_s + self.per_row_s * rows

    def add(self, rows: int, seconds: float) -> None:
        """Takes one run into account."""
        expected = self.fixed_s + self.per_row_s * rows
        miss = seconds - expected
        if self.runs >= TRUSTED:
            bound = OUTLIER * self._spread_s + 0.05 * expected
            miss = min(max(miss, -bound), bound)
            seconds = expected + miss
        if self.runs:
            self._spread_s += 0.05 * (abs(miss) - self._spread_s)
        self.runs += 1
        self._fold(float(rows), seconds)
        self._refit()

    def forget(self) -> None:
        """Lets the next run alone replace the estimate, which stands until then."""
        self.runs = 0
        self._weight = 0.0

    def _fold(self, rows: float, seconds: float) -> None:
        """Moves the weighted means and their second moments."""
        self._weight = self._weight * DECAY + 1.0
        share = 1.0 / self._weight
        d_rows = rows - self._mean_rows
        d_s = seconds - self._mean_s
        self._mean_rows += share * d_rows
        self._mean_s += share * d_s
        self._variance = (1.0 - share) * (self._variance + share * d_rows * d_rows)
        self._covariance = (1.0 - share) * (self._covariance + share * d_rows * d_s)

    def _refit(self) -> None:
        hold = HOLD * self._mean_rows * self._mean_rows
        slope = (self._covariance + hold * self.per_row_s) / (self._variance + hold)
        slope = max(slope, 0.0)
        fixed = self._mean_s - slope * self._mean_rows
        if fixed < 0.0:
            fixed, slope = 0.0, self._mean_s / self._mean_rows
        self.fixed_s, self.per_row_s = fixed, slope
