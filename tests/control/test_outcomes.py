"""Control keeps what workers write down, through kills and full disks, and joins outcomes to it."""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gateway.config import Config, parse
from gateway.control.outcomes import FOLDER, Outcomes
from gateway.errors import InvalidParameter, NotFound, StoreFailed
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.ledger import LedgerWriter
from gateway.monitor.scores import reading
from gateway.monitor.slot import Slot
from gateway.outcomes.arrivals import Arrival, Arrivals, of_list
from gateway.outcomes.concept import LAYOUT
from gateway.outcomes.packed import packed
from gateway.outcomes.results import Joined
from gateway.profiles.values import Calibration
from gateway.tensors import Signature, TensorSpec
from kernels import adwin, concept, marks
from kernels.marks import grouped
from kernels.shares import chosen, limit
from tests.outcomes.records import NOON_MS

pytestmark = pytest.mark.anyio
SIGNATURE = Signature(
    (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("p", "FP64", (-1, 2)),), batched=True
)
ON = "ledger: {enabled: true}\nmodels: {m: {scores: {classes: [bad, good]}}}"


def candidate(name="m", version=1) -> Any:
    return SimpleNamespace(name=name, version=version)


class World:
    """Two workers and control, without a server."""

    def __init__(self, home: Path, pool: ThreadPoolExecutor) -> None:
        self.home = home
        self.pool = pool
        self.arena = Arena.create(2)
        self.config: Config = parse(ON)
        self.now = NOON_MS / 1000.0
        self.writers: dict[tuple[int, int], LedgerWriter] = {}
        for slot in range(2):
            self.arena.claim(slot, 100 + slot, 1, 0)
        self.outcomes = self.new_control()

    def new_control(self) -> Outcomes:
        return Outcomes(self.arena, self.home, lambda: self.config, stream, lambda: self.now)

    def answer(
        self,
        sequence: int,
        scores: list[float],
        slot: int = 0,
        epoch: int = 1,
        name: str | None = None,
        marks: int = 0,
    ) -> str:
        """A worker answers a request and writes that down; its id."""
        writer = self.writers.get((slot, epoch))
        if writer is None:
            (taken,) = self.outcomes.take(candidate())
            words = self.arena.array(taken.block, slot)
            found = reading(SIGNATURE, taken.kind, taken.output, taken.positive)
            writer = LedgerWriter(
                found,
                Slot(words, self.pool),
                taken.series,
                epoch,
                wall=lambda: self.now,
                share=taken.share,
                client_ids=taken.client_ids,
            )
            self.writers[slot, epoch] = writer
        pairs = np.array([[1 - score, score] for score in scores])
        told = np.full(len(scores), marks, np.int64)
        ids = [name] if writer.client_ids else ()
        writer.record([pairs], [sequence], [len(scores)], told, ids)
        return f"{stream(slot, epoch)}-{sequence:x}"

    async def records(self) -> int:
        return (await self.outcomes.status())["records"]


def stream(slot: int, epoch: int) -> str:
    return f"host-3-{slot}-{epoch}"


@pytest.fixture
async def world(tmp_path):
    with ThreadPoolExecutor(1) as pool:
        made = World(tmp_path, pool)
        yield made
        await made.outcomes.close()
        made.arena.close()


async def test_a_home_without_a_ledger_is_left_alone(world):
    world.config = parse("ledger: {enabled: false}")
    assert world.outcomes.take(candidate()) == ()
    await world.outcomes.look()
    assert list(world.home.iterdir()) == []
    assert (await world.outcomes.status())["records"] == 0


async def test_one_model_may_have_a_ledger_and_another_none(world):
    world.config = parse(
        "ledger: {enabled: false}\n"
        "models: {m: {ledger: true, scores: {kind: binary, positive: 0}}, n: {}}"
    )
    (taken,) = world.outcomes.take(candidate())
    assert (taken.kind, taken.output, taken.positive) == ("binary", None, 0)
    assert world.outcomes.take(candidate("n")) == ()


async def test_what_all_workers_wrote_is_kept_and_only_once(world):
    for slot in range(2):
        for sequence in range(3):
            world.answer(sequence, [0.5, 0.7], slot=slot)
    await world.outcomes.look()
    await world.outcomes.look()
    assert await world.records() == 12
    assert (await world.outcomes.status())["oldest"] == world.now


