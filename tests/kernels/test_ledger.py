"""Records are found where a dictionary would find them, and outcomes replace one another."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kernels import ledger
from tests.outcomes.records import records

ADDRESSES = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3)), max_size=60)


def write(words, places, outcomes, at_ms=None):
    became = np.empty(len(places), np.int64)
    times = np.arange(len(places)) if at_ms is None else np.array(at_ms)
    ledger.write_outcomes(
        words,
        words.view(np.float64),
        np.array(places, np.int64),
        np.array(outcomes, np.float64),
        times.astype(np.int64),
        became,
    )
    return became.tolist()


@given(ADDRESSES)
def test_it_finds_what_a_dictionary_would(addresses):
    words = records(
        [sequence for sequence, _ in addresses], rows=[row for _, row in addresses] or 0
    )
    places: dict[tuple[int, int], int] = {}
    for place, address in enumerate(addresses):
        places.setdefault(address, place)
    wanted = [(sequence, row) for sequence in range(22) for row in range(5)]
    found = ledger.wanted(*(np.array(some) for some in zip(*wanted, strict=True)))
    some = np.arange(0, len(wanted), 2)
    ledger.gather(words, ledger.address_order(words), some, found, 7)
    for one, line in enumerate(found):
        if one % 2 or wanted[one] not in places:
            assert line[ledger.FILE] == ledger.NOT_THERE
        else:
            its = places[wanted[one]]
            assert (line[ledger.FILE], line[ledger.PLACE]) == (7, its)
            assert line[: ledger.RECORD_WORDS].tolist() == words[its].tolist()


def test_what_was_found_in_one_file_is_not_looked_for_in_another():
    words = records([1])
    found = ledger.wanted(np.array([1]), np.array([0]))
    for file in (3, 4):
        ledger.gather(words, ledger.address_order(words), np.array([0]), found, file)
    assert found[0, ledger.FILE] == 3


def test_corrections_are_counted_up_to_their_bound_and_leave_how_a_variant_was_chosen():
    words = records([1], lots=0xABCDEF)
    write(words, [0] * 300, list(range(300)))
    (word,) = words[:, ledger.TOP_AND_CORRECTIONS].tolist()
    assert word & 0xFF == ledger.MAX_CORRECTIONS
    assert (word >> ledger.LOT_SHIFT & 0xFFFFFF, word >> 32) == (0xABCDEF, -1)


def test_of_several_outcomes_the_last_stands_and_the_same_again_changes_nothing():
    words = records([1, 2])
    assert write(words, [0, 0, 0, 1], [1, 1, 0, 3], [5, 6, 7, 8]) == [
        ledger.ACCEPTED,
        ledger.DUPLICATE,
        ledger.CORRECTED,
        ledger.ACCEPTED,
    ]
    reals = words.view(np.float64)
    assert reals[:, ledger.OUTCOME].tolist() == [0.0, 3.0]
    assert words[:, ledger.OUTCOME_MS].tolist() == [7, 8]
    assert (words[:, ledger.TOP_AND_CORRECTIONS] & 0xFFFFFFFF).tolist() == [1, 0]
    assert (words[:, ledger.TOP_AND_CORRECTIONS] >> 32).tolist() == [-1, -1]
