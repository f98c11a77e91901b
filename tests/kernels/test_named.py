"""A client's id means a request exactly where it means one alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kernels import named
from tests import reference

ENTRIES = st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 4), st.integers(1, 2)), max_size=12)


@given(st.lists(ENTRIES, max_size=3), st.sets(st.integers(1, 3)))
def test_it_finds_what_a_dictionary_would(streams, series):
    wanted = range(-4, 5)
    found = np.zeros((len(wanted), named.FOUND_WORDS), np.int64)
    counted = np.array(sorted(series), np.int64)
    for number, some in enumerate(streams):
        entries = np.array([(d, s, one << 32 | 1) for d, s, one in some], np.int64).reshape(-1, 3)
        for part in (entries, entries[::2]):  # the same may stand in two files
            named.find(named.by_digest(part), np.array(wanted), counted, number, found)
    for digest, (hits, stream, sequence) in zip(wanted, found.tolist(), strict=True):
        meant = reference.meant(streams, digest, series)
        assert hits == min(len(meant), named.MANY)
        if hits == 1:
            assert {(stream, sequence)} == meant