async def test_a_control_that_is_killed_after_keeping_some_leaves_none_twice(world):
    world.answer(1, [0.5])
    await world.outcomes.look()
    block = world.arena.find(layout.LEDGER, layout.LEDGER_BLOCK)
    words = world.arena.array(block, 0)
    words[layout.SKETCH_HELD + 1] = 0  # as if it had not come to say that it has it
    world.answer(2, [0.5])
    killed, world.outcomes = world.outcomes, world.new_control()
    await world.outcomes.look()
    assert await world.records() == 2
    await killed.close()


async def test_what_comes_in_waits_for_one_report_at_most_however_many_are_asked_for(world):
    name = world.answer(1, [0.5])
    done: list[str] = []

    async def receive() -> None:
        await world.outcomes.receive(of_list([Arrival(name, 0, 1.0)]), None)
        done.append("outcome")

    await world.outcomes.look()
    asked = [world.outcomes.by_group("m", 1, None, lambda _: done.append("r")) for _ in range(9)]
    await asyncio.gather(*asked, receive())
    assert len(done) == 10
    assert done.index("outcome") <= 2


async def test_records_of_a_killed_worker_are_kept_under_its_own_epoch(world):
    world.answer(1, [0.5], epoch=1)
    world.arena.claim(0, 200, 2, 0)
    world.answer(1, [0.5], epoch=2)
    await world.outcomes.look()
    names = sorted(path.name for path in (world.home / FOLDER).glob("host-*"))
    assert [name.split(".")[0] for name in names] == ["host-3-0-1", "host-3-0-2"]


async def test_what_was_overtaken_before_it_was_drained_is_counted(world):
    rows = layout.LEDGER_RECORDS // 4 + 5
    for sequence in range(4):
        world.answer(sequence, [0.5] * rows)
    await world.outcomes.look()
    found = await world.outcomes.status()
    assert (found["records"], found["lost_records"]) == (4 * rows - 20, 20)


async def test_a_full_disk_loses_nothing_that_the_ring_still_holds(world):
    world.answer(1, [0.5])
    await world.outcomes.look()
    there = world.home / FOLDER
    moved = there.rename(there.with_name("away"))
    for sequence in (2, 3):
        world.answer(sequence, [0.5] * 35_000)  # need another file, and there is no folder for it
    with pytest.raises(StoreFailed):
        await world.outcomes.look()
    moved.rename(there)
    await world.outcomes.look()
    assert await world.records() == 70_001


async def test_outcomes_of_what_is_there_join_where_new_records_find_no_room(world):
    first = world.answer(1, [0.5])
    await world.outcomes.look()
    (world.home / FOLDER / f"{stream(0, 1)}.000001.open").mkdir()  # in the way of another file
    for sequence in (2, 3):
        world.answer(sequence, [0.5] * 35_000)
    world.answer(1, [0.5], slot=1)
    with pytest.raises(StoreFailed):
        await world.outcomes.look()
    assert world.outcomes.seen is not None
    assert world.outcomes.seen["records"] == 65_537  # nor do other workers' records wait
    assert told(await world.outcomes.receive(given((first, 0, 1.0)), None)) == {"accepted": 1}


def given(*outcomes: tuple[str, int, Any]) -> Arrivals:
    return of_list(Arrival(name, row, outcome) for name, row, outcome in outcomes)


def told(found: Joined) -> dict[str, int]:
    return {name: count for name, count in found.counts.items() if count}


async def test_what_is_answered_until_the_end_of_a_server_is_kept(world):
    world.answer(1, [0.5])
    assert await world.records() == 0
    await world.outcomes.look()
    world.answer(2, [0.5, 0.9])
    await world.outcomes.close()
    world.arena.close()
    world.arena = Arena.create(2)
    world.outcomes = world.new_control()
    assert await world.records() == 3


async def test_an_outcome_finds_an_answer_that_was_given_a_moment_ago(world):
    name = world.answer(1, [0.5, 0.9])
    found = await world.outcomes.receive(given((name, 1, "good"), (name, 0, "bad")), None)
    assert told(found) == {"accepted": 2}
    again = await world.outcomes.receive(given((name, 1, 1.0), (name, 0, 1.0)), None)
    assert told(again) == {"duplicate": 1, "corrected": 1}


