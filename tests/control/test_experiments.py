"""Experiments end when something is shown, bandits follow rewards, and both outlive a restart."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gateway import config
from gateway.config.experiments import EXPERIMENT, Measure
from gateway.control.audit import Audit
from gateway.control.experiment_metrics import families
from gateway.control.experiment_readings import Readings
from gateway.control.experiment_store import Experiment, ExperimentStore
from gateway.control.experiments import Experiments
from gateway.control.outcomes import Outcomes
from gateway.control.routes import Routes
from gateway.control.splits import Pull
from gateway.control.store import Store
from gateway.errors import Conflict, InvalidParameter, ModelNotFound, NotFound, StoreFailed
from gateway.monitor.arena import Arena
from gateway.monitor.ledger import LedgerWriter
from gateway.monitor.scores import reading
from gateway.monitor.slot import Slot
from gateway.outcomes.arrivals import Arrival, of_list
from gateway.plan import Plan, Route
from gateway.tensors import Signature, TensorSpec
from kernels.lots import UNITS, lot
from tests.control.auditing import ANN
from tests.outcomes.records import NOON_MS

pytestmark = pytest.mark.anyio
SIGNATURE = Signature(
    (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("p", "FP64", (-1, 2)),), batched=True
)
DOCUMENT = """
ledger: {enabled: true}
models: {m: {scores: {kind: binary}}, silent: {ledger: false}}
routes:
  m:
    variants: [{name: a, version: 1, weight: 9}, {name: b, alias: next, weight: 1}]
    sticky: {header: x-user}
  silent:
    variants: [{name: a, version: 1}, {name: b, version: 2}]
    sticky: {header: x-user}
  turns: {variants: [{name: a, version: 1}, {name: b, version: 2}]}
  twins: {variants: [{name: a, version: 2}, {name: b, alias: next}], sticky: {header: x-user}}
  single: {variants: [{name: a, version: 1}], sticky: {header: x-user}}
"""
DAY = 86_400.0
AB = {"kind": "ab", "measure": {"metric": "sale"}, "expected_rows": 2000}


class Planner:
    """Serves versions 1 and 2 of everything, and remembers what it was asked."""

    def __init__(self) -> None:
        routes = (Route("m", 1, {1: "one", 2: "two"}), Route("turns", 1, {1: "one", 2: "two"}))
        self.memory: Any = SimpleNamespace(plan=Plan(1, routes=routes))
        self.asked: list[str] = []
        self.named = {"next": 2}

    async def apply(self, name: str | None = None, alone: bool = False) -> tuple[()]:
        self.asked.append("apply")
        return ()

    async def divide(self) -> None:
        self.asked.append("divide")

    def knows(self, name: str) -> bool:
        return name != "nobody"

    def versions(self, name: str) -> set[int]:
        return {1, 2}

    def aliases(self, name: str) -> Mapping[str, int]:
        return self.named

    def signatures(self, name: str) -> Mapping[int, Signature]:
        return {}


class World:
    """A worker's ledger, and a control process that may be started again."""

    def __init__(self, home: Path, pool: ThreadPoolExecutor) -> None:
        self.home, self.pool = home, pool
        self.arena = Arena.create(1)
        self.arena.claim(0, 100, 1, 0)
        self.document = config.parse(DOCUMENT)
        self.now, self.ticks, self.sequence = NOON_MS / 1000.0, 0.0, 0
        self.store = Store.open(home)
        self.outcomes = Outcomes(
            self.arena, home, lambda: self.document, lambda slot, epoch: "host-3-0-1", self.wall
        )
        self.planner = Planner()
        self.pulled: dict[int, Pull] = {}
        self.unlike, self.kind = "", "binary"
        self.writers: dict[int, LedgerWriter] = {}
        self.start_again()

    def wall(self) -> float:
        return self.now

    def start_again(self) -> None:
        self.routes = Routes(self.store, lambda: self.document, self.wall)
        kept = ExperimentStore(self.store)
        self.readings = Readings(self.outcomes, kept, lambda: self.document, self.wall)
        self.outcomes.forgetting = self.readings.forget
        self.experiments = Experiments(
            kept,
            self.routes,
            self.planner,
            self.readings,
            lambda: self.document,
            lambda model: self.pulled,
            lambda model, one, other: self.unlike,
            lambda model, version: self.kind,
            self.wall,
            lambda: self.ticks,
        )

    async def start(self, spec: Any = AB, model: str = "m") -> Experiment:
        made = EXPERIMENT.validate_python({**AB, **spec})
        return await self.experiments.start(ANN, model, made)

    async def look(self) -> None:
        self.now += 1.0
        self.ticks += 10.0
        await self.experiments.look()

    def shares(self, model: str = "m") -> dict[str, float]:
        """By variant, as they are wanted now."""
        route = self.routes.of(model).route
        assert route is not None
        total = sum(one.weight for one in route.variants)
        return {one.name: one.weight / total for one in route.variants}

    async def answer(self, version: int, chance: float, rewards: list[float | None]) -> None:
        """A version answers requests that had this chance to get it, each of a key of its own."""
        writer = self.writers.get(version) or self._writer(version)
        self.writers[version] = writer
        n, first = len(rewards), self.sequence
        self.sequence += n
        sequences = list(range(first, first + n))
        some = [lot(chance, 1 + one % UNITS) if chance else 0 for one in sequences]
        for start in range(0, n, 200):
            its = slice(start, start + 200)
            pairs = np.full((len(sequences[its]), 2), 0.5)
            writer.record([pairs], sequences[its], [1] * len(pairs), lots=some[its])
        given = [
            Arrival(f"host-3-0-1-{one:x}", 0, reward, metric="sale")
            for one, reward in zip(sequences, rewards, strict=True)
            if reward is not None
        ]
        if given:
            await self.outcomes.receive(of_list(given), None)

    def _writer(self, version: int) -> LedgerWriter:
        (taken,) = self.outcomes.take(SimpleNamespace(name="m", version=version))  # type: ignore
        words = self.arena.array(taken.block, 0)
        found = reading(SIGNATURE, taken.kind, taken.output, taken.positive)
        return LedgerWriter(found, Slot(words, self.pool), taken.series, 1, wall=self.wall)


