"""Control gives shadows room for their counts, adds these up, and keeps what differs most."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from prometheus_client.core import Metric

from gateway import config
from gateway.capture.schema import FEATURE, OUTPUT, Part, Schema
from gateway.control import shadow_metrics
from gateway.control.blocks import Blocks
from gateway.control.capture_wishes import CaptureWish
from gateway.control.shadows import HISTORY_S, KEPT, LOOK_S, MAX_DISAGREED, Row, Shadows
from gateway.errors import ArenaFull
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.plan import Plan, Route, Shadow, Split, Variant
from kernels import answers
from kernels import pairs as p

VARIANTS = (Variant("a", 1, 9.0), Variant("b", 2, 1.0))


class World:
    def __init__(self) -> None:
        self.arena = Arena.create(2)
        self.now = 100.0
        self.config = config.parse("models: {m: {scores: {threshold: 0.7, positive: 0}}}")
        self.blocks = Blocks(self.arena, lambda: self.now)
        self.plan = Plan(0)
        self.outcomes: dict[Row, float] = {}
        self.shadows = Shadows(
            self.arena,
            self.blocks,
            lambda: self.config,
            lambda slot, epoch: f"host-3-{slot}-{epoch}",
            lambda text: text.encode()[::-1],
            lambda: self.plan,
            self.came_of,
            lambda: self.now,
        )

    async def came_of(self, rows: Sequence[Row]) -> list[float | None]:
        return [self.outcomes.get(one) for one in rows]

    def place(self, *shadows: Shadow) -> Plan:
        split = Split(VARIANTS, shadows=shadows)
        routes = (Route("m", 1, {1: "m/1", 2: "m/2", 3: "m/3"}, split), Route("n", 1, {1: "n/1"}))
        self.plan = self.shadows.place(Plan(1, (), routes))
        return self.plan

    def count(self, answered: int, shadow: int, worker: int = 0, **words: int) -> None:
        block = self.arena.find(layout.PAIRS, layout.pairs_key("m", answered, shadow))
        assert block is not None
        for name, rows in words.items():
            self.arena.array(block, worker)[getattr(p, name.upper())] += rows

    def tell(self, unlikeness: float, slot: int = 0, **changed: Any) -> None:
        message = {
            "type": "different",
            "model": "m",
            "answered": 1,
            "shadow": 3,
            "epoch": 7,
            "sequence": int(unlikeness * 1000),
            "row": 0,
            "at": 5.0,
            "unlikeness": unlikeness,
            "agree": unlikeness <= 1,
            "inputs": {"x": [1.0, 2.0], "s": ["ann", "zoe"], "l": [1, 2, 3]},
            "said": {"y": [0.2, 0.8]},
            "shadow_said": {"y": [0.8, 0.2]},
        }
        self.shadows.take(slot, message | changed)

    def told(self) -> list[dict[str, Any]]:
        return self.shadows.different("m", 1, 3)


@pytest.fixture
def world():
    made = World()
    yield made
    made.arena.close()


def test_every_variant_but_the_shadow_itself_has_a_block_with_it(world):
    (route, plain) = world.place(Shadow(2, 0.5), Shadow(3, 1.0)).routes
    assert route.split is not None
    two, three = route.split.shadows
    assert ([one for one, _ in two.blocks], [one for one, _ in three.blocks]) == ([1], [1, 2])
    assert (three.threshold, three.positive, three.kind) == (0.7, 0, "auto")
    assert plain.split is None
    assert world.plan.pairs == {block for _, block in (*two.blocks, *three.blocks)}
    before = world.plan
    assert world.place(Shadow(2, 0.5), Shadow(3, 1.0)) == before  # nothing new, no new plan


def test_a_block_stays_as_long_as_a_plan_names_it(world):
    world.place(Shadow(3, 1.0))
    world.blocks.want(frozenset(), world.plan.pairs)
    world.now += 10_000
    world.blocks.sweep()
    assert len(list(world.arena.blocks(layout.PAIRS))) == 2
    world.blocks.want(frozenset(), frozenset())
    world.now += 10_000
    world.blocks.sweep()
    assert list(world.arena.blocks(layout.PAIRS)) == []


def test_where_there_is_no_room_a_shadow_is_not_run_and_the_log_says_so_once(world, caplog):
    def full(key: str) -> int:
        raise ArenaFull("no room")

    world.blocks.allocate_pairs = full
    with caplog.at_level(logging.ERROR):
        for _ in range(2):
            (route, _) = world.place(Shadow(3, 1.0)).routes
    assert route.split is not None
    assert route.split.shadows[0].blocks == ()
    assert len(caplog.records) == 2  # one for each version that answers


def test_counts_of_workers_and_of_versions_add_up(world):
    world.place(Shadow(3, 0.5))
    world.count(1, 3, copied=10, rows=8, agreed=8, dropped=2)
    world.count(1, 3, worker=1, copied=5, rows=5, agreed=4)
    world.count(2, 3, copied=1, failed=1)
    first, second = world.shadows.readings("m")
    assert (first.answered, first.shadow, first.share, first.window_s) == (1, 3, 0.5, None)
    assert (first.pairs.rows, first.pairs.disagreeing, first.pairs.dropped) == (13, 1, 2)
    assert second.pairs.failed == 1
    assert world.shadows.sums("m", 3).copied == 16
    assert world.shadows.sums("m", 3, answered=2).copied == 1
    assert world.shadows.readings("n") == []


def test_a_shadow_that_is_gone_is_told_of_with_a_share_of_nothing(world):
    world.place(Shadow(3, 0.5))
    world.count(1, 3, copied=10, rows=10)
    world.place()
    assert [one.share for one in world.shadows.readings("m")] == [0.0, 0.0]


@pytest.mark.anyio
async def test_a_window_is_what_came_in_since(world):
    world.place(Shadow(3, 1.0))
    await world.shadows.look()
    for _ in range(5):
        world.count(1, 3, copied=10, rows=10)
        world.now += LOOK_S
        await world.shadows.look()
    world.count(1, 3, copied=3, rows=3)
    (found, _) = world.shadows.readings("m", 2 * LOOK_S)
    assert (found.pairs.rows, found.window_s) == (23, 2 * LOOK_S)
    (found, _) = world.shadows.readings("m", HISTORY_S)  # as far as is known
    assert (found.pairs.rows, found.window_s) == (53, 5 * LOOK_S)
    (found, _) = world.shadows.readings("m")
    assert found.pairs.rows == 53


def test_the_rows_that_differ_most_are_kept_and_no_more_than_a_few(world):
    for number in range(100):
        world.tell(number / 100)
    unlikeness = [one["unlikeness"] for one in world.told()]
    assert unlikeness == [number / 100 for number in range(99, 99 - KEPT, -1)]


def test_nothing_of_a_row_is_seen_until_it_is_known_what_is_hidden(world):
    world.tell(0.5)
    assert (world.told()[0]["inputs"], world.told()[0]["said"]) == (None, None)
    world.shadows.know("m", 1, None)
    world.tell(0.6, slot=1)
    assert world.told()[0]["inputs"]["x"] == [1.0, 2.0]
    assert world.told()[0]["request_id"] == "host-3-1-7-258"


def test_what_is_masked_or_hashed_of_captured_rows_is_not_seen_here_either(world):
    world.config = config.parse("models: {m: {capture: {mask: [a, l], hash: [who]}}}")
    parts = (
        Part(FEATURE, "x", "FP32", (2,), ("a", "b"), masked=(0,)),
        Part(FEATURE, "s", "BYTES", (2,), ("who", "what"), hashed=(0,)),
        Part(FEATURE, "l", "INT64", (-1,), ("l",), many=True, masked=(0,)),
        Part(OUTPUT, "y", "FP32", (2,), ("no", "yes"), masked=(1,)),
    )
    settings = world.config.capture_of("m")
    world.shadows.know("m", 1, CaptureWish(Schema("m", 1, parts, True, {}), None, settings))
    world.tell(0.5)
    (row,) = world.told()
    assert row["inputs"] == {"x": [None, 2.0], "s": [b"nna".hex(), "zoe"], "l": []}
    assert (row["said"], row["shadow_said"]) == ({"y": [0.2, None]}, {"y": [0.8, None]})
    world.shadows.know("m", 1, None)  # a mask that names nobody: whose it is cannot be told
    world.tell(0.9)
    assert world.told()[0]["inputs"] is None


def test_an_erased_request_is_seen_no_more_and_is_not_kept_again(world):
    world.tell(0.5)
    world.tell(0.6)
    world.shadows.forget(["host-3-0-7-1f4"], subjects=False)
    assert [one["unlikeness"] for one in world.told()] == [0.6]
    world.tell(0.5)
    assert len(world.told()) == 1
    world.shadows.forget([], subjects=True)
    assert world.told() == []


def test_metrics_tell_what_became_of_every_row(world):
    world.place(Shadow(3, 0.5))
    world.count(1, 3, copied=14, rows=8, agreed=7, dropped=2, failed=3, unlike=1)
    found: dict[str, Metric] = {
        one.name: one for one in shadow_metrics.families(world.shadows.readings())
    }
    rows = {
        one.labels["result"]: one.value
        for one in found["penstock_shadow_rows"].samples
        if one.labels["version"] == "1"
    }
    assert rows == {"compared": 8, "dropped": 2, "failed": 3, "unlike": 1}
    assert [one.value for one in found["penstock_shadow_disagreements"].samples] == [1, 0]
    assert [one.value for one in found["penstock_shadow_share"].samples] == [0.5, 0.5]
    assert np.isfinite([one.value for many in found.values() for one in many.samples]).all()


def test_metrics_of_a_language_model_tell_aspects_tokens_and_cost(world):
    world.place(Shadow(3, 0.5))
    first, second = np.zeros((2, 4, answers.COLUMNS))
    second[:3, answers.ASPECTS.index("refused")] = 1.0
    tokens = len(answers.ASPECTS) + answers.MEASURES.index("output_tokens")
    first[:, tokens], second[:, tokens] = 10.0, 25.0
    alike = np.zeros(4)
    for worker in range(2):
        block = world.arena.find(layout.PAIRS, layout.pairs_key("m", 1, 3))
        answers.compare(world.arena.array(block, worker), first, second, alike, np.empty(4))
    found = {one.name: one for one in shadow_metrics.families(world.shadows.readings())}
    differing = found["penstock_shadow_differences"].samples
    assert {one.labels["aspect"]: one.value for one in differing}["refused"] == 6
    paired = found["penstock_shadow_paired_tokens"].samples
    assert {one.labels["of"]: one.value for one in paired} == {"answered": 80, "shadow": 200}
    assert found["penstock_shadow_disagreements"].samples[0].value == 6


def disagreed(*rows: tuple[int, int, int, int]) -> dict[str, Any]:
    about = {"type": "disagreed", "model": "m", "answered": 1, "shadow": 3, "epoch": 7}
    return {**about, "rows": [list(row) for row in rows]}


@pytest.mark.anyio
async def test_outcomes_say_which_of_two_was_right_where_they_disagree(world):
    world.shadows.take_disagreed(0, disagreed((1, 0, 0, 1), (1, 1, 1, 0), (2, 0, 0, 1)))
    world.shadows.take_disagreed(1, disagreed((1, 0, 2, 1), (9, 0, 0, 1)))
    world.outcomes = {
        ("host-3-0-7", 1, 0): 1.0,
        ("host-3-0-7", 1, 1): 1.0,
        ("host-3-0-7", 2, 0): 1.0,
        ("host-3-1-7", 1, 0): 0.0,
    }
    found = await world.shadows.discordance("m", 1, 3)
    assert (found.answered, found.shadow, found.neither, found.known) == (1, 2, 1, 4)
    world.shadows.forget(["host-3-0-7-1"], subjects=False)
    assert (await world.shadows.discordance("m", 1, 3)).known == 2
    assert (await world.shadows.discordance("m", 2, 3)).known == 0


@pytest.mark.anyio
async def test_no_more_disagreements_wait_for_outcomes_than_there_is_room_for(world):
    for number in range(MAX_DISAGREED + 10):
        world.shadows.take_disagreed(0, disagreed((number, 0, 0, 1)))
    world.outcomes = {("host-3-0-7", number, 0): 1.0 for number in range(MAX_DISAGREED + 10)}
    assert (await world.shadows.discordance("m", 1, 3)).shadow == MAX_DISAGREED