async def test_what_came_of_a_row_can_be_asked_for_by_its_address(world):
    name = world.answer(7, [0.2, 0.9])
    other = world.answer(3, [0.4], slot=1)
    await world.outcomes.look()
    await world.outcomes.receive(given((name, 1, 1.0), (other, 0, 0.0)), None)
    rows = [(stream(0, 1), 7, 1), (stream(1, 1), 3, 0), (stream(0, 1), 7, 0), ("gone-1-0-1", 7, 0)]
    assert await world.outcomes.of(rows) == [1.0, 0.0, None, None]
    assert await world.outcomes.of([]) == []


async def test_outcomes_survive_control_and_the_whole_server(world):
    name = world.answer(1, [0.5])
    await world.outcomes.receive(given((name, 0, 1.0)), None)
    await world.outcomes.close()
    world.outcomes = world.new_control()
    assert told(await world.outcomes.receive(given((name, 0, 1.0)), None)) == {"duplicate": 1}


async def test_what_is_newer_replaces_what_waited(world):
    name = f"{stream(0, 1)}-5"
    world.answer(4, [0.5])
    assert told(await world.outcomes.receive(given((name, 0, 0.0)), None)) == {"early": 1}
    world.answer(5, [0.5])
    assert told(await world.outcomes.receive(given((name, 0, 1.0)), None)) == {"corrected": 1}
    await world.outcomes.look()
    assert told(await world.outcomes.receive(given((name, 0, 1.0)), None)) == {"duplicate": 1}
    status = await world.outcomes.status()
    assert (status["waiting"], status["outcomes"]["accepted"]) == (0, 1)


async def test_a_client_names_requests_as_it_did_where_that_is_wanted(world):
    world.answer(1, [0.5], name="a")
    named = of_list([Arrival(one, 0, 1.0, client=True) for one in ("a", "b", "1")])
    assert told(await world.outcomes.receive(named, None)) == {"unknown": 3}
    world.config = parse("ledger: {enabled: true, client_ids: true}")
    world.writers.clear()
    for sequence, name in enumerate(("a", "b", "1", "1", None), 2):
        world.answer(sequence, [0.5], slot=sequence % 2, name=name)
    found = await world.outcomes.receive(named, None)
    assert told(found) == {"accepted": 2, "ambiguous": 1}
    assert found.faults == ["1: several requests have this id"]
    await world.outcomes.close()
    world.outcomes = world.new_control()
    assert told(await world.outcomes.receive(named, None)) == {"duplicate": 2, "ambiguous": 1}
    assert (await world.outcomes.status())["records"] == 6


async def test_of_a_share_the_rest_is_counted_and_told(world):
    world.config = parse(
        "ledger: {share: 0.1}\nmodels: {m: {ledger: true, ledger_share: 0.25}, n: {}}"
    )
    names = [world.answer(sequence, [0.5, 0.5]) for sequence in range(40)]
    found = await world.outcomes.receive(given(*[(name, 1, 1.0) for name in names]), None)
    status = await world.outcomes.status()
    kept = sum(chosen(sequence, limit(0.25)) for sequence in range(40))
    assert told(found) == {"accepted": kept, "unsampled": 40 - kept}
    assert (status["records"], status["unsampled_rows"]) == (2 * kept, 2 * (40 - kept))


async def test_what_is_early_waits_for_its_record_through_a_kill_of_control(world):
    world.answer(4, [0.5])
    name = f"{stream(0, 1)}-5"
    sent = of_list([Arrival(name, 0, "good"), Arrival(name, 0, 2.5, None, "revenue")])
    assert told(await world.outcomes.receive(sent, None)) == {"early": 2}
    killed, world.outcomes = world.outcomes, world.new_control()
    assert (await world.outcomes.status())["waiting"] == 2
    world.answer(5, [0.5])
    await world.outcomes.look()
    assert told(await world.outcomes.receive(sent, None)) == {"duplicate": 2}
    assert (await world.outcomes.status())["waiting"] == 0
    await killed.close()


