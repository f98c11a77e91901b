"""The alarm: does any stretch of newest rows differ from the reference, however often one looks?

Knows a baseline, counts of the newest rows, and the rules. Knows nothing of windows by the clock.

A report is about a window that somebody chose; an alarm has to find the change itself. It looks
back over the newest 1,000 rows, 2,000, and so on to 128,000 (`rules.LOOKBACK_ROWS`), one of which
any lasting change nearly fills, and takes for each column what tells most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gateway.drift.baseline import Baseline, Counts, Floats
from gateway.drift.rules import DEFAULT, Rules
from gateway.drift.verdict import TOO_FEW_ROWS, VERDICTS, Judgement, Names, judge


@dataclass(frozen=True, slots=True)
class Lookback:
    """One look back.

    Attributes:
        rows: that it was asked to hold at least, where there are as many.
        start_s: seconds since 1970 of where it begins.
        judgement: of every column.
    """

    rows: int
    start_s: float
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class Alarm:
    """Each (columns,), of the look-back that tells most.

    Attributes:
        verdicts: the most alarming of all look-backs.
        log10_e: its evidence; NaN where there is none.
        rows: how far it looked back.
    """

    verdicts: Names
    log10_e: Floats
    rows: Counts

    @classmethod
    def none(cls, columns: int) -> Alarm:
        """Nothing was counted yet."""
        unknown = np.full(columns, TOO_FEW_ROWS, dtype=f"<U{max(map(len, VERDICTS))}")
        return cls(unknown, np.full(columns, np.nan), np.zeros(columns, np.int64))


def look_back(
    baseline: Baseline, windows: Mapping[int, Counts], effect: Floats, rules: Rules = DEFAULT
) -> Alarm:
    """Judges the newest rows.

    Args:
        baseline: what they should look like.
        windows: (columns, width) counts of the newest rows, by how many rows those are.
        effect: (columns,) design effects of live rows; NaN where not known.
        rules: when to call it drift.
    """
    judged = {rows: judge(baseline, counts, effect, rules) for rows, counts in windows.items()}
    return most_alarming(len(baseline.bins), judged)


def most_alarming(columns: int, looks: Mapping[int, Judgement]) -> Alarm:
    """Takes of judgements, by how many rows they are of, for each column what tells most."""
    found = Alarm.none(columns)
    verdicts, log10_e, rows = found.verdicts, found.log10_e, found.rows
    ranks = np.zeros(len(verdicts), np.int64)
    for many, judged in looks.items():
        rank = np.array([VERDICTS.index(str(one)) for one in judged.verdicts], np.int64)
        evidence = np.nan_to_num(judged.log10_e, nan=-np.inf)
        more = (rank > ranks) | ((rank == ranks) & (evidence > np.nan_to_num(log10_e, nan=-np.inf)))
        ranks = np.where(more, rank, ranks)
        verdicts = np.where(more, judged.verdicts, verdicts)
        log10_e = np.where(more, judged.log10_e, log10_e)
        rows = np.where(more, many, rows)
    return Alarm(verdicts, log10_e, rows)
