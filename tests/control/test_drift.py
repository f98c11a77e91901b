"""What a window is held against: the profile, or earlier traffic in the profile's bins."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from gateway.config.against import Against, read_against
from gateway.control.drift import Drift
from gateway.control.panes import PaneStore
from gateway.control.seasons import WEEK_S
from gateway.control.sketches import Sketches
from gateway.drift.reference import Reference
from gateway.errors import InvalidParameter, NotFound
from gateway.monitor import layout
from gateway.monitor.arena import TICK, Arena
from gateway.monitor.sketch import Sketch
from gateway.monitor.slot import Slot
from gateway.profiles.live import ROWS, block_words, counted, places
from gateway.profiles.values import Profile
from tests.monitor.watching import SIGNATURE, profile_of, rows

REFERENCE = profile_of(*rows(np.random.default_rng(1), 2000))
KEY = layout.sketch_key("m", 1, "d")


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class World:
    """One worker that counts, and control's reports."""

    def __init__(
        self, home: Path, clock: Clock | None = None, profile: Profile = REFERENCE
    ) -> None:
        home.mkdir(exist_ok=True)
        self.arena = Arena.create(1)
        self.clock = clock or Clock()
        self.pool = ThreadPoolExecutor(1)
        self.rng = np.random.default_rng(2)
        self.panes = PaneStore(home)
        self.sketches = Sketches(self.arena, self.panes, self.clock, self.clock)
        self.sketches.watch(KEY, profile)
        self.drift = Drift(self.sketches.series, past=self.panes)
        offset = self.arena.allocate(layout.SKETCH, KEY, block_words(REFERENCE))
        tick = self.arena.control_row[TICK : TICK + 1]
        slot = Slot(self.arena.array(offset, 0), self.pool)
        self.worker = Sketch(counted(REFERENCE, SIGNATURE), slot, tick)

    def beside(self, key: str, profile: Profile = REFERENCE) -> Sketch:
        """What the worker counts into beside, from now on."""
        self.sketches.watch(key, profile)
        offset = self.arena.allocate(layout.SKETCH, key, block_words(profile))
        slot = Slot(self.arena.array(offset, 0), self.pool)
        tick = self.arena.control_row[TICK : TICK + 1]
        return Sketch(counted(profile, SIGNATURE), slot, tick)

    def serve(self, seconds: int, count: int, shift: float = 0.0) -> None:
        for _ in range(seconds):
            inputs, outputs = rows(self.rng, count, shift)
            self.worker.count(inputs, outputs, count)
            self.clock.now += 1
            self.sketches.look()
            self.drift.look()

    def pause_until(self, when: float) -> None:
        """No traffic; what was counted is kept as a server keeps it."""
        self.clock.now = when
        self.sketches.look()
        self.panes.save(*self.sketches.due(), self.clock.now)

    def stop(self) -> None:
        """Keeps what a server that is told to stop keeps."""
        self.panes.save(*self.sketches.due(True), self.clock.now, self.drift.learnt())
        self.close()

    def close(self) -> None:
        self.panes.close()
        self.pool.shutdown()
        self.arena.close()

    def age(self, **query):
        report = self.drift.report("m", 1, 60, None, True, **query)
        return report, report["features"][0]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def test_a_variant_that_is_not_there_is_not_called_unwatched(world):
    with pytest.raises(NotFound, match="version 1 has no variant 'b'"):
        world.drift.report("m", 1, 60, "b", False)


def test_variants_are_reported_apart_and_together(world):
    blue, green = (
        world.beside(layout.sketch_key("m", 1, "d", variant)) for variant in ("blue", "green")
    )
    drawn = [rows(world.rng, count, shift) for count, shift in ((70, 0.0), (50, 1.0))]
    blue.count(*drawn[0], 70)
    green.count(*drawn[1], 50)
    world.serve(1, 5)
    found = {name: world.drift.report("m", 1, 60, name, True) for name in (None, "blue", "green")}
    assert {name: (one["variant"], one["rows"]) for name, one in found.items()} == {
        None: (None, 125),
        "blue": ("blue", 70),
        "green": ("green", 50),
    }
    ages = [drawn[at][0][0][:, 0].astype(float) for at in (0, 1)]
    means = [found[name]["features"][0]["mean"] for name in ("blue", "green")]
    assert means == pytest.approx([age.mean() for age in ages])
    assert found[None]["features"][0]["max"] >= max(age.max() for age in ages)
    assert sum(one["count"] for one in found[None]["features"][0]["bins"]) == 125
    [together] = world.drift.evaluate_all(60)
    assert (together.about.rows, together.total[ROWS]) == (125, 125)
    with pytest.raises(NotFound, match="variant 'red'"):
        world.drift.report("m", 1, 60, "red", True)