async def test_without_a_ledger_every_outcome_is_unknown(world):
    found = await world.outcomes.receive(given((f"{stream(0, 1)}-5", 0, 0.0)), None)
    assert told(found) == {"unknown": 1}
    assert "ledger.enabled" in found.faults[0]
    assert list(world.home.iterdir()) == []


async def test_a_worker_is_told_what_became_of_what_it_passed_on(world):
    name = world.answer(1, [0.5])
    message = {"ticket": 7, "models": None, "outcomes": given((name, 0, 1.0)).message()}
    found = await world.outcomes.received(message)
    assert (found["ticket"], found["ok"], found["counts"]["accepted"]) == (7, True, 1)
    others = await world.outcomes.received(message | {"models": ["n"]})
    assert others["counts"]["unknown"] == 1


async def test_metrics_that_the_document_names_have_their_place(world):
    text = "ledger: {metrics: [revenue, clicks]}\nmodels: {m: {}, n: {ledger_metrics: any}}"
    world.config = parse(text)
    name = world.answer(1, [0.5])
    some = [Arrival(name, 0, 1.0, None, metric) for metric in ("revenue", "junk")]
    found = await world.outcomes.receive(of_list(some), None)
    assert (found.counts["accepted"], found.counts["invalid"]) == (1, 1)
    status = await world.outcomes.status()
    assert (status["metrics"], status["refused_numbers"]) == (["revenue"], 1)
    await world.outcomes.forget_metric("revenue")
    with pytest.raises(NotFound, match="metric 'revenue'"):
        await world.outcomes.forget_metric("revenue")
    assert (await world.outcomes.performance("m", 1, None)).metrics == []


async def test_a_damaged_database_costs_the_ledger_alone_and_clients_see_no_path(world, caplog):
    (world.home / FOLDER).mkdir()
    (world.home / FOLDER / "ledger.db").write_bytes(b"no database" * 1000)
    assert world.outcomes.take(candidate()) == ()
    assert "model 'm' has no ledger" in caplog.text
    with pytest.raises(StoreFailed, match=r"ledger\.db"):
        await world.outcomes.look()
    message = {"ticket": 7, "models": None, "outcomes": given(("host-3-0-1-5", 0, 1.0)).message()}
    for _ in range(3):
        found = await world.outcomes.received(message)
        assert (found["ok"], found["status"], found["code"]) == (False, 500, "store_failed")
        assert str(world.home) not in found["error"]
    assert caplog.text.count("outcomes: ") == 1
    assert (world.home / FOLDER / "ledger.db").read_bytes() == b"no database" * 1000


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE series SET version = 'one'",
        "UPDATE series SET scores = '7'",
        "UPDATE series SET model = x'00'",
        "INSERT INTO forgotten VALUES ('host-3-0-1', 'many', 5)",
        "INSERT INTO metrics VALUES (-5, 'revenue')",
        "INSERT INTO metrics VALUES (7, '../../revenue')",
        "INSERT INTO early VALUES ('a', 0, 'first', '', 1.0, 5, NULL, 6)",
        "INSERT INTO early VALUES ('a', 0, 1, '', 1.0, 5, '{\"m\": 1}', 6)",
        "INSERT INTO panes VALUES (1, 0, 5, x'00')",
        "INSERT INTO panes VALUES (1, 60000, 5, 'pane')",
    ],
)
async def test_rows_that_nobody_wrote_cost_the_ledger_alone(world, damage):
    world.answer(1, [0.5])
    await world.outcomes.look()
    await world.outcomes.close()
    with closing(sqlite3.connect(world.home / FOLDER / "ledger.db")) as database, database:
        database.execute(damage)
    world.outcomes = world.new_control()
    world.outcomes.take(candidate())
    with pytest.raises(StoreFailed, match=r"ledger\.db"):
        await world.outcomes.look()
    message = {"ticket": 7, "models": None, "outcomes": given(("host-3-0-1-1", 0, 1.0)).message()}
    told = await world.outcomes.received(message)
    assert told["ok"] or told["code"] == "store_failed"


