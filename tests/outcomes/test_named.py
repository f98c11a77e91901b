"""Clients' ids stay beside the records that they are of."""

from __future__ import annotations

import os

import numpy as np
import pytest

from gateway.outcomes.named import ENTRY_BYTES
from gateway.outcomes.segment import Segment, clear_up, segments_in
from tests.outcomes.records import STREAM, records


@pytest.fixture
def segment(tmp_path):
    made = Segment.create(tmp_path, STREAM, 0, capacity=8)
    made.append(records(range(4)))
    made.named.add(np.array([(30, 0, 1), (10, 1, 1)]))
    made.named.add(np.array([(20, 2, 1), (10, 1, 1)]))
    return made


def known(segment):
    for part in segment.named.parts():
        assert part[:, 0].tolist() == sorted(part[:, 0].tolist())
    return sorted(tuple(one) for part in segment.named.parts() for one in part.tolist())


WHOLE = [(10, 1, 1), (20, 2, 1), (30, 0, 1)]


def test_they_are_by_digest_and_of_a_sealed_file_each_once(segment):
    assert known(segment) == [WHOLE[0], *WHOLE]
    many = [(-number, 3, 1) for number in range(10_000)]
    for start in range(0, len(many), 3000):
        segment.named.add(np.array(many[start : start + 3000]))
    assert known(segment) == [*reversed(many), WHOLE[0], *WHOLE]
    sealed = segment.seal()
    assert known(sealed) == [*reversed(many), *WHOLE]
    assert sealed.named.nbytes == 10_003 * ENTRY_BYTES


def test_another_process_finds_them_but_for_half_of_one(segment, tmp_path):
    with (tmp_path / f"{segment.path.name}.ids").open("ab") as file:
        file.write(b"half")
    ((again,), _) = segments_in(tmp_path)
    again.named.add(np.array([(7, 3, 1)]))
    ((again,), _) = segments_in(tmp_path)
    assert known(again) == [(7, 3, 1), WHOLE[0], *WHOLE]


def test_a_file_that_was_cut_short_knows_what_it_still_holds(segment, tmp_path):
    sealed = segment.seal()
    os.truncate(tmp_path / f"{sealed.path.name}.ids", 2 * ENTRY_BYTES + 5)
    ((again,), _) = segments_in(tmp_path)
    assert known(again) == WHOLE[:2]


def test_they_go_with_their_records_whoever_is_killed(segment, tmp_path):
    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}
    sealed = segment.seal()
    for path, content in kept.items():
        path.write_bytes(content)  # killed before they were removed
    clear_up(tmp_path)
    ((again,), _) = segments_in(tmp_path)
    assert (again.path, known(again)) == (sealed.path, WHOLE)
    again.path.unlink()  # killed while it was forgotten
    clear_up(tmp_path)
    assert list(tmp_path.iterdir()) == []
