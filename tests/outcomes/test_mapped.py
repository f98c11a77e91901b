"""Files stay mapped while they are used, within bounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gateway.outcomes.mapped import MAX_BYTES, MAX_FILES, Held, Mapped
from gateway.outcomes.segment import CAPACITY, RECORD_BYTES, Segment
from kernels.ledger import SEQUENCE
from tests.outcomes.records import STREAM, records

WORDS = 512


def files(folder: Path, held: Held, count: int = 6) -> list[Mapped]:
    made = []
    for number in range(count):
        path = folder / f"{number}"
        path.write_bytes(np.full(WORDS, number).tobytes())
        made.append(Mapped(path, WORDS, held))
    return made


def mapped(folder: Path) -> list[str]:
    """Names of the files that this process has mapped."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return sorted({line.rsplit("/", 1)[1] for line in lines if f"{folder}/" in line})


@pytest.mark.parametrize("bound", [(3 * WORDS * 8, 100), (1 << 30, 3)], ids=["bytes", "files"])
def test_those_that_were_used_last_stay_mapped_and_no_more(tmp_path, bound):
    held = Held(*bound)
    some = files(tmp_path, held)
    for number in (0, 1, 2, 3, 4, 5, 1, 2, 1, 0):
        assert some[number].words()[0] == number
    assert mapped(tmp_path) == ["0", "1", "2"]
    assert held.nbytes == 3 * WORDS * 8


def test_who_still_looks_at_a_file_keeps_it_and_others_are_mapped_again(tmp_path):
    some = files(tmp_path, Held(WORDS * 8), 2)
    first = some[0].words()
    some[1].words()
    assert (first[0], mapped(tmp_path)) == (0, ["0", "1"])
    del first
    assert mapped(tmp_path) == ["1"]
    assert some[0].words()[-1] == 0


def test_a_file_that_was_let_go_counts_no_more(tmp_path):
    held = Held()
    some = files(tmp_path, held, 2)
    for one in some:
        one.words()
        one.let_go()
        one.let_go()
    assert (held.nbytes, mapped(tmp_path)) == (0, [])


def test_sealed_files_share_the_bound_and_ten_million_records_fit_in_it(tmp_path):
    held, sealed = Held(2 * 17 * RECORD_BYTES), []
    for number in range(5):
        opened = Segment.create(tmp_path, STREAM, number, 16, held)
        opened.append(records(range(16)))
        sealed.append(opened.seal())
    for one in sealed:
        assert one.records()[15, SEQUENCE] == 15
    assert len(mapped(tmp_path)) == 2
    files_of_it = -(-10_000_000 // CAPACITY)
    assert 10_000_000 * RECORD_BYTES + files_of_it * RECORD_BYTES <= MAX_BYTES <= 700e6
    assert files_of_it <= MAX_FILES