@pytest.fixture
async def world(tmp_path: Path) -> Any:
    with ThreadPoolExecutor(1) as pool:
        made = World(tmp_path, pool)
        yield made
        await made.outcomes.close()
        made.store.close()
        made.arena.close()


def sales(rate: float, n: int) -> list[float | None]:
    """As many as the rate says, evenly."""
    return [float(int((one + 1) * rate) > int(one * rate)) for one in range(n)]


async def test_a_test_leads_its_route_by_its_shares_at_versions_that_stand(world):
    one = await world.start()
    assert world.shares() == {"a": 0.5, "b": 0.5}
    route = world.routes.of("m").route
    assert [(v.version, v.alias) for v in route.variants] == [(1, None), (2, None)]
    assert (one.given.control, one.given.versions) == ("a", {"a": 1, "b": 2})
    assert one.given.warnings == (
        "no number of metric 'sale' had ever come at the start; known: none",
    )
    assert world.planner.asked == ["apply"]


async def test_a_metric_that_no_outcome_may_have_is_refused(world):
    world.document = config.parse(DOCUMENT.replace("enabled: true", "metrics: [revenue]"))
    with pytest.raises(InvalidParameter, match="outcomes of 'm' have no 'sale'"):
        await world.start()
    world.document = config.parse(DOCUMENT.replace("enabled: true", "metrics: [sale]"))
    assert (await world.start()).given.control == "a"


async def test_a_better_arm_is_found_and_the_route_is_as_it_was(world):
    await world.start()
    for _ in range(4):
        await world.answer(1, 0.5, sales(0.1, 500))
        await world.answer(2, 0.5, sales(0.2, 500))
    await world.look()
    found = await world.experiments.get(1)
    assert (found.stand.state, found.stand.winner) == ("decided", "b")
    assert found.stand.report["measure"]["arms"][1]["estimate"]["n"] == 2000
    assert world.shares() == {"a": 0.9, "b": 0.1}
    assert world.routes.leader("m") == ""
    told = [entry.action for entry in Audit(world.store).last(10)]
    assert told == ["experiment start", "route lead", "experiment end", "route let go"]


async def test_the_winner_has_all_where_that_is_wanted(world):
    await world.start({"at_end": "winner"})
    await world.answer(1, 0.5, sales(0.1, 1000))
    await world.answer(2, 0.5, sales(0.3, 1000))
    await world.look()
    assert world.shares() == {"a": 0.0, "b": 1.0}
    assert world.routes.of("m").route.variants[1].alias == "next"  # and not the version it had