def test_of_two_profiles_the_later_one_is_reported_alone(world):
    world.serve(3, 10)
    later = profile_of(*rows(np.random.default_rng(4), 300))
    world.beside(layout.sketch_key("m", 1, "e"), later).count(*rows(world.rng, 7), 7)
    world.serve(1, 10)
    report, age = world.age()
    assert (report["reference"], report["reference_rows"], report["rows"]) == ("e", 300, 7)
    assert sum(one["reference"] for one in age["bins"]) == 300


def test_dependent_rows_witness_less_where_the_reference_is_live_traffic_as_well(tmp_path):
    own = dataclasses.replace(REFERENCE, self_referenced=True)
    found = {}
    for profile in (REFERENCE, own):
        world = World(tmp_path / str(profile.self_referenced), profile=profile)
        for level in np.random.default_rng(3).normal(0.5, 0.5, 150):
            world.serve(1, 10, shift=level)  # rows of a second have something in common
        found[profile.self_referenced] = world.age()[1]
        world.close()
    assert found[True]["mean"] == found[False]["mean"]
    for evidence in ("log10_e", "alarm_log10_e"):
        assert 0 < found[True][evidence] < 0.9 * found[False][evidence], evidence


def test_a_rolling_reference_is_what_came_before_the_window_in_the_same_bins(world):
    world.serve(300, 10, shift=1.0)
    world.serve(70, 10, shift=1.0)
    _, fixed = world.age()
    report, rolling = world.age(against=Against(rolling_s=240.0))
    assert fixed["verdict"] == "drift"
    assert rolling["verdict"] in ("self_referenced", "watch")
    assert rolling["ks"] < 0.1 < fixed["ks"]
    assert (report["reference_kind"], report["self_referenced"]) == ("rolling:240s", True)
    assert [one["le"] for one in rolling["bins"]] == [one["le"] for one in fixed["bins"]]
    before = sum(one["reference"] for one in rolling["bins"])
    assert before == report["reference_rows"]
    assert 2400 <= before <= 3700 - report["rows"]


def test_a_rolling_reference_shows_what_is_new(world):
    world.serve(300, 10)
    world.serve(60, 10, shift=1.0)
    _, rolling = world.age(against=Against(rolling_s=200.0))
    assert rolling["verdict"] == "drift"


def test_before_there_was_any_traffic_there_is_no_rolling_reference(world):
    world.serve(30, 10)
    report, rolling = world.age(against=Against(rolling_s=600.0))
    assert (report["reference_rows"], rolling["verdict"]) == (0, "too_few_rows")


def test_the_same_hours_of_earlier_weeks_are_what_they_are_held_against(world):
    monday = world.clock.now
    for week in range(3):
        world.pause_until(monday + week * WEEK_S)
        world.serve(100, 10, shift=1.0)  # as it is at this hour
        world.pause_until(monday + week * WEEK_S + 8 * 3600)
        world.serve(100, 10)
    world.pause_until(monday + 3 * WEEK_S)
    world.serve(90, 10, shift=1.0)
    _, fixed = world.age()
    report, seasonal = world.age(against=Against(weeks=4))
    assert seasonal["verdict"] in ("self_referenced", "watch")
    assert seasonal["ks"] < 0.1 < 0.3 < fixed["ks"]
    assert (report["reference_kind"], report["self_referenced"]) == ("same-hours:4w", True)
    assert (report["reference_weeks"], report["reference_rows"]) == (3, 3000)
    assert [one["le"] for one in seasonal["bins"]] == [one["le"] for one in fixed["bins"]]
    newest, _ = world.age(against=Against(weeks=1))
    assert (newest["reference_weeks"], newest["reference_rows"]) == (1, 1000)


def test_hours_that_differ_from_those_of_earlier_weeks_are_seen(world):
    monday = world.clock.now
    for week in range(2):
        world.pause_until(monday + week * WEEK_S)
        world.serve(100, 10, shift=1.0)
    world.pause_until(monday + 2 * WEEK_S)
    world.serve(90, 10)
    _, seasonal = world.age(against=Against(weeks=2))
    assert seasonal["verdict"] == "drift"


def test_without_earlier_weeks_there_is_nothing_to_be_held_against(world):
    world.serve(90, 10)
    report, seasonal = world.age(against=Against(weeks=4))
    assert (report["reference_weeks"], report["reference_rows"]) == (0, 0)
    assert seasonal["verdict"] == "too_few_rows"


def test_after_a_restart_verdict_and_alarm_stand_before_a_row_comes(tmp_path):
    before = World(tmp_path)
    before.serve(120, 10)
    before.serve(60, 10, shift=1.0)
    drifting, _ = before.age()
    before.stop()
    after = World(tmp_path, before.clock)
    found, age = after.age()
    assert (age["verdict"], age["alarm"]) == ("drift", "drift")
    assert (found["alarm"], found["rows"]) == (drifting["alarm"], drifting["rows"])
    evidence = [one["features"][0]["alarm_log10_e"] for one in (drifting, found)]
    assert evidence[1] == pytest.approx(evidence[0])
    after.close()


