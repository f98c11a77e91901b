"""When an alarm fires and when it is over, as tables and laws."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.alerts import records
from gateway.alerts.alarms import FIRING, PENDING, RESOLVED, Alarm, end, evaluate
from gateway.alerts.readings import Column, Look, read
from gateway.config import COLUMN_FIGURES, AlertRule, Alerts, AlertSink
from gateway.drift.report import NUMBERS

A, B = Column("features", "x", "a"), Column("features", "x", "b")
MARKS = {PENDING: "p", FIRING: "F", RESOLVED: "r"}


def pane(*arguments):
    """`evaluate`, for those who know that there is an alarm."""
    return evaluate(*arguments)


def rule(**more):
    known = {"name": "psi", "figure": "psi", "threshold": 0.2, "clear": 0.1, "window_s": 600}
    return AlertRule(**(known | {"cooldown_s": 0, "clear_panes": 1} | more))


def phases(of, values, start=None):
    """The phase after each pane of one column, a second apart, `-` for none; `!` where told."""
    alarm, shown = start, []
    for now, value in enumerate(values):
        alarm, told = pane(of, alarm, {A: (Look(value),)}, float(now))
        shown.append((MARKS[alarm.phase] if alarm else "-") + ("!" if told else ""))
    return " ".join(shown)


@pytest.mark.parametrize(
    ("of", "values", "wanted"),
    [
        pytest.param({}, [0.0, 0.1, 0.19], "- - -", id="nothing"),
        pytest.param({}, [0.0, 0.2, 0.2], "- F! F", id="at-once"),
        pytest.param({}, [0.3, 0.15, 0.15, 0.1, 0.09], "F! F F F r!", id="hysteresis"),
        pytest.param({"clear_panes": 3}, [0.3, 0, 0, 0.15, 0, 0, 0], "F! F F F F F r!", id="calm"),
        pytest.param({"panes": 2, "of_last": 3}, [0.3, 0, 0.3, 0.3], "p p F! F", id="two-of-three"),
        pytest.param(
            {"panes": 2, "of_last": 3}, [0.3, 0, 0, 0.3, 0, 0], "p p p p p p", id="too-rare"
        ),
        pytest.param({"panes": 2, "of_last": 2}, [0.3, 0, 0], "p p -", id="forgotten"),
        pytest.param(
            {"panes": 3, "of_last": 5}, [0.3, 0.3, 0, 0, 0.3], "p p p p F!", id="three-of-five"
        ),
        pytest.param({"cooldown_s": 4}, [0.3, 0, 0.3, 0.3, 0.3], "F! r! p p F!", id="cooldown"),
        pytest.param({"cooldown_s": 9}, [0.3, 0, 0.3, 0, 0.3], "F! r! p r p", id="cooled-down"),
        pytest.param({"clear_panes": 2}, [0.3, None, 0, None, 0], "F! F F F r!", id="no-rows"),
        pytest.param({}, [None, None], "- -", id="never-rows"),
        pytest.param(
            {"comparison": "<", "threshold": 1.0, "clear": 2.0},
            [1.0, 0.9, 1.5, 2.0],
            "- F! F r!",
            id="below",
        ),
        pytest.param({"clear": None}, [0.2, 0.19], "F! r!", id="one-threshold"),
    ],
)
def test_the_phases_of_an_alarm(of, values, wanted):
    assert phases(rule(**of), values) == wanted


def test_what_is_suppressed_stays_pending_and_fires_when_that_is_over():
    of = rule()
    alarm, told = pane(of, None, {A: (Look(0.3),)}, 1.0, "a rollout moves")
    assert (alarm.phase, alarm.suppressed, told) == (PENDING, "a rollout moves", False)
    alarm, told = pane(of, alarm, {A: (Look(0.3),)}, 2.0)
    assert (alarm.phase, alarm.suppressed, told, alarm.since_s) == (FIRING, "", True, 1.0)


def test_what_is_suppressed_while_it_fires_is_still_resolved():
    alarm, _ = pane(rule(), None, {A: (Look(0.3),)}, 1.0)
    alarm, told = pane(rule(), alarm, {A: (Look(0.0),)}, 2.0, "a rollout moves")
    assert (alarm.phase, told) == (RESOLVED, True)


def test_columns_are_one_alarm_that_is_over_with_the_last_of_them():
    of = rule()
    alarm, told = pane(of, None, {A: (Look(0.3),), B: (Look(0.4),)}, 1.0)
    assert (alarm.told, told) == ((A, B), True)
    alarm, told = pane(of, alarm, {A: (Look(0.3),), B: (Look(0.0),)}, 2.0)
    assert (alarm.phase, alarm.alarmed, told) == (FIRING, (A,), False)
    alarm, told = pane(of, alarm, {A: (Look(0.0),), B: (Look(0.0),)}, 3.0)
    assert (alarm.phase, alarm.told, told) == (RESOLVED, (A, B), True)


def test_panes_of_different_columns_are_not_added_up():
    of = rule(panes=2, of_last=2)
    alarm, _ = pane(of, None, {A: (Look(0.3),), B: (Look(0.0),)}, 1.0)
    alarm, told = pane(of, alarm, {A: (Look(0.0),), B: (Look(0.3),)}, 2.0)
    assert (alarm.phase, told) == (PENDING, False)


def test_a_column_that_joins_is_told_once_the_cooldown_is_over():
    of = rule(cooldown_s=10)
    alarm, _ = pane(of, None, {A: (Look(0.3),)}, 0.0)
    both = {A: (Look(0.3),), B: (Look(0.3),)}
    told = []
    for now in range(1, 30):
        alarm, tell = pane(of, alarm, both, float(now))
        told += [now] if tell else []
    assert (told, alarm.told, alarm.number, alarm.tellings) == ([10], (A, B), 1, 2)


def test_a_column_that_is_gone_is_part_of_nothing():
    alarm, _ = pane(rule(), None, {A: (Look(0.3),)}, 0.0)
    alarm, told = pane(rule(), alarm, {B: (Look(0.0),)}, 1.0)
    assert (alarm.phase, told) == (RESOLVED, True)


def test_what_is_gone_is_over_and_told_where_it_fired():
    fired, _ = pane(rule(), None, {A: (Look(0.3),)}, 0.0)
    ended, told = end(fired, 5.0)
    assert ended is not None
    assert (ended.phase, ended.resolved_at, told) == (RESOLVED, 5.0, True)
    assert end(Alarm(phase=PENDING), 5.0) == (None, False)
    assert end(None, 5.0) == (None, False)


# Looks back by rows: short ones forget sooner what is over than long ones.

DRIFT = AlertRule(name="drift", clear="watch", clear_panes=2, cooldown_s=0)


def looks(*values_and_starts):
    return tuple(
        Look(value, rows, start)
        for rows, (value, start) in zip((1000, 2000, 4000), values_and_starts, strict=True)
    )


def test_the_look_that_showed_it_tells_when_it_is_over():
    alarm, _ = pane(DRIFT, None, {A: looks((0.0, 9), (2.0, 8), (2.0, 6))}, 10.0)
    assert (alarm.phase, alarm.columns[A].rows) == (FIRING, 2000)
    for now, short, middle in ((11, 0.0, 2.0), (12, 0.0, 1.0), (13, 0.0, 0.0)):
        alarm, told = pane(
            DRIFT, alarm, {A: looks((short, now), (middle, now - 1), (2.0, 6))}, float(now)
        )
        assert (alarm.phase, told) == (FIRING, False)
    alarm, told = pane(DRIFT, alarm, {A: looks((0.0, 13), (0.0, 12), (2.0, 6))}, 14.0)
    assert (alarm.phase, told) == (RESOLVED, True)


def test_a_look_back_into_what_is_over_raises_nothing_anew():
    alarm, _ = pane(DRIFT, None, {A: looks((2.0, 9), (2.0, 8), (2.0, 6))}, 10.0)
    for now in (20.0, 21.0):
        alarm, _ = pane(DRIFT, alarm, {A: looks((0.0, 15), (2.0, 12), (2.0, 6))}, now)
    assert alarm.phase == RESOLVED
    for now in range(22, 60):
        stale = looks((0.0, now - 5), (2.0, 12), (2.0, 6))
        alarm, told = pane(DRIFT, alarm, {A: stale}, float(now))
        assert (alarm.phase, told) == (RESOLVED, False)
    fresh = looks((2.0, 55), (2.0, 21), (2.0, 6))
    alarm, told = pane(DRIFT, alarm, {A: fresh}, 60.0)
    assert (alarm.phase, told, alarm.number) == (FIRING, True, 2)


# ---- laws ---------------------------------------------------------------------------------------

VALUES = st.lists(st.sampled_from([None, 0.0, 0.15, 0.3]), min_size=1, max_size=60)
PANES = st.integers(1, 6).flatmap(lambda m: st.tuples(st.integers(1, m), st.just(m)))


@given(VALUES, PANES, st.integers(1, 4), st.integers(0, 20))
def test_what_is_told_takes_turns_and_keeps_the_cooldown(values, panes, clear, cooldown):
    of = rule(panes=panes[0], of_last=panes[1], clear_panes=clear, cooldown_s=cooldown)
    alarm, told, fired = None, [], []
    for now, value in enumerate(values):
        alarm, tell = pane(of, alarm, {A: (Look(value),)}, float(now))
        if tell:
            told.append(alarm.phase)
            fired += [now] if alarm.phase == FIRING else []
            if alarm.phase == FIRING:
                recent = [one for one in values[: now + 1] if one is not None]
                # Cooling down may have kept it, not calm: the condition was met often enough.
                assert recent.count(0.3) >= panes[0]
    assert told == [FIRING, RESOLVED] * (len(told) // 2) + [FIRING] * (len(told) % 2)
    assert all(later - sooner >= cooldown for sooner, later in pairwise(fired))


@given(VALUES, PANES)
def test_where_no_pane_meets_the_condition_nothing_is_remembered(values, panes):
    of = rule(panes=panes[0], of_last=panes[1])
    calm = [None if value is None else min(value, 0.15) for value in values]
    assert set(phases(of, calm).split()) == {"-"}


@given(VALUES, st.randoms(use_true_random=False))
def test_the_order_of_columns_does_not_matter(values, random):
    columns = [Column("features", "x", f"c{n}") for n in range(3)]
    ways: list[Any] = [None, None]
    for now, value in enumerate(values):
        readings = {c: (Look(value if n == now % 3 else 0.0),) for n, c in enumerate(columns)}
        shuffled = list(readings.items())
        random.shuffle(shuffled)
        ways[0], one = pane(rule(), ways[0], readings, float(now))
        ways[1], two = pane(rule(), ways[1], dict(shuffled), float(now))
        assert (ways[0], one) == (ways[1], two)


# ---- reading ------------------------------------------------------------------------------------


def line(name, rows=1000, **figures):
    return {"name": name, "tensor": "x", "rows": rows, "verdict": "ok", "psi": 0.0} | figures


REPORT = {
    "rows": 900,
    "skipped_rows": 100,
    "reference_rows": 199,
    "verdict": "drift",
    "drifting_share": 0.5,
    "features": [line("a", psi=0.3), line("b", rows=10, psi=0.9)],
    "outputs": [line("score", psi=None)],
}


@pytest.mark.parametrize(
    ("of", "wanted"),
    [
        ({"of": "features"}, {"a": 0.3, "b": None}),
        ({"of": "outputs"}, {"score": None}),
        ({"of": "features", "reference": "rolling:7d"}, {"a": None, "b": None}),
        (
            {"of": "features", "reference": "rolling:7d", "min_rows": 199},
            {"a": 0.3, "b": None},
        ),
        ({"min_rows": 5}, {"a": 0.3, "b": 0.9, "score": None}),
        ({"of": "dataset", "figure": "drifting_share"}, {"dataset": 0.5}),
        ({"of": "dataset", "figure": "skipped_ratio"}, {"dataset": 0.1}),
        ({"of": "dataset", "figure": "rows", "min_rows": 1001}, {"dataset": None}),
    ],
)
def test_what_a_rule_reads_of_a_report(of, wanted):
    readings = read(rule(**of), REPORT)
    assert {str(column): looks[0].value for column, looks in readings.items()} == wanted


def test_a_verdict_is_read_by_how_alarming_it_is():
    of = AlertRule(name="any", of="dataset", window_s=600)
    assert read(of, REPORT) == {Column("dataset"): (Look(2.0),)}


def test_every_number_of_a_report_can_be_watched():
    assert set(COLUMN_FIGURES) == {*NUMBERS, "verdict", "distance", "log10_e", "rows"}


VERDICT = {"figure": "verdict", "threshold": "drift", "clear": None}


@pytest.mark.parametrize(
    ("of", "fault"),
    [
        ({"figure": "psy"}, "figure: expected one of verdict, psi"),
        ({"of": "dataset"}, "figure: expected one of verdict, prediction_verdict"),
        ({"threshold": "drift", "clear": None}, "expected watch or drift of a verdict"),
        ({"figure": "verdict", "threshold": 1.0, "clear": None}, "expected watch or drift"),
        ({"figure": "verdict", "threshold": "drift", "clear": 0.0}, "expected watch or drift"),
        ({"figure": "verdict", "threshold": "drift", "clear": None, "comparison": "<"}, ">="),
        ({"window_s": None}, "window_s: expected one"),
        ({"of": "performance", "figure": "psi"}, "figure: expected one of accuracy"),
        ({"of": "performance", "figure": "brier", "window_s": None}, "window_s: expected one"),
        ({"of": "performance", "figure": "brier", "reference": "rolling:1d"}, "expected fixed of"),
        ({"of": "concept", "figure": "error_rate"}, "window_s: expected none of concept"),
        ({"panes": 3, "of_last": 2}, "at most of_last"),
        ({"reference": "same-hours:9w"}, "pattern"),
        ({"reference": "rolling:30d"}, "at most 30d with the window"),
        ({"reference": "same-hours:4w", "window_s": 4 * 86400}, "at most 3d with same-hours"),
        (
            {**VERDICT, "reference": "rolling:7d", "window_s": None},
            "fixed where there is no window_s",
        ),
        ({"clear": 0.3}, "nothing that meets the condition by itself"),
        ({"comparison": "<", "clear": 0.1}, "nothing that meets the condition by itself"),
        ({"threshold": float("nan"), "clear": None}, "finite"),
        ({"name": "Bad name"}, "pattern"),
    ],
)
def test_a_rule_that_could_not_work_is_refused(of, fault):
    with pytest.raises(ValidationError, match=fault):
        rule(**of)


def test_a_rule_of_a_defaults_name_replaces_it():
    own = AlertRule(name="drift", severity="critical")
    defaults = ["drift", "skipped_rows", "concept_drift", "calibration_drift"]
    assert [one.name for one in Alerts().in_force] == defaults
    assert Alerts(rules=[own]).in_force[0] == own
    assert Alerts(rules=[own], default_rules=False).in_force == (own,)
    with pytest.raises(ValidationError, match="each name once"):
        Alerts(rules=[own, own])


@pytest.mark.parametrize(
    "url",
    ["https://user:secret@host/", "https://host/?token=secret", "ftp://host", "host:80"],
)
def test_no_secret_stands_in_a_sinks_url(url):
    with pytest.raises(ValidationError, match="url"):
        AlertSink(name="ops", url=url)


def test_a_sink_has_one_url_and_one_secret():
    with pytest.raises(ValidationError, match="either url or url_file"):
        AlertSink(name="ops")
    with pytest.raises(ValidationError, match="either secret_file or secret_env"):
        AlertSink(name="ops", url="https://host", secret_env="A", secret_file="a")


@given(VALUES, PANES)
def test_an_alarm_that_was_written_is_read_as_it_was(values, panes):
    of = rule(panes=panes[0], of_last=panes[1])
    alarm = None
    for now, value in enumerate(values):
        alarm, _ = pane(of, alarm, {A: (Look(value),), B: (Look(0.3, 2000, 5.0),)}, float(now))
    if alarm is not None:
        assert records.read(records.written(alarm)) == alarm