async def test_a_state_of_concept_drift_that_nobody_wrote_begins_anew(world):
    name = world.answer(1, [0.9, 0.2])
    await world.outcomes.receive(given((name, 0, 1.0)), None)
    await world.outcomes.look()
    await world.outcomes.close()
    odd = np.append([LAYOUT], concept.new_state())
    odd[1 + concept.ERROR_ADWIN + adwin.WORDS - 13] = 1e9  # buckets of a level
    with closing(sqlite3.connect(world.home / FOLDER / "ledger.db")) as database, database:
        database.execute("UPDATE concept SET state = ?", (packed(odd),))
    world.outcomes = world.new_control()
    assert (await world.outcomes.receive(given((name, 1, 1.0)), None)).counts["accepted"] == 1
    assert (await world.outcomes.concept("m", 1)).found.outcomes == 1


async def test_a_window_is_of_what_was_answered_in_it_whenever_its_outcome_came(world):
    early = world.answer(1, [0.9, 0.2])
    world.now += 3600
    late = world.answer(2, [0.8])
    await world.outcomes.receive(given((early, 0, 1.0), (early, 1, 1.0), (late, 0, 1.0)), None)
    whole = (await world.outcomes.performance("m", 1, None)).found
    recent = (await world.outcomes.performance("m", 1, 600.0)).found
    assert (whole.labelled, whole.figures["accuracy"]) == (3, pytest.approx(2 / 3))
    assert (recent.labelled, recent.figures["accuracy"]) == (1, 1.0)


async def test_numbers_of_metrics_are_told_of_their_window_and_survive_control(world):
    early = world.answer(1, [0.9, 0.2])
    world.now += 3600
    late = world.answer(2, [0.8])
    sent = [
        Arrival(early, 0, 1.0, None, "clicks"),
        Arrival(early, 1, 30.0, None, "revenue"),
        Arrival(late, 0, 12.0, None, "revenue"),
    ]
    assert told(await world.outcomes.receive(of_list(sent), None)) == {"accepted": 3}
    await world.outcomes.close()
    world.outcomes = world.new_control()
    whole = (await world.outcomes.performance("m", 1, None)).metrics
    assert [(one.name, one.n, one.sum, one.coverage) for one in whole] == [
        ("clicks", 1, 1.0, pytest.approx(1 / 3)),
        ("revenue", 2, 42.0, pytest.approx(2 / 3)),
    ]
    (recent,) = (await world.outcomes.performance("m", 1, 600.0)).metrics
    assert (recent.name, recent.n, recent.mean) == ("revenue", 1, 12.0)


async def test_those_held_out_are_told_of_beside_all_others_also_once_they_are_forgotten(world):
    hold_out = "\nmodels: {m: {hold_out: {share: 0.25, policy: approve}}}"
    world.config = parse("ledger: {enabled: true}" + hold_out)
    held, other = marks.chosen(0.25, True), marks.chosen(0.75, False)
    former = marks.chosen(0.5, True)
    names = [
        world.answer(number, [0.9], marks=luck)
        for number, luck in enumerate([held, held, held, other, other, former])
    ]
    # Of the others only what was approved has an outcome, and that was right.
    await world.outcomes.receive(
        given(*[(names[one], 0, float(one in (0, 3))) for one in (0, 1, 2, 3)]), None
    )
    for forgotten in (False, True):
        if forgotten:
            world.config = parse("ledger: {enabled: true, max_age_s: 3600}" + hold_out)
            world.now += 90_000
            await world.outcomes.look()
            assert await world.records() == 0
        report = await world.outcomes.performance("m", 1, None)
        assert report.found.records == 6
        assert report.found.figures["accuracy"] == 0.5
        assert report.held_out is not None
        found = report.held_out.found
        assert (found.records, found.labelled) == (3, 3)
        assert found.figures["accuracy"] == pytest.approx(1 / 3)
        assert report.held_out.policy == "approve"


async def test_what_is_read_in_another_way_is_counted_anew(world):
    before = world.answer(1, [0.9])
    world.config = parse("ledger: {enabled: true}\nmodels: {m: {scores: {positive: 0}}}")
    world.writers.clear()
    after = world.answer(2, [0.9])
    await world.outcomes.receive(given((before, 0, 1.0), (after, 0, 1.0)), None)
    found = (await world.outcomes.performance("m", 1, None)).found
    assert (found.records, found.figures["mean_score"]) == (1, pytest.approx(0.1))


