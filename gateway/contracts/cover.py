"""Whether counting values by a profile tells which batches cannot break a contract.

Knows profiles and contracts. Knows nothing of how either is counted.

A value that is in a bin and within the reference's range is one that the reference could have held.
Where a contract takes all of those, a batch without any other value need not be looked at again.
"""

from __future__ import annotations

from gateway.contracts.values import Choice, Column, Contract, Range
from gateway.profiles import values as profiles
from gateway.profiles.values import CATEGORY, FEATURE, Profile


def covers(contract: Contract, profile: Profile) -> bool:
    """Whether the contract takes whatever the profile's bins and ranges hold."""
    known = {
        frame.tensor: frame.columns
        for frame in profile.frames
        if frame.role == FEATURE and frame.summary is None
    }
    return all(
        len(known.get(tensor.name, ())) == len(tensor.columns)
        and all(
            _takes(mine, its) for mine, its in zip(tensor.columns, known[tensor.name], strict=True)
        )
        for tensor in contract.tensors
    )


def _takes(mine: Column, its: profiles.Column) -> bool:
    if isinstance(mine, Range):
        return its.kind != CATEGORY and _spans(mine, its)
    return _lists(mine, its)


def _spans(mine: Range, its: profiles.Column) -> bool:
    if mine.whole and its.type != "int64":
        return False  # bins do not tell fractions
    low, high = its.moments.min, its.moments.max
    # Of a column without a number, whatever comes is in a bin.
    return (mine.min is None or (low is not None and mine.min <= low)) and (
        mine.max is None or (high is not None and mine.max >= high)
    )


def _lists(mine: Choice, its: profiles.Column) -> bool:
    if mine.others:
        return True
    return its.kind == CATEGORY and not its.buckets and set(its.categories) <= set(mine.categories)
