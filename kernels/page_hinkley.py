"""Page and Hinkley's test: has the mean of a stream of losses risen?

Knows numbers in the order in which they came. Knows nothing of what they are losses of.

How far losses lie above their mean so far, less DELTA, is added up; once the sum is LIMIT above the
lowest that it ever was, the mean has risen, and everything begins anew. All of it is in standard
deviations of the stream so far, so that one setting fits losses of any size; the deviation is taken
as no less than LEAST_DEVIATION, since one that is hardly ever above 0 says little of what is usual.

For independent losses whose sum is nearly normal, the time to a false alarm is about
exp(2 DELTA LIMIT) / (2 DELTA^2) on average: eight million with these, and half a million or more
where losses are as skewed as rare errors are. It is no bound: whoever watches on gets one some day.
A rise by one deviation is found after some LIMIT / 0.9.

Sources: Page (1954), Continuous inspection schemes; Hinkley (1971); as a test of drift, Gama,
Zliobaite, Bifet, Pechenizkiy and Bouchachia (2014), A survey on concept drift adaptation.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from kernels._jit import kernel

Reals = np.ndarray[Any, np.dtype[np.float64]]

DELTA: Final = 0.1
LIMIT: Final = 60.0
LEAST_ROWS: Final = 100  # before that, mean and deviation are hardly known
LEAST_DEVIATION: Final = 0.2

# Words of a state. RISES: how often the mean has risen; LAST: at which loss, from 1 on.
SEEN, RISES, LAST, ROWS, MEAN, SQUARES, SUM, LEAST = range(8)
WORDS: Final = 8


@kernel("boolean(float64[::1], float64)")
def update(state: Reals, loss: float) -> bool:
    """Takes a loss; whether the mean has risen.

    Args:
        state: (WORDS,), at first zeros.
        loss: from 0 to 1.
    """
    state[SEEN] += 1.0
    state[ROWS] += 1.0
    apart = loss - state[MEAN]
    state[MEAN] += apart / state[ROWS]
    state[SQUARES] += apart * (loss - state[MEAN])
    if state[ROWS] < LEAST_ROWS:
        return False
    deviation = max(math.sqrt(state[SQUARES] / state[ROWS]), LEAST_DEVIATION)
    state[SUM] += (loss - state[MEAN]) / deviation - DELTA
    state[LEAST] = min(state[LEAST], state[SUM])
    if state[SUM] - state[LEAST] <= LIMIT:
        return False
    state[ROWS:] = 0.0
    state[RISES] += 1.0
    state[LAST] = state[SEEN]
    return True