async def test_a_winner_whose_alias_has_moved_on_stays_at_the_version_that_won(world):
    await world.start({"at_end": "winner"})
    await world.answer(1, 0.5, sales(0.1, 1000))
    await world.answer(2, 0.5, sales(0.3, 1000))
    world.planner.named = {"next": 3}
    await world.look()
    won = world.routes.of("m").route.variants[1]
    assert (won.name, won.version, won.alias, world.shares()["b"]) == ("b", 2, None, 1.0)


async def test_only_rows_that_it_assigned_count_and_numbers_that_come_late_do(world):
    await world.start()
    await world.answer(2, 0.0, [1.0] * 50)  # asked for
    await world.answer(2, 0.1, [1.0] * 50)  # assigned before it began
    await world.answer(2, 0.5, [None] * 50)
    await world.look()
    found = await world.experiments.get(1)
    assert found.stand.report["measure"]["arms"][1]["estimate"]["n"] == 0
    assert found.stand.report["others"] == 100
    late = [Arrival(f"host-3-0-1-{one:x}", 0, 1.0, metric="sale") for one in range(100, 150)]
    await world.outcomes.receive(of_list(late), None)
    found = await world.experiments.get(1)
    assert found.stand.report["measure"]["arms"][1]["estimate"]["n"] == 50


async def test_rows_without_a_number_are_zeros_once_they_have_waited(world):
    measure = {"metric": "sale", "absent": "zero", "wait_s": 60.0}
    await world.start({"measure": measure})
    await world.answer(1, 0.5, [1.0, None, None, None])
    assert (await arm(world, 0))["n"] == 0
    world.now += 61.0
    found = await arm(world, 0)
    assert (found["n"], found["mean"]) == (4, 0.25)


async def arm(world: World, place: int) -> Mapping[str, Any]:
    found = await world.experiments.get(1)
    assert found.stand.report is not None
    return found.stand.report["measure"]["arms"][place]["estimate"]


async def test_a_harmed_guardrail_ends_it_and_one_that_tells_only_tells(world):
    rail = {"metric": "sale", "on_harm": "tell"}
    for harm in ("tell", "stop"):
        number = (
            await world.start(
                {"measure": {"figure": "accuracy"}, "guardrails": [{**rail, "on_harm": harm}]}
            )
        ).number
        await world.answer(1, 0.5, sales(0.3, 1000))
        await world.answer(2, 0.5, sales(0.1, 1000))
        await world.look()
        await world.look()
        found = await world.experiments.get(number)
        says = [event.says for event in found.stand.events]
        assert says.count("'b' is shown to harm sale") == 1
        assert found.stand.state == ("running" if harm == "tell" else "harmful")
        if harm == "tell":
            await world.experiments.stop(ANN, number, "enough")
        world.now += 10.0


async def test_shares_that_are_not_as_given_are_told_and_nothing_is_decided(world):
    await world.start()
    await world.answer(1, 0.5, sales(0.1, 2000))
    await world.answer(2, 0.5, sales(0.3, 1000))
    await world.look()
    found = await world.experiments.get(1)
    assert found.stand.state == "running"
    assert found.stand.report["mismatch"]["alarm"]
    assert "arms do not get" in found.stand.why
    lines = {
        (sample.name, sample.labels.get("arm")): sample.value
        for family in families(world.experiments.found)
        for sample in family.samples
    }
    assert lines["penstock_experiment_mismatch", None] == 1.0
    assert lines["penstock_experiment_arm_rows", "b"] == 1000.0


async def test_when_time_is_over_it_is_futile(world):
    await world.start({"max_duration_s": 3600.0})
    await world.look()
    world.now += 3600.0
    await world.look()
    found = await world.experiments.get(1)
    assert (found.stand.state, world.routes.leader("m")) == ("futile", "")


