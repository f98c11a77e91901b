"""Numbers as they are kept in a database: packed, and held against what they may be once read.

Knows sums and states of concept drift (`kernels`). Knows nothing of where they are kept.

Whatever is read may be damaged, or of another release, though its checksum holds: what compiled
code counts by is taken only where it can have been counted. What could not is a ValueError.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

import numpy as np

from kernels import adwin, page_hinkley
from kernels import concept as c
from kernels.performance import (
    ABS_ERROR,
    ALL_BINARIES,
    ALL_N,
    ALL_S,
    ALL_SS,
    ALL_VALUES,
    AROUND_MEAN,
    BINARIES,
    BINS,
    CHOSEN,
    CORRECTED,
    DELAY_MS,
    FN,
    FOURTH_ERROR,
    FOURTHS,
    FP,
    L_N,
    L_X,
    L_Y,
    LABELLED,
    LOGIT_STEPS,
    LOGITS,
    MAX_DELAY_MS,
    MAX_LOGIT,
    OTHER_CLASSES,
    RECORDS,
    RIGHT,
    SQ_ERROR,
    SS,
    SY,
    TN,
    TP,
    UNSCORED,
    VALUES,
    N,
    Reals,
    S,
    Sums,
    Y,
    no_sums,
)

_DATA: Final = np.dtype(np.float64)
_LEVEL: Final = 1  # of zlib: most bytes are zeros, and nobody waits for the rest
_MOST: Final = 2.0**53  # beyond, counts are whole no more
_ROUNDING: Final = 1e-6
_COUNTS: Final = [
    *(RECORDS, UNSCORED, LABELLED, CORRECTED, TP, FP, TN, FN, OTHER_CLASSES, VALUES, BINARIES),
    *(ALL_BINARIES, ALL_VALUES, CHOSEN),
]
# Values and their errors may have been too large for a sum.
_OF_VALUES: Final = slice(VALUES + 1, BINARIES)


def packed(*parts: Reals) -> bytes:
    """Numbers, one part behind the other."""
    return zlib.compress(b"".join(part.astype(_DATA).tobytes() for part in parts), _LEVEL)


def unpacked(kept: object, most: int) -> Reals:
    """What `packed` was given, in one row.

    Args:
        kept: what a database has.
        most: numbers; more are not unpacked, or a few bytes could fill the memory.

    Raises:
        ValueError: it is nothing of that kind.
    """
    if not isinstance(kept, bytes):
        raise ValueError("numbers that are none")
    unpacking = zlib.decompressobj()
    try:
        data = unpacking.decompress(kept, most * _DATA.itemsize + 1)
    except zlib.error as error:
        raise ValueError(f"numbers that cannot be unpacked: {error}") from error
    if not unpacking.eof or len(data) > most * _DATA.itemsize or len(data) % _DATA.itemsize:
        raise ValueError("numbers of another length")
    return np.frombuffer(data, _DATA).copy()


# ---- sums ---------------------------------------------------------------------------------------


def sums_of(numbers: Reals) -> Sums:
    """Sums that lay one behind the other.

    Raises:
        ValueError: no records add up to these.
    """
    empty, parts, start = no_sums(), [], 0
    if len(numbers) != SUMS_NUMBERS:
        raise ValueError("sums of another length")
    for part in empty:
        parts.append(numbers[start : start + part.size].reshape(part.shape))
        start += part.size
    found = Sums(*parts)
    if not _are_sums(found):
        raise ValueError("sums that no records add up to")
    return found


SUMS_NUMBERS: Final = sum(part.size for part in no_sums())


def _are_sums(sums: Sums) -> bool:
    totals, bins = sums.totals, sums.bins
    counts = (totals[_COUNTS], bins[:, [N, Y, ALL_N]], sums.classes, sums.logits[:, [L_N, L_Y]])
    if not all(map(_are_counts, (*counts, sums.residuals, sums.delays))):
        return False
    known = np.delete(totals, np.r_[_OF_VALUES])
    if not (
        np.isfinite(known).all() and np.isfinite(bins).all() and np.isfinite(sums.logits).all()
    ):
        return False
    places = _are_scores(bins) and _are_log_odds(sums.logits)
    return _add_up(sums) and places and bool((known >= 0.0).all())


def _add_up(sums: Sums) -> bool:
    """Whether each record was counted once in every place."""
    totals, bins, classes = sums.totals, sums.bins, sums.classes
    labelled, values, binaries = totals[[LABELLED, VALUES, BINARIES]].tolist()
    scored = labelled - values
    ones = scored - binaries - totals[OTHER_CLASSES]
    equal = (
        (totals[[TP, FP, TN, FN]].sum(), scored),
        (bins[:, N].sum(), scored),
        (sums.logits[:, L_N].sum(), scored),
        (classes[:, :RIGHT].sum(), 2.0 * ones),
        (sums.delays.sum(), labelled),
        (bins[:, ALL_N].sum(), totals[RECORDS] - totals[UNSCORED] - totals[ALL_VALUES]),
    )
    least = (
        (bins[:, Y], bins[:, N]),
        (bins[:, N], bins[:, ALL_N]),
        (sums.logits[:, L_Y], sums.logits[:, L_N]),
        (classes[:, RIGHT], classes[:, 0]),
        (classes[:, RIGHT], classes[:, 1]),
        (sums.residuals.sum(), values),
        (values, totals[ALL_VALUES]),
        (binaries, totals[ALL_BINARIES]),
        (totals[CORRECTED], labelled),
        (labelled, totals[RECORDS] - totals[UNSCORED]),
        (totals[MAX_DELAY_MS], totals[DELAY_MS]),
    )
    powers = totals[[ABS_ERROR, SQ_ERROR, FOURTH_ERROR, AROUND_MEAN, FOURTHS]]
    return (
        all(one == other for one, other in equal)
        and all(np.all(one <= other) for one, other in least)
        and not (powers < 0.0).any()
    )


def _are_scores(bins: Reals) -> bool:
    """Whether scores lie in their bins, and their squares where those of such scores do."""
    edges = np.arange(BINS + 1) / BINS
    for n, s, ss in ((N, S, SS), (ALL_N, ALL_S, ALL_SS)):
        spare = _ROUNDING * (1.0 + bins[:, n])
        for power, of in ((1, s), (2, ss)):
            low, high = bins[:, n] * edges[:-1] ** power, bins[:, n] * edges[1:] ** power
            if not (np.all(bins[:, of] >= low - spare) and np.all(bins[:, of] <= high + spare)):
                return False
    spare = _ROUNDING * (1.0 + bins[:, N])
    return bool(np.all((bins[:, SY] >= -spare) & (bins[:, SY] <= bins[:, S] + spare)))


def _are_log_odds(logits: Reals) -> bool:
    """The same of log-odds."""
    n, edges = logits[:, L_N], np.arange(LOGITS + 1) / LOGIT_STEPS - MAX_LOGIT
    spare = _ROUNDING * (1.0 + n)
    low, high = n * edges[:-1] - spare, n * edges[1:] + spare
    return bool(np.all((logits[:, L_X] >= low) & (logits[:, L_X] <= high)))


def _are_counts(numbers: Any) -> bool:
    return bool(((numbers >= 0.0) & (numbers <= _MOST) & (numbers == np.floor(numbers))).all())


# ---- states of concept drift --------------------------------------------------------------------


def check_state(state: Reals) -> None:
    """Holds a state of `kernels.concept` against what it may be.

    Raises:
        ValueError: no outcomes lead to it.
    """
    if len(state) != c.WORDS or not _is_state(state):
        raise ValueError("a state that no outcomes lead to")


def _is_state(state: Reals) -> bool:
    base, alarms = state[c.BASE : c.WINDOWS], state[c.ERROR_ALARM : c.LOSS_PH]
    windows = state[c.WINDOWS : c.ERROR_ALARM].reshape(len(c.LENGTHS), c.PART_WORDS)
    # Values may be so far off that no sum holds it.
    scale, known = state[[c.SCALE, c.SCALED_SUM]], np.delete(state, [c.SCALE, c.SCALED_SUM])
    each = alarms.reshape(-1, c.ALARM_WORDS)
    tests = state[c.LOSS_PH : c.LOSS_ADWIN].reshape(-1, page_hinkley.WORDS)
    counted = (
        state[[c.SEEN, c.SCALED]],
        each[:, [c.TIMES, c.AT, c.OF]],
        tests[:, [page_hinkley.SEEN, page_hinkley.RISES, page_hinkley.LAST, page_hinkley.ROWS]],
    )
    return bool(
        np.isfinite(known).all()
        and (np.isnan(scale[0]) or scale[0] >= 0.0)
        and scale[1] >= 0.0
        and all(map(_are_counts, counted))
        and {*state[[c.FROZEN]].tolist(), *each[:, c.ON].tolist()} <= {0.0, 1.0}
        and _is_part(base)
        and (base[c.N] > 0.0 or not state[c.FROZEN])
        and all(map(_is_part, windows))
        and np.all(windows[:, c.N] < c.LENGTHS)
        and np.all(tests[:, page_hinkley.SQUARES] >= 0.0)
        and np.all((each[:, c.AT_MS] >= 0.0) & (each[:, c.AT_MS] <= _MOST))
        and adwin.is_state(state[c.LOSS_ADWIN : c.ERROR_ADWIN])
        and adwin.is_state(state[c.ERROR_ADWIN :])
    )


def _is_part(part: Reals) -> bool:
    bins = part[c.PART_BINS :].reshape(c.BINS, -1)
    counts = np.append(part[: c.PART_BINS], bins[:, [c.BIN_N, c.HITS]])
    spare = _ROUNDING * (1.0 + bins[:, c.BIN_N])
    return bool(
        _are_counts(counts)
        and part[c.ERRORS] <= part[c.N]
        and bins[:, c.BIN_N].sum() <= part[c.N]
        and np.all(bins[:, c.HITS] <= bins[:, c.BIN_N])
        and np.all((bins[:, c.SCORES] >= -spare) & (bins[:, c.SCORES] <= bins[:, c.BIN_N] + spare))
    )
