"""A column of numbers follows its records, whoever is killed."""

from __future__ import annotations

import os

import numpy as np
import pytest

from gateway.errors import StoreFailed
from gateway.outcomes.segment import Segment, clear_up, segments_in
from tests.outcomes.records import STREAM, records


@pytest.fixture
def segment(tmp_path):
    made = Segment.create(tmp_path, STREAM, 0, capacity=8)
    made.append(records([7, 3, 5, 3]))
    made.columns.add(2)
    made.columns.put(2, np.array([0, 1]), np.array([0.7, 0.3]))
    return made


def known(segment):
    values = segment.columns.values(2)[: segment.count]
    return {place: value for place, value in enumerate(values.tolist()) if value == value}


def test_numbers_are_in_the_order_of_their_records_sealed_or_not(segment, tmp_path):
    assert known(segment) == {0: 0.7, 1: 0.3}
    sealed = segment.seal()
    assert known(sealed) == {0: 0.3, 2: 0.7}
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {sealed.path.name, f"{sealed.path.name}.m2"}


def test_another_process_finds_them(segment, tmp_path):
    ((again,), _) = segments_in(tmp_path)
    assert (list(again.columns), known(again)) == ([2], {0: 0.7, 1: 0.3})


def test_who_is_killed_while_a_file_is_sealed_leaves_one_column(segment, tmp_path):
    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}
    sealed = segment.seal()
    for path, content in kept.items():
        path.write_bytes(content)  # killed before they were removed
    clear_up(tmp_path)
    ((again,), _) = segments_in(tmp_path)
    assert (again.path, known(again)) == (sealed.path, {0: 0.3, 2: 0.7})
    assert len(list(tmp_path.iterdir())) == 2


def test_who_is_killed_before_a_file_is_sealed_leaves_the_open_one(segment, tmp_path):
    sealed = tmp_path / f"{STREAM}.000000.sealed"
    sealed.with_name(sealed.name + ".m2").write_bytes(bytes(24))
    sealed.with_name(sealed.name + ".m2.half").write_bytes(b"begun")
    clear_up(tmp_path)
    ((again,), _) = segments_in(tmp_path)
    assert known(again) == {0: 0.7, 1: 0.3}
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(("size", "left"), [(13, {0: 0.7}), (0, {}), (64, {0: 0.7, 1: 0.3})])
def test_a_column_that_was_cut_short_knows_what_it_still_holds(segment, tmp_path, size, left):
    os.truncate(tmp_path / f"{segment.path.name}.m2", size)
    ((again,), _) = segments_in(tmp_path)
    assert known(again) == left
    again.columns.put(2, np.array([3]), np.array([1.5]))
    assert known(again) == left | {3: 1.5}


def test_a_disk_without_room_is_an_error_and_leaves_no_column(segment, tmp_path):
    (tmp_path / f"{segment.path.name}.m3.half").mkdir()
    with pytest.raises((StoreFailed, OSError)):
        segment.columns.add(3)
    assert 3 not in segment.columns