async def test_a_bandit_gives_the_better_arm_more_and_sets_it_at_once(world):
    made = {"kind": "bandit", "measure": {"metric": "sale"}, "floor": 0.05}
    await world.experiments.start(ANN, "m", EXPERIMENT.validate_python(made))
    assert world.shares() == {"a": 0.5, "b": 0.5}
    await world.answer(1, 0.5, sales(0.1, 300))
    await world.answer(2, 0.5, sales(0.3, 300))
    await world.look()
    assert world.shares()["b"] == pytest.approx(0.95, abs=0.01)
    assert world.planner.asked == ["apply", "divide"]
    found = await world.experiments.get(1)
    assert found.stand.shares == world.shares()
    ended = await world.experiments.stop(ANN, 1, "done", winner="b")
    assert (ended.stand.state, world.shares()) == ("stopped", {"a": 0.0, "b": 1.0})


async def test_a_bandit_forgets_what_was(world):
    made = EXPERIMENT.validate_python(
        {"kind": "bandit", "measure": {"metric": "sale"}, "half_life_s": 600}
    )
    await world.experiments.start(ANN, "m", made)
    await world.answer(1, 0.5, sales(0.3, 400))
    await world.answer(2, 0.5, sales(0.1, 400))
    await world.look()
    assert world.shares()["a"] > 0.9
    world.now += 6000.0
    await world.answer(1, 0.5, sales(0.1, 400))
    await world.answer(2, 0.5, sales(0.3, 400))
    await world.look()
    assert world.shares()["b"] > 0.9


@pytest.mark.parametrize("wait_s", [0.0, 5.0])
async def test_a_clock_that_jumps_leaves_a_bandit_its_shares_and_all_that_was_counted(
    world, wait_s
):
    measure = {"metric": "sale", "wait_s": wait_s, "absent": "zero"}
    made = {"kind": "bandit", "measure": measure, "floor": 0.05, "policy": "epsilon_greedy"}
    one = await world.experiments.start(ANN, "m", EXPERIMENT.validate_python(made))
    await world.answer(1, 0.5, sales(0.1, 300))
    await world.answer(2, 0.5, sales(0.3, 300))
    world.now += 10.0
    await world.look()
    shares, figures = world.shares(), await counted(world)
    assert shares["b"] > 0.9
    for jump_s in (DAY, -DAY, -DAY):  # forwards, right again, and behind its start
        world.now += jump_s
        await world.look()
        assert (world.shares(), await counted(world)) == (shares, figures)
    world.start_again()
    await world.look()
    assert (world.shares(), world.routes.leader("m")) == (shares, one.owner)


async def counted(world: World) -> Mapping[str, float]:
    """Rows by arm."""
    report = (await world.experiments.get(1)).stand.report
    assert report is not None
    return {one["name"]: one["estimate"]["n"] for one in report["arms"]}


async def test_a_clock_that_jumps_decides_nothing_and_ends_what_has_an_end(world):
    await world.start()
    await world.answer(1, 0.5, sales(0.2, 200))
    await world.answer(2, 0.5, sales(0.2, 200))
    await world.look()
    before = (await world.experiments.get(1)).stand
    for jump_s in (DAY, -DAY, -DAY, DAY):
        world.now += jump_s
        await world.look()
        stand = (await world.experiments.get(1)).stand
        assert (stand.state, stand.events) == ("running", before.events)
    assert stand.report["measure"]["arms"] == before.report["measure"]["arms"]
    await world.experiments.stop(ANN, 1, "")
    await world.start({"max_duration_s": 3600.0})
    world.now -= DAY
    await world.look()
    assert (await world.experiments.get(2)).stand.state == "running"
    world.now += 2 * DAY
    await world.look()
    assert (await world.experiments.get(2)).stand.state == "futile"


async def test_a_bandit_needs_no_sticky_route(world):
    made = EXPERIMENT.validate_python({"kind": "bandit", "measure": {"metric": "sale"}})
    assert (await world.experiments.start(ANN, "turns", made)).stand.state == "running"


async def test_it_goes_on_after_a_restart_of_control(world):
    await world.start()
    world.start_again()
    await world.answer(1, 0.5, sales(0.1, 1000))
    await world.answer(2, 0.5, sales(0.3, 1000))
    await world.look()
    assert (await world.experiments.get(1)).stand.state == "decided"


async def test_one_that_was_killed_before_it_led_leads_and_one_that_ended_lets_go(world):
    one = await world.start()
    world.routes.let_go(ANN, "m", one.owner)
    world.start_again()
    await world.look()
    assert world.routes.leader("m") == one.owner
    route = world.routes.of("m").route
    await world.experiments.stop(ANN, 1, "")
    world.routes.lead(ANN, "m", one.owner, route)  # as if it had been killed in between
    world.start_again()
    await world.look()
    assert (world.routes.leader("m"), world.shares()) == ("", {"a": 0.9, "b": 0.1})


