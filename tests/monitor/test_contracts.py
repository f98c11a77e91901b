"""What traffic breaks of a contract is counted once, whatever the policy, and fails nobody else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest

from gateway.contracts.live import Terms
from gateway.contracts.values import RULES, Choice, Contract, Range, Tensor
from gateway.errors import ContractViolated
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.contracts import Enforced, Observed, block_words
from gateway.monitor.sketch import Slot
from tests.monitor.watching import SIGNATURE

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
    Observed(TERMS, SIGNATURE, slot).count(GIVEN, [], 6)
    assert (counted(slot), slot.words[layout.CONTRACT_ROWS]) == (BROKEN, 6)
    for rejects in (False, True):
        slot.words[:] = 0
        door = Enforced(TERMS, slot, rejects)
        try:
            door.settle(door.examine(GIVEN), 6)
        except ContractViolated:
            assert rejects
        assert (counted(slot), slot.words[layout.CONTRACT_ROWS]) == (BROKEN, 6)


def test_what_keeps_to_it_passes_both_doors_in_silence(slot):
    for rejects in (False, True):
        door = Enforced(TERMS, slot, rejects)
        assert door.settle(door.examine(inputs((1, 2, 3))), 3) == ""
    assert (counted(slot), slot.words[layout.CONTRACT_ROWS]) == ({}, 6)


def test_a_warning_names_features_rules_and_how_often(slot):
    door = Enforced(TERMS, slot, rejects=False)
    assert door.settle(door.examine(inputs((1, 200, 300))), 3) == "age=above:2"


def test_a_refusal_names_row_feature_wanted_and_got(slot):
    door = Enforced(TERMS, slot, rejects=True)
    with pytest.raises(ContractViolated) as one:
        door.settle(door.examine(inputs((1, 200, 3))), 3)
    assert str(one.value) == "contract: row 1, feature 'age': expected 0.0 to 100.0, got 200.0"
    with pytest.raises(ContractViolated, match="; and 2 more: age=above:2, job=unseen:1"):
        door.settle(door.examine(inputs((1, 200, 300), (b"clerk", b"clerk", b"x"))), 3)


def test_what_cannot_be_examined_passes_and_is_counted_and_told_once(slot, caplog):
    wrong = [np.zeros((4, 5), np.float32), np.zeros((4, 1), object)]
    door = Enforced(TERMS, slot, rejects=True)
    with caplog.at_level(logging.ERROR):
        assert [door.settle(door.examine(wrong), 4) for _ in range(3)] == ["", "", ""]
        observed = Observed(TERMS, SIGNATURE, slot)
        for _ in range(2):
            observed.count(wrong, [], 4)
    assert len(caplog.records) == 2
    assert slot.words[layout.SKETCH_SKIPPED] == 20
    assert slot.words[layout.CONTRACT_ROWS] == 0


@pytest.mark.anyio
async def test_a_door_counts_behind_batches_that_a_thread_still_counts(slot, pool):
    held = Event()
    slot.line_up(lambda: int(not held.wait(60)), 1, 0)
    door = Enforced(TERMS, slot, rejects=False)
    assert door.settle(door.examine(inputs((200,))), 1) == "age=above:1"
    assert counted(slot) == {}
    held.set()
    for _ in range(3):  # each is given to the one thread once the loop has heard of the one before
        await asyncio.get_running_loop().run_in_executor(pool, int)
    assert counted(slot) == {"age=above": 1}


def test_a_slot_is_held_until_all_have_left(slot):
    door, observed = Enforced(TERMS, slot, rejects=True), Observed(TERMS, SIGNATURE, slot)
    door.close()
    assert slot.words[layout.SKETCH_HELD] == 1
    observed.close()
    assert slot.words[layout.SKETCH_HELD] == 0