async def test_a_threshold_that_changes_is_that_of_all_records_that_are_there(world):
    name = world.answer(1, [0.9, 0.6, 0.2])
    await world.outcomes.receive(given((name, 0, 1.0), (name, 1, 1.0), (name, 2, 0.0)), None)
    for threshold, right in ((0.5, 3), (0.7, 2)):
        world.config = parse(
            f"ledger: {{enabled: true}}\nmodels: {{m: {{scores: {{threshold: {threshold}}}}}}}"
        )
        found = (await world.outcomes.performance("m", 1, None)).found
        assert found.threshold == threshold
        assert found.figures["accuracy"] == pytest.approx(right / 3)
        assert found.estimate is not None
        assert found.estimate.beside["accuracy"].realised == found.figures["accuracy"]


async def test_estimates_are_calibrated_by_a_profile_of_the_same_scores(world):
    world.answer(1, [0.9] * 10)
    reading = {"kind": "auto", "output": None, "positive": 1}
    steps = (480, 960), (0.1, 0.7)
    made = Calibration(reading, 200, 0.2, 0.01, 960, *steps)
    plain = Calibration(reading, 200, 0.01, 0.02, 960)
    others = Calibration(reading | {"positive": 0}, 200, 0.2, 0.01, 960, *steps)
    told = []
    for calibration in (made, plain, others, None):
        report = await world.outcomes.performance("m", 1, None, calibration)
        found = report.found.estimate
        assert found is not None
        told.append((found.calibrated, round(found.figures["precision"] or 0.0, 6)))
    assert told == [(True, 0.7), (True, 0.9), (False, 0.9), (False, 0.9)]


async def test_outcomes_of_a_version_that_serves_no_more_still_join(world):
    name = world.answer(1, [0.9])
    world.outcomes.take(candidate(version=2))
    world.config = parse("models: {}")  # nor has anything a ledger any more
    assert told(await world.outcomes.receive(given((name, 0, 1.0)), None)) == {"accepted": 1}
    assert (await world.outcomes.performance("m", 1, None)).found.labelled == 1


async def test_of_a_version_without_a_ledger_nothing_is_known(world):
    with pytest.raises(NotFound, match=r"ledger\.enabled"):
        await world.outcomes.performance("m", 1, None)
    world.answer(1, [0.9])
    with pytest.raises(NotFound, match="version 2"):
        await world.outcomes.performance("m", 2, None)


SLICED = (
    "ledger: {enabled: true}\nmodels: {m: {slices: {tier: {parameter: tier, groups: [gold, lead]},"
    " age: {feature: age, edges: [18]}}}}"
)
GOLD, LEAD = grouped(0, 1)[1], grouped(0, 2)[1]


async def test_a_slice_is_of_the_rows_that_are_in_it(world):
    world.config = parse(SLICED)
    gold = world.answer(1, [0.9, 0.8], marks=GOLD)
    lead = world.answer(2, [0.2], marks=LEAD)
    world.answer(3, [0.6])
    await world.outcomes.receive(given((gold, 0, 1.0), (gold, 1, 0.0), (lead, 0, 0.0)), None)

    async def found(asked):
        told = (await world.outcomes.performance("m", 1, None, asked=asked)).found
        return told.records, told.labelled, told.figures["accuracy"]

    assert await found(None) == (4, 3, pytest.approx(2 / 3))
    assert await found("tier:gold") == (2, 2, 0.5)
    assert await found("tier:lead") == (1, 1, 1.0)
    assert await found("tier:other") == (1, 0, None)
    assert await found("age:other") == (4, 3, pytest.approx(2 / 3))
    worth = [Arrival(name, 0, value, None, "revenue") for name, value in ((gold, 2.0), (lead, 7.0))]
    await world.outcomes.receive(of_list(worth), None)
    for asked, total in ((None, 9.0), ("tier:gold", 2.0), ("tier:lead", 7.0)):
        (revenue,) = (await world.outcomes.performance("m", 1, None, asked=asked)).metrics
        assert revenue.sum == total
    (fair,) = (await world.outcomes.by_group("m", 1, None, lambda one: one.fairness("tier", 1)))[1]
    assert [(one.name, one.n, one.labelled) for one in fair.groups] == [
        ("gold", 2, 2),
        ("lead", 1, 1),
        ("other", 1, 0),
    ]
    assert fair.disparities["demographic_parity_difference"].value == 1.0
    world.now += 3600
    world.answer(4, [0.9], marks=LEAD)
    (fair,) = (await world.outcomes.by_group("m", 1, 600.0, lambda one: one.fairness("tier", 1)))[1]
    assert [one.n for one in fair.groups] == [0, 1, 0]