@pytest.mark.parametrize("killed", [True, False])
async def test_shares_that_were_written_down_and_not_led_by_are_led_by_next(world, killed):
    made = {"kind": "bandit", "measure": {"metric": "sale"}, "floor": 0.05}
    await world.experiments.start(ANN, "m", EXPERIMENT.validate_python(made))
    await world.answer(1, 0.5, sales(0.1, 300))
    await world.answer(2, 0.5, sales(0.3, 300))
    with world.store.write() as db:
        db.execute(
            "CREATE TRIGGER full BEFORE INSERT ON routes BEGIN SELECT RAISE(ABORT, 'f'); END"
        )
    with pytest.raises(StoreFailed):
        await world.look()
    with world.store.write() as db:
        db.execute("DROP TRIGGER full")
    if killed:
        world.start_again()
    await world.look()
    assert world.shares()["b"] > 0.9
    assert world.shares() == (await world.experiments.get(1)).stand.shares


async def test_whenever_control_dies_a_test_comes_to_the_same_end_by_the_same_figures(world):
    reports = []
    for number, dies_at in enumerate((None, 0, 1, 2, 3), 1):
        await world.start()
        for look in range(4):
            if look == dies_at:
                world.start_again()
            await world.answer(1, 0.5, sales(0.1, 250))
            await world.answer(2, 0.5, sales(0.2, 250))
            if look == dies_at:
                world.start_again()
            await world.look()
        found = await world.experiments.get(number)
        assert (found.stand.state, found.stand.winner) == ("decided", "b")
        assert found.stand.report is not None
        reports.append([one["estimate"]["n"] for one in found.stand.report["measure"]["arms"]])
        world.now += 1.0  # what the next one counts begins later
    assert reports == [reports[0]] * len(reports)


async def test_what_the_ledger_forgets_still_counts(world):
    await world.start({"measure": {"metric": "sale"}, "guardrails": [{"figure": "accuracy"}]})
    await world.answer(1, 0.5, sales(0.1, 700))
    await world.answer(2, 0.5, [*sales(0.2, 500), None, None])
    before = (await world.experiments.get(1)).stand.report
    for _ in range(2):  # the second time there is nothing left to forget
        world.now += 86_400.0 * 40  # beyond ledger.max_age_s, and a day, after which files end
        await world.outcomes.look()
        await world.outcomes.look()
        assert (await world.outcomes.status())["records"] == 0
        assert (await world.experiments.get(1)).stand.report == before
    world.start_again()
    assert (await world.experiments.get(1)).stand.report == before
    await world.experiments.stop(ANN, 1, "enough")
    with world.store.read() as db:
        assert db.execute("SELECT remains FROM experiments").fetchone()[0] is None


async def test_a_lead_of_one_that_nobody_remembers_is_let_go(world):
    world.routes.lead(ANN, "m", "experiment 77", world.routes.of("m").route)
    await world.look()
    assert world.routes.leader("m") == ""


async def test_what_was_told_is_told_after_a_restart_and_not_again(world):
    await world.start()
    world.routes.stop(ANN, "m", 1, "a", "bad")
    await world.look()
    world.start_again()
    await world.look()
    says = [event.says for event in (await world.experiments.get(1)).stand.events]
    assert sum("the route is stopped" in one for one in says) == 1


async def test_a_stopped_route_pauses_it(world):
    await world.start()
    world.routes.stop(ANN, "m", 1, "a", "bad")
    await world.look()
    await world.look()
    says = [event.says for event in (await world.experiments.get(1)).stand.events]
    assert sum("the route is stopped" in one for one in says) == 1


async def test_what_fails_with_one_keeps_no_other_from_its_end(world):
    await world.start()
    made = EXPERIMENT.validate_python({"kind": "bandit", "measure": {"metric": "sale"}})
    await world.experiments.start(ANN, "turns", made)
    whole, asked = world.readings.evidence, []

    async def evidence(one):
        asked.append(one.model)
        if one.model == "m":
            raise StoreFailed("the disk is full")
        return await whole(one)

    world.readings.evidence = evidence
    with pytest.raises(StoreFailed):
        await world.look()
    assert asked == ["m", "turns"]