def test_a_server_whose_learning_was_lost_begins_to_learn_again(tmp_path):
    before = World(tmp_path)
    before.serve(60, 10)
    before.panes.save(*before.sketches.due(True), before.clock.now)
    before.close()
    after = World(tmp_path, before.clock)
    assert after.age()[1]["verdict"] == "too_few_rows"
    after.serve(40, 10)
    assert after.age()[1]["verdict"] != "too_few_rows"
    after.close()


@pytest.mark.parametrize(
    ("text", "window_s", "kind"),
    [
        ("fixed", 30 * 86_400, "fixed"),
        ("rolling:7d", 600, "rolling:604800s"),
        ("rolling:1w", 600, "rolling:604800s"),
        ("same-hours:4w", 3 * 86_400, "same-hours:4w"),
    ],
)
def test_a_reference_is_read_as_it_is_written(text, window_s, kind):
    assert read_against(text, window_s).kind == kind


@pytest.mark.parametrize(
    ("text", "window_s", "said"),
    [
        ("yesterday", 600, "expected fixed, rolling:7d or same-hours:4w"),
        ("rolling", 600, "expected fixed"),
        ("rolling:0d", 600, "expected fixed"),
        ("same-hours:6w", 600, "at most 5w"),
        ("same-hours:4d", 600, "expected fixed"),
        ("rolling:30d", 600, "at most 30d with the window"),
        ("same-hours:4w", 4 * 86_400, "at most 3d with same-hours"),
    ],
)
def test_what_is_no_reference_is_refused_by_name(text, window_s, said):
    with pytest.raises(InvalidParameter, match=said):
        read_against(text, window_s)


def test_rows_of_live_traffic_depend_on_each_other_in_the_reference_too():
    effect = np.full(sum(1 for _ in REFERENCE.columns()), 9.0)
    effect[0] = np.nan
    found = places(REFERENCE)
    own = Reference.of(dataclasses.replace(REFERENCE, self_referenced=True), found)
    assert own.with_effect(effect).baseline.effect.tolist() == [1.0, *[9.0] * (len(effect) - 1)]
    data = Reference.of(REFERENCE, found)
    assert data.with_effect(effect).baseline.effect.tolist() == [1.0] * len(effect)


def serve_both(world, second, shift=0.0, seconds=40):
    """Version 1 as ever, and version 2 beside it with fewer rows, some of them otherwise."""
    for _ in range(seconds):
        second.count(*rows(world.rng, 10, shift), 10)
        world.serve(1, 40)


def common(world):
    return world.beside(layout.sketch_key("m", 2, "d", part=layout.COMMON))


def test_versions_that_are_counted_in_the_same_bins_are_held_against_each_other(world):
    serve_both(world, common(world), shift=1.0)
    report = world.drift.report_against("m", 2, 1, 60, True)
    assert (report["rows"], report["reference_rows"]) == (400, 1600)
    assert report["reference_kind"] == "version:1"
    verdicts = {one["name"]: one["verdict"] for one in report["features"]}
    assert verdicts.pop("age") == "drift"
    assert set(verdicts.values()) == {"ok"}
    age = report["features"][0]
    assert sum(one["count"] for one in age["bins"]) == 400
    assert sum(one["reference"] for one in age["bins"]) == 1600
    assert age["alarm"] == "too_few_rows"
    # What it is to be like is the other one, whatever that is to the profile.
    back = world.drift.report_against("m", 1, 2, 60, False)
    assert back["features"][0]["psi"] == pytest.approx(age["psi"])


def test_versions_that_are_alike_are_all_right_though_both_have_drifted(world):
    second = common(world)
    for _ in range(40):
        second.count(*rows(world.rng, 10, 2.0), 10)
        world.serve(1, 40, 2.0)
    assert world.age()[1]["verdict"] == "drift"
    assert world.drift.report_against("m", 2, 1, 60, False)["verdict"] == "ok"


def test_what_is_counted_for_another_version_is_no_report_of_its_own(world):
    serve_both(world, common(world), seconds=3)
    assert world.drift.watched() == {("m", 1)}
    assert [one.about.version for one in world.drift.evaluate_all(60)] == [1]
    with pytest.raises(NotFound, match="version 2: not watched"):
        world.drift.report("m", 2, 60, None, False)


def test_versions_that_do_not_share_bins_are_told_what_to_do(world):
    second = world.beside(layout.sketch_key("m", 2, "e"))
    serve_both(world, second, seconds=3)
    with pytest.raises(NotFound, match="versions 2 and 1 are not counted in the same bins"):
        world.drift.report_against("m", 2, 1, 60, False)
    with pytest.raises(NotFound, match="version 3: not watched"):
        world.drift.report_against("m", 2, 3, 60, False)


def test_versions_with_the_same_profile_need_nothing_else(world):
    serve_both(world, world.beside(layout.sketch_key("m", 2, "d")), seconds=3)
    assert world.drift.report_against("m", 2, 1, 60, False)["rows"] == 30
