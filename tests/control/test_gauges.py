"""Drift at `/metrics`: which columns, what is said of them, and how often it is evaluated."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from gateway.config import Metrics
from gateway.control.drift_metrics import families, names_of
from gateway.control.gauges import Gauges
from gateway.drift.verdict import VERDICTS
from tests.control.watched import REFERENCE, watched_model

M = {"model": "m", "version": "1"}
AGE = {**M, "role": "feature", "feature": "age"}
BINS = {"m": ["age", "job", "score", "nosuch"]}


@pytest.fixture(scope="module")
def shifted(tmp_path_factory):
    """Five minutes as in the reference, then five in which `age` has moved, and `score` with it."""
    with watched_model(tmp_path_factory.mktemp("home")) as model:
        model.serve(300)
        model.serve(300, shift=0.7)
        yield model


@pytest.fixture(scope="module")
def evaluated(shifted):
    return shifted.drift.evaluate_all(600)


@pytest.fixture
def counting():
    with ThreadPoolExecutor(1) as thread:
        yield thread


class _Once:
    def __init__(self, found):
        self.found = found

    def collect(self):
        return self.found


def text_of(evaluated, **settings):
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(list(families(evaluated, Metrics(**settings), 0.02))))
    return generate_latest(registry)


def samples(evaluated, **settings):
    found = [
        ((sample.name, frozenset(sample.labels.items())), sample.value)
        for family in families(evaluated, Metrics(**settings), 0.02)
        for sample in family.samples
    ]
    assert len(dict(found)) == len(found), "two samples of one name and labels"
    return dict(found)


def labelled(found, name, **labels):
    """Samples of a name by what they are labelled with beside `labels`."""
    return {
        tuple(sorted(key[1] - labels.items())): value
        for key, value in found.items()
        if key[0] == name and labels.items() <= dict(key[1]).items()
    }


def listed(found, role="feature"):
    keys = (dict(key) for name, key in found if name == "penstock_drift_window_rows")
    return [key["feature"] for key in keys if key["role"] == role]


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("penstock_drift_psi", "psi"),
        ("penstock_drift_psi_null_p95", "psi_null_p95"),
        ("penstock_drift_ks", "ks"),
        ("penstock_drift_ks_bound", "ks_bound"),
        ("penstock_drift_js", "js"),
        ("penstock_drift_wasserstein", "wasserstein"),
        ("penstock_drift_log10_e", "log10_e"),
        ("penstock_drift_window_rows", "rows"),
        ("penstock_feature_missing_ratio", "missing_ratio"),
        ("penstock_feature_unseen_ratio", "unseen_ratio"),
        ("penstock_feature_mean", "mean"),
        ("penstock_feature_std", "std"),
    ],
)
def test_figures_are_those_of_the_report(evaluated, name, field):
    report = evaluated[0].report(bins=False)
    wanted = {
        (role, line["name"]): line[field]
        for role, key in (("feature", "features"), ("output", "outputs"))
        for line in report[key]
        if line[field] is not None
    }
    found = labelled(samples(evaluated), name, **M)
    assert {(dict(key)["role"], dict(key)["feature"]): v for key, v in found.items()} == wanted
    assert wanted


def test_a_verdict_is_one_of_the_states(evaluated):
    found = samples(evaluated)
    states = labelled(found, "penstock_drift_verdict", **AGE)
    assert states == {(("verdict", one),): float(one == "drift") for one in VERDICTS}
    counts = labelled(found, "penstock_drift_features", **M, role="feature")
    assert counts[("verdict", "drift"),] == 1
    assert sum(counts.values()) == 4
    worst = labelled(found, "penstock_drift_version_verdict", **M, role="feature")
    assert [key for key, value in worst.items() if value] == [(("verdict", "drift"),)]


def test_the_rows_of_a_version_are_counted_and_its_reference_is_named(evaluated):
    found = samples(evaluated)
    assert labelled(found, "penstock_drift_rows_total", **M) == {(): 6000}
    assert labelled(found, "penstock_drift_skipped_rows_total", **M) == {(): 0}
    assert labelled(found, "penstock_drift_reference_rows", **M) == {(): 2000}
    info = labelled(found, "penstock_drift_reference_info", **M)
    assert info == {(("reference", "d1"), ("self_referenced", "false")): 1}
    assert labelled(found, "penstock_drift_window_seconds") == {(): 600}
    assert labelled(found, "penstock_drift_evaluation_seconds") == {(): 0.02}


def test_all_columns_are_listed_while_they_are_few(evaluated):
    found = samples(evaluated, max_features=4)
    assert listed(found) == ["age", "income", "job", "job.bytes"]
    assert set(labelled(found, "penstock_drift_features_unlisted").values()) == {0}


def test_of_many_columns_those_with_the_most_evidence_are_listed_and_the_rest_is_counted(shifted):
    (found,) = shifted.drift.evaluate_all(600)
    # The same columns with the shifted one at the end.
    judged = found.figures.judgement
    turned = replace(judged, log10_e=judged.log10_e[[2, 1, 0, 3, 4, 5]])
    late = replace(found, figures=replace(found.figures, judgement=turned))
    assert listed(samples([late], max_features=1)) == ["job"]
    few = samples([found], max_features=1)
    assert listed(few) == ["age"]
    assert labelled(few, "penstock_drift_features_unlisted", **M, role="feature") == {(): 3}
    none = samples([found], max_features=0)
    assert listed(none) + listed(none, "output") == []
    assert labelled(none, "penstock_drift_features", **M, role="feature", verdict="drift") == {
        (): 1
    }


def test_noise_does_not_change_which_columns_are_listed(tmp_path):
    with watched_model(tmp_path) as model:
        seen = set()
        for _ in range(30):
            model.serve(10)
            some = model.drift.evaluate_all(60)
            seen.add(tuple(listed(samples(some, max_features=2))))
    assert seen == {("age", "income")}


def test_bins_are_counted_of_the_columns_that_were_named_and_of_no_others(evaluated):
    found = samples(evaluated, bins=BINS)
    assert labelled(samples(evaluated), "penstock_feature_bin_total") == {}
    for name, role, many in (
        ("age", "feature", 10),
        ("job", "feature", 3),
        ("score", "output", 10),
    ):
        key = {**M, "role": role, "feature": name}
        counts = labelled(found, "penstock_feature_bin_total", **key)
        shares = labelled(found, "penstock_feature_reference_share", **key)
        assert (len(counts), len(shares)) == (many, many)
        assert sum(counts.values()) == 6000
        assert sum(shares.values()) == pytest.approx(1)
        bins = {dict(key)["bin"] for key in counts}
        assert bins == {dict(key)["bin"] for key in shares} == set(map(str, range(many)))
    assert len(labelled(found, "penstock_feature_bin_total")) == 23


def test_a_joined_bin_says_which_values_it_holds(evaluated):
    found = samples(evaluated, bins=BINS)
    key = {**M, "role": "feature"}
    jobs = labelled(found, "penstock_feature_reference_share", **key, feature="job")
    assert {dict(key)["holds"] for key in jobs} == {"clerk", "smith", "baker"}
    ages = labelled(found, "penstock_feature_reference_share", **key, feature="age")
    texts = {int(dict(key)["bin"]): dict(key)["holds"] for key in ages}
    assert texts[0].startswith("x <= -1.")
    assert texts[9].endswith(" < x")
    # Each begins where the one before ends.
    for group in range(1, 9):
        assert texts[group].split(" < ")[0] == texts[group - 1].split(" <= ")[1]


def test_two_columns_of_one_name_are_told_apart():
    frames = [replace(f, name=f"f{at}", role="feature") for at, f in enumerate(REFERENCE.frames)]
    same = [replace(f, columns=(replace(f.columns[0], name="x"),)) for f in frames[:2]]
    assert names_of(replace(REFERENCE, frames=(*same, frames[2]))) == ["f0.x", "f1.x", "job.bytes"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_the_names_pass_promtool(evaluated):
    text = text_of(evaluated, bins=BINS)
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


# ---- how often -----------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_it_is_evaluated_once_a_second_however_many_ask(shifted, counting):
    now = 5.0
    gauges = Gauges(shifted.drift, lambda: 600.0, counting, lambda: now)
    first, *others = await asyncio.gather(*(gauges.fresh() for _ in range(20)))
    assert all(other is first for other in others)
    now += 0.9
    assert await gauges.fresh() is first
    now += 0.2
    second = await gauges.fresh()
    assert second is not first
    assert (len(second.evaluated), second.took_s > 0) == (1, True)


@pytest.mark.anyio
async def test_who_leaves_does_not_take_the_evaluation_from_others(shifted, counting):
    gauges = Gauges(shifted.drift, lambda: 600.0, counting, lambda: 5.0)
    leaving, staying = (asyncio.create_task(gauges.fresh()) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert len((await staying).evaluated) == 1
    assert leaving.cancelled()


@pytest.mark.anyio
async def test_after_one_that_failed_comes_another(shifted, counting):
    now, window_s = 5.0, 1.0
    gauges = Gauges(shifted.drift, lambda: window_s, counting, lambda: now)
    with pytest.raises(ValueError, match="window"):
        await gauges.fresh()
    now, window_s = 7.0, 600.0
    assert len((await gauges.fresh()).evaluated) == 1
