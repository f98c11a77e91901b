"""Candidates are judged by what workers really count, and plans that never could be are told so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gateway import config
from gateway.config import Config, parse
from gateway.config.rollout import RolloutPlan
from gateway.control.contracts import Breaches
from gateway.control.drift import Drift
from gateway.control.outcomes import Outcomes
from gateway.control.panes import PaneStore
from gateway.control.rollout_evidence import CandidateJudge, RolloutEvidence
from gateway.control.rollout_sources import Sources
from gateway.control.rollout_traffic import Grown
from gateway.control.sketches import Sketches
from gateway.errors import ModelFailed, QueueFull
from gateway.monitor import layout
from gateway.monitor.arena import TICK, Arena
from gateway.monitor.ledger import LedgerWriter
from gateway.monitor.observe import BatchObserver
from gateway.monitor.scores import reading
from gateway.monitor.sketch import Sketch
from gateway.monitor.slot import Slot
from gateway.outcomes.arrivals import Arrival, of_list
from gateway.profiles.live import block_words, counted
from gateway.rollouts.judgements import Verdict
from gateway.rollouts.shares import Given
from tests.control.test_outcomes import GOLD
from tests.control.test_outcomes import SIGNATURE as SCORED
from tests.monitor.watching import SIGNATURE, profile_of, rows
from tests.outcomes.records import NOON_MS

FAIL, PASS, INCONCLUSIVE = Verdict.FAIL, Verdict.PASS, Verdict.INCONCLUSIVE
PROFILE = profile_of(*rows(np.random.default_rng(1), 2000))
BASELINE, CANDIDATE = 1, 2
LEDGER = "ledger: {enabled: true}\nmodels: {m: {slices: {tier: {parameter: tier, groups: [gold]}}}}"

LANGUAGE = """
llm:
  providers: {p: {base_url: "http://p.example/v1"}}
  models: {m: {upstreams: [{provider: p, model: x}]}}
