"""Rows on their way through shared memory: the same at the other end, or counted as dropped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.capture import ring
from gateway.capture.frames import FULL, SAMPLE, decode, encode, rows_of
from gateway.capture.ring import Ring, words_for

TEXTS = np.array([[b"a", b""], ["\u00e9", None], [b"\xff" * 9, "c"]], object)
NUMBERS = np.arange(12, dtype=np.float32).reshape(3, 2, 2)


def test_rows_come_out_as_they_went_in():
    subjects = [bytes(16), bytes(range(16))]
    frame = encode([NUMBERS, None, TEXTS], [7, 9], [1, 2], 5, 3, FULL, subjects=subjects)
    found = decode(frame, ["FP32", "INT64", "BYTES"])
    assert (found.at_ms, found.epoch, found.why.tolist()) == (5, 3, [FULL] * 3)
    assert (found.sequences.tolist(), found.rows.tolist()) == ([7, 9, 9], [0, 0, 1])
    assert found.subjects is not None
    assert found.subjects[2] == bytes(range(16))
    assert found.arrays[1] is None
    np.testing.assert_array_equal(found.arrays[0], NUMBERS)
    assert found.arrays[2] is not None
    assert found.arrays[2].tolist() == [
        [b"a", b""],
        ["\u00e9".encode(), b""],
        [b"\xff" * 9, b"c"],
    ]


def test_rows_that_were_chosen_keep_their_addresses():
    chosen = np.array([0, 3])
    why = np.array([SAMPLE, SAMPLE | FULL])
    frame = encode([np.zeros((2, 1))], [5, 6], [2, 2], 0, 1, why, chosen)
    found = decode(frame, ["FP64"])
    assert rows_of(frame) == 2
    assert (found.sequences.tolist(), found.rows.tolist()) == ([5, 6], [0, 1])
    assert found.why.tolist() == why.tolist()


def test_a_frame_of_other_tensors_is_refused():
    frame = encode([np.zeros((2, 3), np.float32)], [1], [2], 0, 1, FULL)
    with pytest.raises(ValueError, match="of FP64, got 24 bytes"):
        decode(frame, ["FP64"])


def frame_of(number: int, size: int) -> bytes:
    return encode([np.full((1, size), number % 200, np.uint8)], [number], [1], 0, 1, FULL)


@given(st.lists(st.tuples(st.integers(0, 150), st.booleans()), max_size=60))
def test_what_finds_room_is_read_once_in_order_and_the_rest_is_counted(steps):
    made = Ring(np.zeros(words_for(600), np.int64))
    kept, found = [], []
    for number, (size, drains) in enumerate(steps):
        frame = frame_of(number, size)
        if made.put(frame, 1):
            kept.append(frame)
        if drains:
            taken = made.read()
            assert taken.frames == made.read().frames
            found += taken.frames
            made.done(taken)
    found += made.read().frames
    assert found == kept
    assert made.words[ring.ROWS] == len(kept)
    assert made.words[ring.ROWS] + made.words[ring.DROPPED] == len(steps)


def test_an_empty_ring_always_takes_a_frame_of_half_its_size():
    made = Ring(np.zeros(words_for(512), np.int64))
    for number in range(100):
        frame = frame_of(number, 120)
        assert len(frame) <= 256
        assert made.put(frame, 1)
        made.done(made.read())