async def test_slices_are_what_they_were_once_their_records_are_forgotten(world):
    held_out = SLICED.replace("m: {", "m: {hold_out: {share: 0.25, policy: approve}, ")
    world.config = parse(held_out)
    luck = marks.chosen(0.25, True)  # of the first and the third
    ids = [
        world.answer(number, [0.9], marks=one)
        for number, one in enumerate((GOLD | luck, LEAD, luck, 0))
    ]
    worth = [Arrival(one, 0, 2.0**n, None, "revenue") for n, one in enumerate(ids)]
    await world.outcomes.receive(given(*[(one, 0, 1.0) for one in ids]), None)
    await world.outcomes.receive(of_list(worth), None)
    for forgotten in (False, True):
        if forgotten:
            world.config = parse(
                held_out.replace("enabled: true", "enabled: true, max_age_s: 3600")
            )
            world.now += 90_000
            await world.outcomes.look()
            assert await world.records() == 0
        for asked, rows, total, held in (
            ("tier:gold", 1, 1.0, 1),
            ("tier:lead", 1, 2.0, 0),
            ("tier:other", 2, 12.0, 1),
            ("age:other", 4, 15.0, 2),  # nobody is in any group of it
        ):
            report = await world.outcomes.performance("m", 1, None, asked=asked)
            assert (report.found.labelled, report.metrics[0].sum) == (rows, total), asked
            assert report.held_out is not None
            assert report.held_out.found.labelled == held, asked
        (fair,) = (
            await world.outcomes.by_group("m", 1, None, lambda one: one.fairness("tier", 1))
        )[1]
        assert [one.labelled for one in fair.groups] == [1, 1, 2]


@pytest.mark.parametrize(
    ("asked", "error", "fault"),
    [
        ("tier", InvalidParameter, "SLICING:GROUP"),
        ("tier:tin", NotFound, "gold, lead, other"),
        ("hat:big", NotFound, "tier, age"),
        (":", NotFound, "tier, age"),
    ],
)
async def test_a_slice_that_is_none_is_refused_by_name(world, asked, error, fault):
    world.config = parse(SLICED)
    world.answer(1, [0.9])
    with pytest.raises(error, match=fault):
        await world.outcomes.performance("m", 1, None, asked=asked)


async def test_where_slices_are_changed_groups_are_counted_anew_and_the_whole_goes_on(world):
    world.config = parse(SLICED)
    world.answer(1, [0.9], marks=LEAD)
    world.config = parse(SLICED.replace("gold, lead", "lead, gold"))
    world.writers.clear()
    world.answer(2, [0.9, 0.9], marks=GOLD)  # the first group, which is lead now
    assert (await world.outcomes.performance("m", 1, None)).found.records == 3
    assert (await world.outcomes.performance("m", 1, None, asked="tier:lead")).found.records == 2
    assert (await world.outcomes.performance("m", 1, None, asked="tier:gold")).found.records == 0
    world.config = parse(SLICED)  # rolled back: these go on where they were
    world.writers.clear()
    world.answer(3, [0.9] * 4, marks=LEAD)
    assert (await world.outcomes.performance("m", 1, None)).found.records == 7
    assert (await world.outcomes.performance("m", 1, None, asked="tier:lead")).found.records == 5


async def test_of_a_model_without_slices_no_group_is_known(world):
    world.answer(1, [0.9])
    found, worst = await world.outcomes.by_group(
        "m", 1, None, lambda one: one.worst("error_rate", 1)
    )
    assert (worst.looked_at, found.fairness(None, 1)) == (0, [])
    with pytest.raises(NotFound, match="none"):
        await world.outcomes.performance("m", 1, None, asked="tier:gold")