"""


class AtOnce(Executor):
    """Histories' thread, for a test that has one thread."""

    def submit(self, work: Any, /, *args: Any, **more: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(work(*args, **more))
        except Exception as error:
            done.set_exception(error)
        return done


class World:
    """One worker that serves two versions of `m`, and control, without a server."""

    def __init__(self, home: Path, pool: ThreadPoolExecutor) -> None:
        self.home, self.pool = home, pool
        self.rng = np.random.default_rng(3)
        self.arena = Arena.create(1)
        self.arena.claim(0, 100, 1, 0)
        self.now = NOON_MS / 1000.0
        self.config: Config = parse(LEDGER)
        self.panes = PaneStore(home)
        self.sketches = Sketches(self.arena, self.panes, lambda: self.now, lambda: self.now)
        self.drift = Drift(self.sketches.series)
        self.outcomes = Outcomes(
            self.arena,
            home,
            lambda: self.config,
            lambda slot, epoch: "host-3-0-1",
            lambda: self.now,
        )
        self.broken: dict[int, Breaches] = {}
        self.pairs: tuple[int, int] = (0, 0)
        self.observers = {one: self.observer(one) for one in (BASELINE, CANDIDATE)}
        self.sketch = {
            BASELINE: self.watched(layout.sketch_key("m", 1, "d")),
            CANDIDATE: self.watched(layout.sketch_key("m", 2, "d", part=layout.COMMON)),
        }
        self.writers: dict[int, LedgerWriter] = {}
        self.asked = 0
        self.sources = Sources(
            self.arena,
            self.drift,
            AtOnce(),
            self.outcomes,
            lambda model, version: self.broken.get(version),
            list,
            lambda: self.config,
            lambda model, answered, shadow: self.pairs,
        )
        self.evidence = RolloutEvidence(self.sources)

    def observer(self, version: int) -> BatchObserver:
        key = layout.model_key("m", version)
        return BatchObserver(
            self.arena, self.arena.allocate(layout.MODEL, key, layout.MODEL_WORDS), 0
        )

    def forget(self, version: int) -> None:
        offset = self.arena.find(layout.MODEL, layout.model_key("m", version))
        assert offset is not None
        self.arena.free(offset)

    def watched(self, key: str) -> Sketch:
        self.sketches.watch(key, PROFILE)
        offset = self.arena.allocate(layout.SKETCH, key, block_words(PROFILE))
        tick = self.arena.control_row[TICK : TICK + 1]
        slot = Slot(self.arena.array(offset, 0), self.pool)
        return Sketch(counted(PROFILE, SIGNATURE), slot, tick)

    # ---- traffic --------------------------------------------------------------------------------

    def serve(
        self,
        version: int,
        requests: int,
        errors: int = 0,
        ms: float = 2.0,
        non_finite: int = 0,
        cpu_ms: float = 2.0,
    ) -> None:
        """Requests of a row each, which runs alone."""
        observer, done = self.observers[version], requests - errors
        for _ in range(errors):
            observer.erred(ModelFailed("no"))
        observer.counted("idle", done, done, done, non_finite=non_finite)
        took = np.exp(self.rng.normal(np.log(ms / 1e3), 0.3, done))
        for second in took.tolist():
            observer.observed([0.0], [0.0], 0.0, 0.0, second, second, 1, cpu_ms / 1e3)

    def count(self, version: int, many: int, shift: float = 0.0) -> None:
        """Values of rows."""
        inputs, (labels, scores) = rows(self.rng, many)
        self.sketch[version].count(inputs, [labels, scores + np.float32(shift)], many)

    def second(self) -> None:
        self.now += 1.0
        self.sketches.look()
        self.drift.look()

    def answer(self, version: int, scores: Sequence[float], mark: int = 0) -> str:
        """A request that is written down; its id. `mark`: the groups of its rows."""
        if version not in self.writers:
            (taken,) = self.outcomes.take(SimpleNamespace(name="m", version=version))  # type: ignore[arg-type]
            slot = Slot(self.arena.array(taken.block, 0), self.pool)
            found = reading(SCORED, taken.kind, taken.output, taken.positive)
            self.writers[version] = LedgerWriter(
                found, slot, taken.series, 1, wall=lambda: self.now
            )
        self.asked += 1
        pairs = np.array([[1.0 - one, one] for one in scores])
        self.writers[version].record(
            [pairs], [self.asked], [len(scores)], np.full(len(scores), mark), ()
        )
        return f"host-3-0-1-{self.asked:x}"

    # ---- judging --------------------------------------------------------------------------------

    def given(self, *guards: dict[str, Any], **step: Any) -> Given:
        steps = [*([step] if step else []), {"percent": 10}]
        plan = RolloutPlan.model_validate({"guards": list(guards), "steps": steps})
        route = config.Route.model_validate({"variants": [{"name": "one", "version": BASELINE}]})
        return Given("m", CANDIDATE, BASELINE, "one", "", route, plan, "ann")

    def judge(self, *guards: dict[str, Any], memory: Any = None) -> CandidateJudge:
        return self.evidence.judge(self.given(*guards), memory, self.now)

    def verdicts(self, judge: CandidateJudge) -> list[Verdict]:
        return [one.verdict for one in judge.look(self.now)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ThreadPoolExecutor(1) as pool:
        made = World(tmp_path, pool)
        yield made
        made.outcomes._thread.shutdown()
        made.panes.close()
        made.arena.close()


def test_errors_and_latency_are_judged_by_what_workers_count(world: World) -> None:
    judge = world.judge({"kind": "errors"}, {"kind": "latency"})
    assert world.verdicts(judge) == [INCONCLUSIVE] * 2
    for _ in range(60):
        world.serve(BASELINE, 90, 1)
        world.serve(CANDIDATE, 30, 3, ms=12.0)
        world.second()
        found = world.verdicts(judge)
    assert found == [FAIL, FAIL]


def test_nan_and_processor_time_are_judged_by_what_workers_count(world: World) -> None:
    judge = world.judge({"kind": "non_finite"}, {"kind": "cost"})
    assert world.verdicts(judge) == [INCONCLUSIVE] * 2
    for _ in range(30):
        world.serve(BASELINE, 90)
        world.serve(CANDIDATE, 10, non_finite=5, cpu_ms=5.0)
        world.second()
        found = judge.look(world.now)
    assert [one.verdict for one in found] == [FAIL, FAIL]
    assert found[0].figures["candidate"] == 0.5
    assert found[1].figures["candidate_ms"] == pytest.approx(5.0)


def test_what_was_counted_before_it_began_is_nobodys_fault(world: World) -> None:
    world.serve(CANDIDATE, 500, 400)
    world.serve(BASELINE, 500)
    judge = world.judge({"kind": "errors"})
    for _ in range(30):
        world.serve(BASELINE, 100)
        world.serve(CANDIDATE, 100)
        (found,) = judge.look(world.now)
        world.second()
    assert found.figures["candidate_rows"] == 2900 + 100
    assert found.figures["candidate"] == 0.0


def test_a_refused_request_is_no_error_and_an_error_no_refusal(world: World) -> None:
    judge = world.judge({"kind": "errors"}, {"kind": "refused"})
    for _ in range(40):
        for version in (BASELINE, CANDIDATE):
            world.serve(version, 50)
        for _ in range(5):
            world.observers[CANDIDATE].erred(QueueFull("full"))
        world.second()
        errors, refused = world.verdicts(judge)
    assert (errors is FAIL, refused) == (False, FAIL)


def test_a_block_that_left_the_arena_and_came_back_counts_from_zero(world: World) -> None:
    judge = world.judge({"kind": "errors"})
    world.serve(BASELINE, 300)
    world.serve(CANDIDATE, 300)
    judge.look(world.now)
    world.forget(CANDIDATE)
    world.observers[CANDIDATE] = world.observer(CANDIDATE)
    world.serve(CANDIDATE, 20, 1)
    (found,) = judge.look(world.now)
    assert found.figures["candidate_rows"] == 320
    world.forget(CANDIDATE)
    (found,) = judge.look(world.now)
    assert found.figures["candidate_rows"] == 320


def test_sums_that_shrink_are_taken_as_new_ones() -> None:
    grown = Grown()
    seen = [(5, 1), (9, 1), (2, 1), (2, 2)]
    found = [grown.since(np.array(sums)).tolist() for sums in seen]
    assert found == [[0, 0], [4, 0], [2, 1], [0, 1]]


def test_outputs_are_held_against_the_baselines_in_the_same_bins(world: World) -> None:
    same = world.judge({"kind": "prediction_drift", "outputs": ["score"]})
    for second in range(120):
        world.count(BASELINE, 60)
        world.count(CANDIDATE, 30, shift=0.0 if second < 60 else 2.0)
        world.second()
        if second == 0:
            same.look(world.now)
        found = world.verdicts(same)
        if second == 59:
            assert found != [FAIL]
    assert found == [FAIL]


def test_a_value_beyond_all_that_the_reference_had_tells_versions_apart(world: World) -> None:
    judge = world.judge({"kind": "prediction_drift", "outputs": ["score"]})
    for _ in range(60):
        world.count(BASELINE, 60, shift=50.0)  # which is in the last bin, and above it
        world.count(CANDIDATE, 30, shift=-50.0)
        world.second()
        found = world.verdicts(judge)
    assert found == [FAIL]


def test_a_breach_of_the_contract_counts_against_the_values_that_were_examined(
    world: World,
) -> None:
    def broke(rows_: int, breaches: int) -> Breaches:
        counts = np.zeros((2, layout.CONTRACT_RULES), np.int64)
        counts[0, 0] = breaches
        return Breaches("m", 1, "observe", "c", rows_, 0, ["a", "b"], counts)

    world.broken = {BASELINE: broke(0, 0), CANDIDATE: broke(0, 0)}
    judge = world.judge({"kind": "contract"})
    for second in range(1, 40):
        world.broken = {
            BASELINE: broke(90 * second, second),
            CANDIDATE: broke(30 * second, 5 * second),
        }
        (found,) = judge.look(world.now)
    assert found.verdict is FAIL
    assert found.figures["candidate_rows"] == 2 * 30 * 39


def test_a_shadows_rows_are_judged_by_how_often_it_says_something_else(world: World) -> None:
    judge = world.judge({"kind": "disagreement"})
    for second in range(1, 40):
        world.pairs = (100 * second, 12 * second)
        found = world.verdicts(judge)
    assert found == [FAIL]
    assert world.evidence.rows(world.given(shadow_percent=10), shadow=True) == 3900


def test_drift_of_the_candidates_own_values_is_taken_from_monitoring(world: World) -> None:
    own = world.watched(layout.sketch_key("m", CANDIDATE, "e"))
    judge = world.judge({"kind": "drift"})
    for _ in range(40):
        inputs, outputs = rows(world.rng, 30, 1.0)
        own.count(inputs, outputs, 30)
        world.count(BASELINE, 30)
        world.second()
        (found,) = judge.look(world.now)
    assert found.verdict is FAIL
    assert "age" in found.says


@pytest.mark.anyio
async def test_calibration_and_errors_are_judged_by_outcomes_since_it_began(world: World) -> None:
    before = world.answer(CANDIDATE, [0.9] * 400)
    world.now += 10.0
    judge = world.judge(
        {"kind": "calibration"},
        {"kind": "performance", "tolerance": 0.1},
        {"kind": "metric", "metric": "revenue", "tolerance": 0.5},
    )
    arrivals = [Arrival(before, row, 0.0) for row in range(400)]
    for _ in range(20):
        for version, score in ((BASELINE, 0.9), (CANDIDATE, 0.55)):  # as right, and not as sure
            request = world.answer(version, [score] * 100)
            revenue = 2.0 if version == BASELINE else 0.0
            for row in range(100):
                came = float(world.rng.random() < 0.9)
                arrivals.append(Arrival(request, row, came))
                arrivals.append(Arrival(request, row, revenue + row / 100, metric="revenue"))
    await world.outcomes.look()
    assert not (await world.outcomes.receive(of_list(arrivals), None)).faults
    for _ in range(3):
        world.now += 6.0
        found = judge.look(world.now)
        await world.outcomes.status()  # whatever was asked before has been answered by then
    calibration, errors, metric = found
    assert [one.verdict for one in found] == [FAIL, PASS, FAIL]
    assert calibration.figures["candidate_rows"] == 2000
    assert calibration.figures["candidate"] == pytest.approx(0.35, abs=0.05)
    assert errors.figures["candidate"] == pytest.approx(0.1, abs=0.05)
    for one in found:
        for whose in ("candidate", "baseline"):
            ends = [one.figures[whose + end] or 0.0 for end in ("_low", "", "_high")]
            assert ends == sorted(set(ends))  # a value inside of its interval
    assert metric.figures["baseline"] == pytest.approx(2.5, abs=0.05)


@pytest.mark.anyio
async def test_a_guard_on_a_slice_is_judged_by_its_rows_alone(world: World) -> None:
    judge = world.judge(
        {"kind": "performance", "tolerance": 0.1},
        {"kind": "performance", "tolerance": 0.1, "slice": "tier:gold"},
    )
    arrivals = []
    for _ in range(10):
        for version in (BASELINE, CANDIDATE):
            for mark, many in ((GOLD, 20), (0, 400)):
                request = world.answer(version, [0.9] * many, mark)
                right = (mark, version) != (GOLD, CANDIDATE)
                arrivals += [Arrival(request, row, float(right)) for row in range(many)]
    await world.outcomes.look()
    assert not (await world.outcomes.receive(of_list(arrivals), None)).faults
    for _ in range(3):
        world.now += 6.0
        found = judge.look(world.now)
        await world.outcomes.status()  # whatever was asked before has been answered by then
    assert [one.verdict for one in found] == [PASS, FAIL]
    assert [one.figures["candidate_rows"] for one in found] == [4200, 200]
    assert [one.figures["candidate"] for one in found] == [pytest.approx(200 / 4200), 1.0]


def test_each_versions_interval_has_half_of_a_guards_alpha(world: World) -> None:
    asked: list[tuple[Any, ...]] = []

    def known(*which: Any) -> Future[Any]:
        asked.append(which)
        return Future()

    outcomes: Any = SimpleNamespace(known=known)
    evidence = RolloutEvidence(replace(world.sources, outcomes=outcomes))
    given = world.given({"kind": "calibration", "alpha": 0.04, "slice": "tier:gold"})
    evidence.judge(given, None, world.now).look(world.now)
    wanted = world.now, "tier:gold", 0.02
    assert asked == [("m", CANDIDATE, *wanted), ("m", BASELINE, *wanted)]


def test_a_look_waits_for_nobody(world: World) -> None:
    with ThreadPoolExecutor(1) as busy:
        stuck: Future[None] = Future()
        busy.submit(stuck.result)
        evidence = RolloutEvidence(replace(world.sources, counting=busy))
        judge = evidence.judge(
            world.given({"kind": "prediction_drift"}, {"kind": "errors"}), None, 0.0
        )
        world.serve(CANDIDATE, 10)
        _, errors = judge.look(world.now)
        assert errors.figures["candidate_rows"] == 10
        stuck.set_result(None)


def test_a_successor_goes_on_with_what_was_known(world: World) -> None:
    judge = world.judge({"kind": "errors"})
    world.serve(CANDIDATE, 100)
    judge.look(world.now)
    memory = judge.memory()
    world.now += 5.0
    successor = world.judge({"kind": "errors"}, memory=memory)
    world.serve(CANDIDATE, 50)
    (found,) = successor.look(world.now)
    assert found.figures["candidate_rows"] == 150
    assert successor.memory()["began"] == world.now - 5.0


# ---- plans that never could be judged ------------------------------------------------------------


@pytest.mark.parametrize(
    ("guard", "said"),
    [
        pytest.param({"kind": "contract"}, "has no contract", id="no-contract"),
        pytest.param({"kind": "disagreement"}, "no step is a shadow", id="no-shadow"),
        pytest.param(
            {"kind": "prediction_drift", "outputs": ["speed"]}, "no output 'speed'", id="output"
        ),
        pytest.param(
            {"kind": "performance", "slice": "tier:iron"}, "has the groups gold", id="group"
        ),
        pytest.param({"kind": "performance", "slice": "age:old"}, "slice", id="slicing"),
    ],
)
def test_a_guard_on_figures_that_never_come_is_told_at_the_start(
    world: World, guard: dict[str, Any], said: str
) -> None:
    (fault,) = world.evidence.faults(world.given(guard))
    assert said in fault
    assert fault.startswith(
        f"{(guard.get('slice') and 'error_rate ' + guard['slice']) or guard['kind']}: "
    )


def test_a_figure_that_the_scores_do_not_have_is_told_at_the_start(world: World) -> None:
    kinds = {BASELINE: "binary"}
    sources = replace(world.sources, scores=lambda model, version: kinds[version])
    mae = {"kind": "performance", "figure": "mae", "tolerance": 1}
    guards: list[dict[str, Any]] = [mae, {"kind": "calibration"}]
    (fault,) = RolloutEvidence(sources).faults(world.given(*guards))
    assert fault == "mae: 'mae' has no interval for binary scores, which the model has"
    kinds[BASELINE] = "value"
    (fault,) = RolloutEvidence(sources).faults(world.given(*guards))
    assert fault.startswith("calibration: 'ece' has no interval for value scores")


@pytest.mark.anyio
async def test_what_has_never_come_is_told_at_the_start(world: World) -> None:
    guards: list[dict[str, Any]] = [
        {"kind": "metric", "metric": "revenu", "tolerance": 1},
        {"kind": "calibration"},
        {"kind": "errors"},
    ]
    given = world.given(*guards, percent=5)
    assert world.evidence.doubts(given) == [
        "revenu: no number of metric 'revenu' had ever come at the start; known: none",
        "calibration: no outcome of the baseline, version 1, has come yet",
    ]
    asked = world.answer(BASELINE, [0.2])
    came = [Arrival(asked, 0, 1.0), Arrival(asked, 0, 2.5, metric="revenue")]
    await world.outcomes.receive(of_list(came), None)
    assert world.evidence.doubts(given) == [
        "revenu: no number of metric 'revenu' had ever come at the start; nearest: revenue;"
        " known: revenue"
    ]


def test_a_comparison_without_a_baseline_is_told_at_the_start(world: World) -> None:
    at_once = replace(
        world.given({"kind": "errors"}),
        plan=RolloutPlan.model_validate(
            {"guards": [{"kind": "errors"}, {"kind": "errors", "name": "all", "max": 0.1}],
             "steps": [{"percent": 100}]}
        ),
    )  # fmt: skip
    (fault,) = world.evidence.faults(at_once)
    assert fault.startswith("errors: in no step do both versions answer requests")


def test_without_a_ledger_or_monitoring_their_guards_are_told_at_the_start(world: World) -> None:
    world.config = parse("monitoring: {enabled: false}\nledger: {enabled: false}")
    guards: list[dict[str, Any]] = [
        {"kind": "calibration"},
        {"kind": "metric", "metric": "x", "tolerance": 1},
        {"kind": "drift"},
    ]
    faults = world.evidence.faults(world.given(*guards))
    assert ["set ledger.enabled" in one for one in faults] == [True, True, False]
    assert "set monitoring.enabled" in faults[2]
    bare = Given(
        "other",
        CANDIDATE,
        BASELINE,
        "one",
        "",
        world.given().basis,
        world.given({"kind": "prediction_drift"}).plan,
        "ann",
    )
    assert "has no profile" in world.evidence.faults(bare)[0]


def test_a_metric_that_no_outcome_may_have_is_told_at_the_start(world: World) -> None:
    guards: list[dict[str, Any]] = [{"kind": "metric", "metric": "x", "tolerance": 1}]
    world.config = parse("models: {m: {ledger_metrics: [x]}}")
    assert world.evidence.faults(world.given(*guards)) == []
    world.config = parse("ledger: {metrics: [revenue]}")
    (fault,) = world.evidence.faults(world.given(*guards))
    assert fault == "x: its outcomes have no 'x': set ledger.metrics"


def test_what_only_runs_have_is_no_guard_of_a_language_model(world: World) -> None:
    guards: list[dict[str, Any]] = [{"kind": "cost"}, {"kind": "non_finite", "max": 0.1}]
    assert world.evidence.faults(world.given(*guards)) == []
    world.config = parse(LANGUAGE)
    cost, non_finite = world.evidence.faults(world.given(*guards))
    assert cost == (
        "cost: a language model has no runs here: dollars are judged by"
        " {kind: prediction_drift, outputs: [cost_usd]}"
    )
    assert non_finite.startswith("non_finite: a language model answers with no numbers")


def test_what_can_be_judged_has_no_faults(world: World) -> None:
    guards: list[dict[str, Any]] = [
        {"kind": "errors"},
        {"kind": "latency"},
        {"kind": "prediction_drift", "outputs": ["score"]},
        {"kind": "calibration", "slice": "tier:gold"},
        {"kind": "drift"},
        {"kind": "disagreement"},
    ]
    assert world.evidence.faults(world.given(*guards, shadow_percent=10)) == []
