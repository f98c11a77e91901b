"""Prices as the kernel that reserves reads them: of everybody who may answer a request.

Knows prices and that layout. Knows nothing of requests, or of what is left of anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from gateway.llm.pricing import Price
from kernels import budgets

Tariff = np.ndarray[Any, np.dtype[np.int64]]
"""(words,) as `kernels.budgets` has them, pico-dollars a token."""


def tariff_of(prices: Iterable[Price | None], service: str = "") -> Tariff:
    """What a request costs at most that any of these may answer.

    Args:
        prices: None: nobody knows one.
        service: the tier that it asks for; it may be answered on the usual one all the same.
    """
    known, words = [], [0]
    for price in prices:
        if price is None:
            words[0] = 1
        else:
            known += [(price, ""), (price, service)] if service in price.steps else [(price, "")]
    found = dict.fromkeys((price.request, price.dearest(tier)) for price, tier in known)
    for fee, steps in found:
        words += [fee, len(steps), *(word for step in steps for word in step)]
    # What a user's list says may be dearer than a word holds.
    return np.array([min(word, budgets.MOST) for word in words], np.int64)


FREE: Final = tariff_of(())
"""Nobody is paid."""
