"""Strings as numbers, so that columns of them can be kept in matrices and counted.

Knows keys, checksums and names. Knows nothing of frames.

A column of strings becomes categories where a thousand of them cover nearly all of it, and what is
beyond those counts as `unseen`, in the reference as live. Otherwise names would say nothing (they
are identifiers, or prose), and a string falls into one of `buckets` by its checksum.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from gateway.profiles.bins import MAX_CATEGORIES, Bins
from gateway.profiles.values import CATEGORY, STRING, Column
from gateway.tensors import Array

# What the kept categories of a column with more must cover of it.
COVERED = 0.95
# Longer ones are prose.
MAX_NAME_BYTES = 256
# Distinct strings of a column that are remembered by name: some 15 MB where they are 50 bytes long.
MAX_NAMES = 100_000


def bucket_of(value: bytes, buckets: int) -> int:
    """The bin of a string in a column that is hashed: CRC-32, modulo the buckets."""
    return zlib.crc32(value) % buckets


def ids_of(column: Column) -> Mapping[bytes, int]:
    """The bin of each category of a column, for whoever maps strings to ids."""
    return {str(name).encode(): place for place, name in enumerate(column.categories)}


class Strings:
    """One column's strings on their way into a matrix.

    Attributes:
        names: what stands behind a key, of the first `MAX_NAMES` strings.
    """

    def __init__(self) -> None:
        self.names: dict[int, bytes] = {}

    def encode(self, values: Sequence[bytes], checks: Sequence[int] | None = None) -> Array:
        """(rows, 2) int64: a key that equals for equal strings alone, and a checksum.

        Args:
            values: the strings.
            checks: their CRC-32, where what is longer than a name has been cut short.
        """
        if checks is None:
            checks = [zlib.crc32(value) for value in values]
        # 64 bits of SipHash, keyed anew in each process: equal by chance once in 2 ** 64 pairs.
        keys = [
            hash(value) if len(value) <= MAX_NAME_BYTES else hash((value, check))
            for value, check in zip(values, checks, strict=True)
        ]
        if len(self.names) < MAX_NAMES:
            for key, value in zip(keys, values, strict=True):
                if key not in self.names:
                    self.names[key] = value
                    if len(self.names) == MAX_NAMES:
                        break
        return np.array([keys, checks], np.int64).T

    def bins(self, keys: Array, buckets: int) -> Bins:
        """Categories or buckets, by what a sample of keys holds."""
        distinct, counts = np.unique(keys, return_counts=True)
        named = [
            (-int(count), self.names[int(key)], int(key))
            for key, count in zip(distinct, counts, strict=True)
            if int(key) in self.names
        ]
        # By name where counts are equal: keys differ from process to process.
        kept = sorted(named)[:MAX_CATEGORIES]
        covered = -sum(count for count, _, _ in kept)
        prose = any(len(name) > MAX_NAME_BYTES for _, name, _ in kept)
        empty = np.empty(0, np.int64)
        if prose or covered < COVERED * len(keys):
            return Bins(CATEGORY, STRING, empty, buckets=buckets)
        by_name = sorted((name.decode(errors="replace"), key) for _, name, key in kept)
        by_key = np.array([key for _, key in by_name], np.int64)
        order = np.argsort(by_key)
        return Bins(
            CATEGORY, STRING, empty, tuple(name for name, _ in by_name), 0, by_key[order], order
        )
