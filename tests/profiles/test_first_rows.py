"""Rows that went through a slot of memory give the profile that the same rows give at once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gateway.monitor import layout
from gateway.monitor.first_rows import FirstRows
from gateway.monitor.slot import Slot
from gateway.profiles import document, first_rows
from gateway.profiles.builder import Builder
from gateway.profiles.plans import FramePlan, plan_frames
from gateway.profiles.values import Profile
from gateway.tensors import Array, Signature, TensorSpec

SIGNATURE = Signature(
    (
        TensorSpec("x", "FP32", (-1, 3)),
        TensorSpec("job", "BYTES", (-1, 2)),
        TensorSpec("picture", "FP32", (-1, 3, 8, 8)),
        TensorSpec("long", "FP64", (-1, 400)),
    ),
    (TensorSpec("label", "INT64", (-1,)), TensorSpec("score", "FP32", (-1, 2))),
    True,
)
NAMES = {"x": ["age", "income", "code"]}


def rows(rng: np.random.Generator, count: int) -> tuple[list[Array], list[Array]]:
    x = rng.normal(size=(count, 3)).astype(np.float32)
    x[:, 2] = rng.integers(0, 4, count)
    x[rng.random((count, 3)) < 0.02] = np.nan
    words = np.array([b"clerk", b"smith", b"", "bäcker".encode(), b"p" * 300], object)
    jobs = rng.choice(words, (count, 2), p=[0.4, 0.3, 0.1, 0.15, 0.05])
    jobs[:, 1] = [
        b"%d" % number + b"-" * int(number % 400) for number in rng.integers(0, 9**9, count)
    ]
    score = rng.random((count, 1)).astype(np.float32)
    return (
        [x, jobs, rng.random((count, 3, 8, 8)).astype(np.float32), rng.normal(size=(count, 400))],
        [rng.integers(0, 2, count), np.hstack([score, 1 - score])],
    )


def named(inputs: Sequence[Array], outputs: Sequence[Array]) -> tuple[dict[str, Array], ...]:
    return (
        dict(zip(("x", "job", "picture", "long"), inputs, strict=True)),
        dict(zip(("label", "score"), outputs, strict=True)),
    )


def slot_of(rows_wanted: int, words: int | None = None) -> Slot:
    words = words or first_rows.slot_words(SIGNATURE, NAMES, rows_wanted)
    return Slot(np.zeros(words, np.int64), ThreadPoolExecutor(1))


def keeper(slot: Slot, wanted: int, clock=lambda: 1.0) -> FirstRows:
    return FirstRows(SIGNATURE, slot, wanted, NAMES, ("code",), clock)


def profile_of(slots: Sequence[Slot], wanted: int) -> Profile:
    plans = first_rows.read_frames(first_rows.frames_of(slots[0].words))
    records = [record for slot in slots for record in first_rows.records_of(slot.words)]
    with Builder(plans) as builder:
        first_rows.add_all(builder, plans, records, wanted)
        return builder.build()


def at_once(inputs: Sequence[Array], outputs: Sequence[Array]) -> Profile:
    taken, given = named(inputs, outputs)
    with Builder(plan_frames(SIGNATURE, taken, given, NAMES, ("code",))) as builder:
        builder.add(len(inputs[0]), taken, given)
        return builder.build()


def test_kept_rows_make_the_very_profile_that_they_make_at_once():
    inputs, outputs = rows(np.random.default_rng(1), 900)
    slot = slot_of(900)
    kept = keeper(slot, 900)
    for start in range(0, 900, 7):
        part = slice(start, start + 7)
        size = len(inputs[0][part])
        kept.count([a[part] for a in inputs], [a[part] for a in outputs], size)
    assert slot.words[first_rows.ROWS] == 900
    made, wanted = profile_of([slot], 900), at_once(inputs, outputs)
    assert {"job.bytes", "picture.image", "long.vector", "score.probabilities"} <= {
        frame.name for frame in made.frames
    }
    assert document.text(made) == document.text(wanted)


def test_of_two_slots_the_oldest_rows_count_and_a_batch_is_cut_where_they_are_enough():
    inputs, outputs = rows(np.random.default_rng(2), 100)
    now = iter(range(1, 100))
    slots = [slot_of(90), slot_of(90)]
    takers = [keeper(slot, 90, lambda: float(next(now))) for slot in slots]
    for turn, start in enumerate(range(0, 100, 20)):
        part = slice(start, start + 20)
        takers[turn % 2].count([a[part] for a in inputs], [a[part] for a in outputs], 20)
    found = profile_of(slots, 90)
    assert document.digest(found) == document.digest(
        at_once([a[:90] for a in inputs], [a[:90] for a in outputs])
    )


def test_a_successor_goes_on_behind_the_last_whole_record():
    inputs, outputs = rows(np.random.default_rng(3), 30)
    slot = slot_of(30)
    first = keeper(slot, 30)
    first.count([a[:10] for a in inputs], [a[:10] for a in outputs], 10)
    end = int(slot.words[first_rows.END])
    first.count([a[10:20] for a in inputs], [a[10:20] for a in outputs], 10)
    # Killed before the second record counted.
    slot.words[first_rows.END], slot.words[first_rows.ROWS] = end, 10
    keeper(slot, 30).count([a[20:] for a in inputs], [a[20:] for a in outputs], 10)
    assert slot.words[first_rows.ROWS] == 20
    parts = [np.concatenate([a[:10], a[20:]]) for a in inputs]
    answers = [np.concatenate([a[:10], a[20:]]) for a in outputs]
    assert document.digest(profile_of([slot], 20)) == document.digest(at_once(parts, answers))


def test_a_slot_that_has_what_is_wanted_takes_no_more():
    inputs, outputs = rows(np.random.default_rng(4), 10)
    slot = slot_of(15)
    kept = keeper(slot, 15)
    for _ in range(4):
        kept.count(inputs, outputs, 10)
    assert (slot.words[first_rows.ROWS], slot.words[layout.SKETCH_SKIPPED]) == (20, 0)


def test_a_slot_without_room_says_so_and_keeps_what_it_has():
    inputs, outputs = rows(np.random.default_rng(5), 10)
    slot = slot_of(1000, words=(1 << 14) // 8)
    kept = keeper(slot, 1000)
    for _ in range(20):
        kept.count(inputs, outputs, 10)
    there = int(slot.words[first_rows.ROWS])
    assert 0 < there < 200
    assert slot.words[first_rows.FULL] == 1
    assert profile_of([slot], 1000).rows == there


def test_a_batch_that_lacks_an_output_of_the_first_one_is_left_out():
    inputs, outputs = rows(np.random.default_rng(6), 10)
    slot = slot_of(100)
    kept = keeper(slot, 100)
    kept.count(inputs, outputs, 10)
    kept.count(inputs, [outputs[0], None], 10)
    assert (slot.words[first_rows.ROWS], slot.words[layout.SKETCH_SKIPPED]) == (10, 10)


def test_an_output_that_one_client_leaves_out_at_first_is_watched_all_the_same():
    inputs, outputs = rows(np.random.default_rng(7), 10)
    slot = slot_of(100)
    kept = keeper(slot, 100)
    kept.count(inputs, [None, outputs[1]], 10)
    kept.count(inputs, outputs, 10)
    assert (slot.words[first_rows.ROWS], slot.words[layout.SKETCH_SKIPPED]) == (10, 10)
    assert "label" in {frame.tensor for frame in profile_of([slot], 10).frames}


def test_an_output_that_nobody_asks_for_keeps_nothing_from_being_watched():
    inputs, outputs = rows(np.random.default_rng(7), 1)
    slot = slot_of(100)
    kept = keeper(slot, 100)
    for _ in range(110):
        kept.count(inputs, [None, outputs[1]], 1)
    assert slot.words[first_rows.ROWS] == 10
    assert "label" not in {frame.tensor for frame in profile_of([slot], 10).frames}


def test_what_waits_for_a_thread_is_not_written_once_a_deployment_has_left():
    inputs, outputs = rows(np.random.default_rng(8), 10)
    slot = slot_of(100)
    kept = keeper(slot, 100)
    kept.close()
    kept.count(inputs, outputs, 10)
    assert slot.words[first_rows.ROWS] == 0


def test_frames_come_back_from_their_json_as_they_were():
    taken, given = named(*rows(np.random.default_rng(9), 20))
    plans: list[FramePlan] = plan_frames(SIGNATURE, taken, given, NAMES, ("code",))
    assert list(first_rows.read_frames(first_rows.write_frames(plans))) == plans


@pytest.mark.parametrize(
    ("shape", "wanted", "slot_bytes"),
    [
        pytest.param((-1, 30), 5000, 1 << 24, id="a-table"),
        pytest.param((-1, 3), 100, 1 << 18, id="small"),
        pytest.param((-1, 3, 224, 224), 5000, 1 << 24, id="images"),
        pytest.param((-1, 256), 1_000_000, 1 << 24, id="never-more-than-the-largest"),
    ],
)
def test_slots_come_in_few_sizes(shape, wanted, slot_bytes):
    signature = Signature((TensorSpec("x", "FP32", shape),), (), True)
    assert first_rows.slot_words(signature, {}, wanted) * 8 <= slot_bytes
