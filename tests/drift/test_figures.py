"""A report's figures: those that NumPy and SciPy make of the very rows that were counted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special, stats
from scipy.spatial import distance

from gateway.cli.drift import DRIFTED, print_report, status_of
from gateway.drift.figures import figures
from gateway.drift.kinds import Effects
from gateway.drift.look_back import Alarm
from gateway.drift.panes import no_moments
from gateway.drift.reference import Reference
from gateway.drift.report import About, report
from gateway.profiles.live import places
from gateway.profiles.values import COARSE_BINS, MAX_DETAILED
from kernels.divergences import FLOOR
from tests.control.watched import PEOPLE, Kind, watched_model
from tests.monitor.watching import SIGNATURE, rows
from tests.profiles.test_builder import profile_of

SECONDS, EACH = 60, 20
LIVE = SECONDS * EACH
BEFORE, _ = rows(np.random.default_rng(1), 2000)
"""What the profile of `PEOPLE` was made of."""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """The report of a minute in which `age` is shifted and the rest is odd, and its rows."""
    drawn = []

    def draw(rng, count, shift):
        (x, jobs), outputs = rows(rng, count, shift)
        x[0, 1], x[1, 1], x[2:4, 1] = np.nan, np.inf, 1e6
        jobs[:5] = b"pilot"
        drawn.append((x, jobs, *outputs))
        return [x, jobs], outputs

    kind = Kind(SIGNATURE, PEOPLE.profile, PEOPLE.digest, draw)
    with watched_model(tmp_path_factory.mktemp("home"), kind) as model:
        model.serve(SECONDS, shift=0.4, each=EACH)
        found = model.drift.report("m", 1, 600, None, bins=True)
    lines = {line["name"]: line for line in (*found["features"], *found["outputs"])}
    return found, lines, [np.concatenate(parts) for parts in zip(*drawn, strict=True)]


def shares(line):
    counts = np.array([[one["reference"], one["count"]] for one in line["bins"]]).T
    return counts, *(side / side.sum() for side in counts)


def test_a_window_has_every_row_and_every_row_its_bin(seen):
    found, lines, (x, jobs, _, _) = seen
    assert (found["rows"], found["reference_rows"], found["coarse_columns"]) == (LIVE, 2000, 0)
    assert {(one["rows"], one["reference_rows"]) for one in lines.values()} == {(LIVE, 2000)}
    edges = [one["le"] for one in lines["age"]["bins"]][:-1]
    for place, values in ((0, BEFORE[0][:, 0]), (1, x[:, 0])):
        at = np.searchsorted(np.array(edges, np.float32), values, "left")
        wanted = np.bincount(at, minlength=len(edges) + 1)
        assert shares(lines["age"])[0][place].tolist() == wanted.tolist()
    job = {one["category"]: one["count"] for one in lines["job"]["bins"]}
    assert job == {name: int((jobs == name.encode()).sum()) for name in ("clerk", "smith", "baker")}


@pytest.mark.parametrize("name", ["age", "income", "job", "label", "score"])
def test_distances_of_shares_are_scipys_on_the_same_bins(seen, name):
    line = seen[1][name]
    counts, p, q = shares(line)
    floored_p, floored_q = np.maximum(p, FLOOR), np.maximum(q, FLOOR)
    table = stats.chi2_contingency(counts[:, counts.sum(axis=0) > 0], correction=False)
    wanted = {
        "psi": ((floored_p - floored_q) * np.log(floored_p / floored_q)).sum(),
        "kl": special.kl_div(floored_p, floored_q).sum(),
        "js": distance.jensenshannon(p, q),
        "hellinger": distance.euclidean(np.sqrt(p), np.sqrt(q)) / math.sqrt(2),
        "total_variation": distance.cityblock(p, q) / 2,
        "l_infinity": distance.chebyshev(p, q),
        "chi2": table.statistic,
    }
    assert {name: line[name] for name in wanted} == pytest.approx(wanted, rel=1e-12, abs=1e-12)
    assert line["chi2_p_value"] == pytest.approx(table.pvalue, rel=1e-8, abs=1e-11)
    rows_of = counts.sum(axis=1)
    null = stats.chi2.ppf(0.95, len(p) - 1) * (1 / rows_of[0] + 1 / rows_of[1])
    assert line["psi_null_p95"] == pytest.approx(null, rel=1e-3)


def test_distances_of_the_values_themselves_lie_within_what_is_stated(seen):
    _, lines, (x, _, _, score) = seen
    before = {"age": BEFORE[0][:, 0], "score": rows(np.random.default_rng(1), 2000)[1][1][:, 0]}
    for name, values in (("age", x[:, 0]), ("score", score[:, 0])):
        line, once = lines[name], before[name].astype(float)
        true = stats.ks_2samp(once, values.astype(float), method="asymp").statistic
        assert line["ks"] - 1e-12 <= true <= line["ks_bound"] + 1e-12
        assert line["ks_bound"] - line["ks"] < 0.02
        far = stats.wasserstein_distance(once, values) / once.std()
        assert abs(far - line["wasserstein"]) <= line["wasserstein_error"] < 0.2
    assert lines["age"]["wasserstein"] == pytest.approx(0.4, abs=0.1)
    for name in ("job", "label"):  # there is no axis
        assert {lines[name][of] for of in ("ks", "ks_bound", "wasserstein")} == {None}


def test_moments_are_those_of_the_finite_values(seen):
    _, lines, (x, _, label, score) = seen
    finite = x[np.isfinite(x[:, 1]), 1]
    for name, values in (("age", x[:, 0]), ("income", finite), ("score", score), ("label", label)):
        wide = values.astype(np.float64)
        wanted = {"mean": wide.mean(), "std": wide.std(), "min": wide.min(), "max": wide.max()}
        assert {of: lines[name][of] for of in wanted} == pytest.approx(wanted, rel=1e-9), name
    assert {lines["job"][of] for of in ("mean", "std", "min", "max")} == {None}
    assert lines["job"]["quantiles"] is None


def test_quantiles_lie_in_the_bins_of_the_true_ones(seen):
    _, lines, (x, *_) = seen
    edges = [-math.inf, *(one["le"] for one in lines["age"]["bins"][:-1]), math.inf]
    for name, got in lines["age"]["quantiles"].items():
        true = np.quantile(x[:, 0], int(name[1:]) / 100, method="inverted_cdf")
        at = np.searchsorted(edges, true, "left")
        assert edges[at - 1] <= got <= edges[at], name
    assert lines["age"]["quantiles"].keys() == {"p5", "p25", "p50", "p75", "p95"}


def test_what_is_odd_is_a_share_of_all_values(seen):
    _, lines, (x, *_) = seen
    income = lines["income"]
    assert (income["missing_ratio"], income["infinite_ratio"]) == (1 / EACH, 1 / EACH)
    assert lines["job"]["unseen_ratio"] == 5 / EACH
    for name, place in (("age", 0), ("income", 1)):
        values, once = x[:, place], BEFORE[0][:, place]
        below, above = (values < once.min()).mean(), ((values > once.max()) & np.isfinite(values))
        assert lines[name]["below_ratio"] == pytest.approx(below)
        assert lines[name]["above_ratio"] == pytest.approx(above.mean())
    assert income["above_ratio"] >= 2 / EACH
    assert {line["wrong_type_ratio"] for line in lines.values()} == {0.0}


def test_what_it_takes_to_be_drift_stands_beside_the_distance(seen):
    lines = seen[1]
    assert {line["effect_floor"] for line in lines.values()} == {0.05}
    assert (lines["age"]["verdict"], lines["age"]["distance"]) == ("drift", lines["age"]["ks"])
    assert lines["job"]["distance"] == 5 / EACH  # values that are none of its categories


@pytest.mark.parametrize(
    ("shifts", "verdict", "drifting", "predictions"),
    [((2.0, 0.0), "drift", 1, "ok"), ((0.0, 2.0), "ok", 0, "drift")],
    ids=["features", "outputs"],
)
def test_features_and_predictions_have_verdicts_of_their_own(
    tmp_path, capsys, shifts, verdict, drifting, predictions
):
    def draw(rng, count, _):
        inputs, _ = rows(rng, count, shifts[0])
        _, outputs = rows(rng, count, shifts[1])
        return inputs, outputs

    kind = Kind(SIGNATURE, PEOPLE.profile, PEOPLE.digest, draw)
    with watched_model(tmp_path, kind) as model:
        model.serve(SECONDS, each=EACH)
        found = model.drift.report("m", 1, 600, None, bins=True)
    assert (found["verdict"], found["prediction_verdict"]) == (verdict, predictions)
    assert (found["drifting_features"], found["drifting_share"]) == (drifting, drifting / 4)
    assert found["alarm"] == "drift"  # of either
    print_report({**found, "alarm": "ok"})
    assert f": {verdict}, predictions {predictions}, alarm ok" in capsys.readouterr().out
    assert status_of({**found, "alarm": "ok"}) == DRIFTED
    quiet = {"verdict": "ok", "prediction_verdict": "watch", "alarm": "too_few_rows"}
    assert status_of(found | quiet) == 0


def test_columns_that_are_kept_at_coarser_detail_are_told(capsys):
    few = 3
    table = np.random.default_rng(2).normal(size=(40, MAX_DETAILED + few)).astype(np.float32)
    profile = profile_of(table, names=[f"f{at}" for at in range(MAX_DETAILED + few)])
    found = places(profile)
    reference = Reference.of(profile, found)
    unknown = np.full(found.columns, np.nan)
    nothing = figures(
        reference,
        np.zeros(found.words, np.int64),
        no_moments(found.columns),
        Effects(unknown, unknown),
    )
    about = About("m", 1, None, 600, 0, 600, 0, 0, "d" * 64)
    told = report(about, reference, nothing, Alarm.none(found.columns), bins=True)
    assert told["coarse_columns"] == few
    assert {len(line["bins"]) for line in told["features"][-few:]} == {COARSE_BINS}
    print_report(told)
    assert "3 columns are counted at coarser detail" in capsys.readouterr().out
