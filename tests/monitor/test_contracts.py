"""What traffic breaks of a contract is counted once, whatever the policy, and fails nobody else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event

import numpy as np
import pytest

from gateway.contracts.cover import covers
from gateway.contracts.inference import infer
from gateway.contracts.live import Terms
from gateway.contracts.values import RULES, Choice, Contract, Range, Tensor
from gateway.errors import ContractViolated
from gateway.monitor import layout
from gateway.monitor.arena import TICK, Arena
from gateway.monitor.contracts import Enforced, Observed, block_words
from gateway.monitor.sketch import Sketch
from gateway.monitor.slot import Slot
from gateway.profiles import live
from tests.monitor.watching import SIGNATURE, profile_of, rows

CONTRACT = Contract(
    (
        Tensor("x", "FP32", (Range("age", 0, 100, True, False, False), Range("income"))),
        Tensor("job", "BYTES", (Choice("job", ("clerk",), False, False),)),
    )
)
TERMS = Terms(CONTRACT, SIGNATURE)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


@pytest.fixture
def slot(pool) -> Iterator[Slot]:
    arena = Arena.create(1)
    key = layout.contract_key("m", 1, "columns")
    offset = arena.allocate(layout.CONTRACT, key, block_words(TERMS.names))
    yield Slot(arena.array(offset, 0), pool)
    arena.close()


def inputs(ages=(20,), jobs=(b"clerk",)):
    x = np.array([[age, 1] for age in ages], np.float32)
    return [x, np.array([[job] for job in jobs * (len(ages) // len(jobs))], object)]


def counted(slot: Slot) -> dict[str, int]:
    words = slot.words[layout.CONTRACT_FIRST :].tolist()
    return {
        f"{name}={rule}": words[column * len(RULES) + place]
        for column, name in enumerate(TERMS.names)
        for place, rule in enumerate(RULES)
        if words[column * len(RULES) + place]
    }


GIVEN = inputs((20, -1, 120, np.nan, 20.5, 30), (b"clerk", b"pilot"))
BROKEN = {"age=missing": 1, "age=below": 1, "age=above": 1, "age=fraction": 1, "job=unseen": 3}


def test_every_policy_counts_the_same(slot):
    Observed(TERMS, slot, covered=False).add(GIVEN, 6, 0)
    assert (counted(slot), slot.words[layout.CONTRACT_ROWS]) == (BROKEN, 6)
    for rejects in (False, True):
        slot.words[:] = 0
        door = Enforced(TERMS, slot, slot, rejects)
        try:
            door.settle(door.examine(GIVEN), 6)
        except ContractViolated:
            assert rejects
        assert (counted(slot), slot.words[layout.CONTRACT_ROWS]) == (BROKEN, 6)


PROFILE = profile_of(*rows(np.random.default_rng(1), 500))


@pytest.mark.parametrize("edit", [None, "narrower"])
def test_a_sketch_that_knows_the_range_leaves_out_no_breach(slot, pool, edit):
    contract = infer(PROFILE)
    if edit:
        first = contract.tensors[0]
        narrow = tuple(Range(column.name, -0.5, 100.0) for column in first.columns)
        contract = Contract((replace(first, columns=narrow), *contract.tensors[1:]))
    assert covers(contract, PROFILE) == (edit is None)
    terms = Terms(contract, SIGNATURE)
    arena = Arena.create(1)
    block = arena.allocate(layout.SKETCH, "m/1//all/d", live.block_words(PROFILE))
    counts = Slot(arena.array(block, 0), pool)
    observed = Observed(terms, slot, covers(contract, PROFILE))
    tick = arena.control_row[TICK : TICK + 1]
    sketch = Sketch(live.counted(PROFILE, SIGNATURE), counts, tick, observed=observed)
    by_hand = np.zeros(terms.words, np.int64)
    rng = np.random.default_rng(2)
    for _ in range(200):
        given, outputs = rows(rng, 4)
        given[0][rng.random((4, 2)) < 0.02] = rng.choice([np.nan, np.inf, -9, 9])
        given[1][rng.random((4, 1)) < 0.02] = b"pilot"
        sketch.count(given, outputs, 4)
        terms.count(given, by_hand)
    assert by_hand.sum() > 20
    words = slot.words[layout.CONTRACT_FIRST :][: terms.words]
    assert words.tolist() == by_hand.tolist()
    assert (slot.words[layout.CONTRACT_ROWS], slot.words[layout.SKETCH_HELD]) == (800, 1)
    sketch.close()
    assert slot.words[layout.SKETCH_HELD] == 0
    arena.close()


def test_what_keeps_to_it_passes_both_doors_in_silence(slot):
    for rejects in (False, True):
        door = Enforced(TERMS, slot, slot, rejects)
        assert door.settle(door.examine(inputs((1, 2, 3))), 3) == ""
    assert (counted(slot), slot.words[layout.CONTRACT_ROWS]) == ({}, 6)


def test_a_warning_names_features_rules_and_how_often(slot):
    door = Enforced(TERMS, slot, slot, rejects=False)
    assert door.settle(door.examine(inputs((1, 200, 300))), 3) == "age=above:2"


def test_a_refusal_names_row_feature_wanted_and_got(slot):
    door = Enforced(TERMS, slot, slot, rejects=True)
    with pytest.raises(ContractViolated) as one:
        door.settle(door.examine(inputs((1, 200, 3))), 3)
    assert str(one.value) == "contract: row 1, feature 'age': expected 0 to 100, got 200.0"
    with pytest.raises(ContractViolated, match="; and 2 more: age=above:2, job=unseen:1"):
        door.settle(door.examine(inputs((1, 200, 300), (b"clerk", b"clerk", b"x"))), 3)


def test_what_cannot_be_examined_passes_and_is_counted_and_told_once(slot, caplog):
    wrong = [np.zeros((4, 5), np.float32), np.zeros((4, 1), object)]
    door = Enforced(TERMS, slot, slot, rejects=True)
    with caplog.at_level(logging.ERROR):
        assert [door.settle(door.examine(wrong), 4) for _ in range(3)] == ["", "", ""]
        observed = Observed(TERMS, slot, covered=True)
        for _ in range(2):
            observed.add(wrong, 4, 1)
    assert len(caplog.records) == 2
    assert slot.words[layout.SKETCH_SKIPPED] == 20
    assert slot.words[layout.CONTRACT_ROWS] == 0


@pytest.mark.anyio
async def test_a_door_counts_behind_batches_that_a_thread_still_counts(slot, pool):
    held = Event()
    slot.line_up(lambda: int(not held.wait(60)), 0, 0)
    door = Enforced(TERMS, slot, slot, rejects=False)
    assert door.settle(door.examine(inputs((200,))), 1) == "age=above:1"
    assert counted(slot) == {}
    held.set()
    for _ in range(3):  # each is given to the one thread once the loop has heard of the one before
        await asyncio.get_running_loop().run_in_executor(pool, int)
    assert counted(slot) == {"age=above": 1}


def test_a_slot_is_held_until_all_have_left(slot):
    door, observed = Enforced(TERMS, slot, slot, rejects=True), Observed(TERMS, slot, covered=True)
    door.close()
    assert slot.words[layout.SKETCH_HELD] == 1
    observed.close()
    assert slot.words[layout.SKETCH_HELD] == 0