async def test_outcomes_are_held_against_earlier_ones_once_each_through_restarts(world):
    world.config = parse(ON + "\nconcept: {baseline_outcomes: 100}")
    name = world.answer(1, [0.9] * 1000)
    right = [(name, row, 1.0) for row in range(500)]
    wrong = [(name, row, 0.0) for row in range(500, 1000)]
    await world.outcomes.receive(given(*right), None)
    await world.outcomes.look()
    killed, world.outcomes = world.outcomes, world.new_control()
    await world.outcomes.receive(given(*right[:200]), None)
    before = (await world.outcomes.concept("m", 1)).found
    assert (before.outcomes, before.verdict) == (500, "ok")
    await world.outcomes.receive(given(*wrong), None)
    await world.outcomes.receive(given(*[(name, row, 1.0) for _, row, _ in wrong]), None)
    after = (await world.outcomes.concept("m", 1)).found
    assert (after.outcomes, after.verdict, after.error_rate.alarms) == (1000, "drift", 1)
    await killed.close()


async def test_where_slices_are_changed_a_baseline_and_recent_outcomes_go_on(world):
    world.config = parse(ON + "\nconcept: {baseline_outcomes: 100}")
    before = world.answer(1, [0.9] * 400)
    await world.outcomes.receive(given(*[(before, row, 1.0) for row in range(400)]), None)
    await world.outcomes.look()
    world.config = parse(SLICED + "\nconcept: {baseline_outcomes: 100}")
    world.writers.clear()
    after = world.answer(2, [0.9] * 500, marks=GOLD)
    await world.outcomes.receive(given(*[(after, row, 0.0) for row in range(500)]), None)
    found = (await world.outcomes.concept("m", 1)).found
    assert (found.outcomes, found.verdict, found.error_rate.alarms) == (900, "drift", 1)
    await world.outcomes.close()
    world.outcomes = world.new_control()
    world.outcomes.take(candidate())
    await world.outcomes.look()
    standing = world.outcomes.standings.found["m", 1]
    assert standing.concept.outcomes == 900
    assert [one.answered for one in standing.windows.values()] == [900]


async def test_errors_and_recent_figures_are_by_the_threshold_in_force(world):
    strict = ON.replace("{classes", "{threshold: 0.95, classes")
    world.config = parse(strict + "\nconcept: {baseline_outcomes: 100}")
    name = world.answer(1, [0.9] * 200)
    await world.outcomes.receive(given(*[(name, row, 1.0) for row in range(200)]), None)
    await world.outcomes.look()
    standing = world.outcomes.standings.found["m", 1]
    assert standing.concept.baseline_error_rate == 1.0
    (window,) = standing.windows.values()
    assert (window.found.threshold, window.found.figures["accuracy"]) == (0.95, 0.0)


async def test_of_a_version_without_outcomes_nothing_is_said(world):
    with pytest.raises(NotFound, match=r"ledger\.enabled"):
        await world.outcomes.concept("m", 1)
    world.answer(1, [0.9])
    found = (await world.outcomes.concept("m", 1)).found
    assert (found.outcomes, found.verdict) == (0, "too_few_rows")


async def test_recent_outcomes_are_counted_from_the_very_first_on(world):
    name = world.answer(1, [0.9, 0.8])
    await world.outcomes.receive(given((name, 0, 1.0), (name, 1, 0.0)), None)
    await world.outcomes.look()
    (window,) = world.outcomes.standings.found["m", 1].windows.values()
    assert (window.answered, window.found.labelled) == (2, 2)
    assert world.outcomes.seen is not None
    assert world.outcomes.seen["outcomes"]["accepted"] == 2


async def test_a_store_that_fails_costs_figures_and_neither_records_nor_outcomes(world):
    name = world.answer(1, [0.9] * 10)
    with sqlite3.connect(world.home / FOLDER / "ledger.db") as database:
        database.execute("DROP TABLE panes")
        database.execute("DROP TABLE concept")
    for _ in range(2):
        with pytest.raises(StoreFailed, match="no such table"):
            await world.outcomes.look()
    assert await world.records() == 10
    found = await world.outcomes.receive(given(*[(name, row, 1.0) for row in range(10)]), None)
    assert told(found) == {"accepted": 10}
    assert (await world.outcomes.performance("m", 1, None)).found.labelled == 10