@pytest.mark.parametrize(
    ("model", "spec", "error", "told"),
    [
        ("nobody", {}, ModelNotFound, "no source"),
        ("plain", {}, Conflict, "no route"),
        ("turns", {}, Conflict, "is not sticky"),
        ("twins", {}, Conflict, "two arms are version 2"),
        ("single", {}, Conflict, "one variant alone"),
        ("silent", {}, InvalidParameter, r"set ledger.enabled or models.silent.ledger"),
        ("m", {"arms": {"a": 1, "x": 1}}, InvalidParameter, r"no variant 'x'; it has: a, b"),
        ("m", {"control": "x"}, InvalidParameter, "control: expected one of a, b"),
        (
            "m",
            {"measure": {"figure": "absolute_error"}},
            InvalidParameter,
            "no figure of binary scores",
        ),
    ],
)
async def test_what_could_never_show_anything_is_refused(world, model, spec, error, told):
    with pytest.raises(error, match=told):
        await world.start(spec, model)
    assert await world.experiments.newest() == []
    assert world.routes.leader(model) == ""


async def test_a_figure_is_refused_by_the_kind_that_scores_are_found_to_be_of(world):
    world.kind = "value"
    told = r"measure: 'accuracy' is no figure of value scores.*: outcome, squared_error,"
    with pytest.raises(InvalidParameter, match=told):
        await world.start({"guardrails": [{"figure": "accuracy"}]})
    world.kind = ""  # its file cannot be read here, and may yet be
    assert (await world.start({"guardrails": [{"figure": "accuracy"}]})).number == 1


async def test_an_arm_that_is_pulled_because_it_fails_ends_it(world):
    await world.start()
    world.pulled[2] = Pull(2, "b", "10 requests in a row failed", world.now, {})
    await world.look()
    found = await world.experiments.get(1)
    assert (found.stand.state, found.stand.why) == (
        "harmful",
        "'b' was pulled: 10 requests in a row failed",
    )
    with pytest.raises(Conflict, match="'b' was pulled: resume the route first"):
        await world.start()


async def test_arms_that_take_other_inputs_are_refused(world):
    world.unlike = "input 'x': FP32 here, INT64 there"
    with pytest.raises(Conflict, match="'b' cannot be compared with 'a': input 'x'"):
        await world.start()


async def test_a_route_has_one_leader_and_one_experiment(world):
    await world.start()
    with pytest.raises(Conflict, match="led by experiment 1"):
        await world.start()
    with pytest.raises(Conflict, match="led by experiment 1"):
        world.routes.set(ANN, "m", world.document.routes["turns"])
    await world.experiments.stop(ANN, 1, "")
    with pytest.raises(Conflict, match="is over"):
        await world.experiments.stop(ANN, 1, "")
    with pytest.raises(NotFound, match="no experiment 7"):
        await world.experiments.get(7)


async def test_arms_that_do_not_serve_leave_the_route_as_it_was(world):
    world.planner.memory.plan = Plan(1, routes=(Route("m", 1, {1: "one"}),))
    with pytest.raises(Conflict, match="version 2 does not serve"):
        await world.start()
    assert world.shares() == {"a": 0.9, "b": 0.1}
    (kept,) = await world.experiments.newest()
    assert kept.stand.state == "stopped"


async def test_other_shares_are_weighed_from_what_was_left_to_chance(world):
    await world.answer(1, 0.8, sales(0.1, 800))
    await world.answer(2, 0.2, sales(0.4, 200))
    await world.answer(2, 0.0, sales(1.0, 100))
    await world.outcomes.look()
    found = await world.readings.replay(
        "m", {"a": 1, "b": 2}, Measure(metric="sale"), {"b": 1.0}, None
    )
    assert found.rows == 1000
    assert found.mean.mean == pytest.approx(0.16)
    assert found.snips.mean == pytest.approx(0.4)
    assert found.ips.mean == pytest.approx(0.4, rel=1e-3)  # chances are kept within 0.04 %
    assert found.effective_rows == pytest.approx(200.0)


async def test_a_database_has_one_under_way_of_a_model(world):
    await world.start()
    with pytest.raises(Exception, match="UNIQUE"), world.store.write() as db:
        db.execute("INSERT INTO experiments (model, given, stand) VALUES ('m', '{}', '{}')")
