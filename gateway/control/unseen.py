"""What is told of a metric that never had a number: it may yet come, or its name is misspelt.

Knows names. Knows nothing of who asks for the metric.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def unseen(metric: str, known: Iterable[str]) -> str:
    """A sentence that begins with what is wrong and ends with what there is.

    Args:
        metric: that was asked for.
        known: all that ever had a number.
    """
    some = sorted(known)
    near = get_close_matches(metric, some, n=3)
    nearest = f"nearest: {', '.join(near)}; " if near else ""
    return (
        f"no number of metric '{metric}' had ever come at the start; {nearest}known:"
        f" {', '.join(some) or 'none'}"
    )
