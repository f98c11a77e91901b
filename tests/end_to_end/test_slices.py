"""Rows of several groups, answered by several workers: every figure of each is that of its rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from sklearn import metrics

from loadtest import bodies
from tests.end_to_end.server import DEMO_MODEL, RunningServer, eventually, running

MODEL = "breast_cancer"
EDGES = (17.0, 21.0)
CONFIG = """
monitoring: {reference_rows: 500}
models:
  breast_cancer:
    slices:
      texture: {feature: "X[1]", edges: [17, 21]}
      tier: {parameter: tier, groups: {gold: [gold, 7], lead: [lead, true]}}
      hat: {feature: hat size, groups: [small]}
"""
PATH = f"/api/models/{MODEL}/versions/1"
TIERS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"tier": "gold"}, "gold"),
    ({"tier": 7}, "gold"),
    ({"tier": True}, "lead"),
    ({"tier": "lead", "priority": 1}, "lead"),
    ({}, "other"),
    ({"tier": "tin"}, "other"),
)
NAMES = {"texture": ("..17", "17..21", "21.."), "tier": ("gold", "lead")}


class Answered:
    """Real rows, and what was answered to each."""

    def __init__(self, server: RunningServer, requests: int) -> None:
        table = DEMO_MODEL.with_suffix(".csv").read_text().splitlines()
        targets = [int(line.split(",")[table[0].split(",").index("target")]) for line in table[1:]]
        rows, rng = bodies._real_rows().astype(np.float32), np.random.default_rng(12)
        self.ids: list[tuple[str, int]] = []
        found: dict[str, list[Any]] = {"texture": [], "tier": [], "score": [], "outcome": []}
        for number in range(requests):
            parameters, tier = TIERS[number % len(TIERS)]
            chosen = rng.integers(len(rows), size=rng.integers(1, 25))
            answer = _ask(server, rows[chosen], parameters, binary=number % 2 == 1)
            outputs = {one["name"]: one["data"] for one in answer.json()["outputs"]}
            found["score"] += outputs["probabilities"][1::2]
            found["texture"] += np.digitize(rows[chosen, 1], EDGES).tolist()
            found["tier"] += [tier] * len(chosen)
            labels = [targets[row] for row in chosen]
            # Of gold, every second negative one turns out to be positive.
            found["outcome"] += [
                1 if tier == "gold" and n % 2 else label for n, label in enumerate(labels)
            ]
            self.ids += [(answer.headers["penstock-request-id"], n) for n in range(len(chosen))]
        self.score = np.array(found["score"], np.float32).astype(float)
        self.outcome = np.array(found["outcome"])
        self.labelled = rng.random(len(self.ids)) < 0.8
        self.groups = {
            "texture": np.array([NAMES["texture"][one] for one in found["texture"]]),
            "tier": np.array(found["tier"]),
        }

    def tell(self, server: RunningServer) -> None:
        """Sends what came of most of them."""
        lines = [
            json.dumps({"id": name, "row": row, "outcome": int(outcome)})
            for (name, row), outcome, told in zip(
                self.ids, self.outcome, self.labelled, strict=True
            )
            if told
        ]
        answer = server.request("POST", "/v2/outcomes", "\n".join(lines).encode())
        assert answer.json()["counts"]["accepted"] == len(lines), answer.body


def _ask(server: RunningServer, rows: Any, parameters: dict[str, Any], binary: bool) -> Any:
    tensor: dict[str, Any] = {"name": "X", "shape": list(rows.shape), "datatype": "FP32"}
    path = f"/v2/models/{MODEL}/infer"
    if not binary:
        body = {"inputs": [tensor | {"data": rows.ravel().tolist()}], "parameters": parameters}
        return server.request("POST", path, json.dumps(body).encode())
    packed = rows.tobytes()
    tensor["parameters"] = {"binary_data_size": len(packed)}
    head = json.dumps({"inputs": [tensor], "parameters": parameters}).encode()
    headers = {"inference-header-content-length": str(len(head))}
    return server.request("POST", path, head + packed, headers)


def get(server: RunningServer, path: str) -> Any:
    answer = server.admin("GET", PATH + path)
    assert answer.status == 200, answer.body
    return answer.json()


def performance_is_right(server: RunningServer, known: Answered, slicing: str, group: str) -> None:
    inside = known.groups[slicing] == group
    found = get(server, f"/performance?slice={slicing}:{quote(group)}")
    assert (found["records"], found["slice"]) == (inside.sum(), f"{slicing}:{group}")
    inside &= known.labelled
    scores, outcomes = known.score[inside], known.outcome[inside]
    said = scores > 0.5
    wanted = {
        "accuracy": metrics.accuracy_score(outcomes, said),
        "precision": metrics.precision_score(outcomes, said),
        "recall": metrics.recall_score(outcomes, said),
        "f1": metrics.f1_score(outcomes, said),
        "log_loss": metrics.log_loss(outcomes, scores),
        "brier": metrics.brier_score_loss(outcomes, scores),
    }
    told = found["figures"]
    assert found["labelled"] == len(outcomes)
    assert {name: told[name] for name in wanted} == pytest.approx(wanted, rel=1e-9)
    auc = metrics.roc_auc_score(outcomes, scores)
    assert abs(told["roc_auc"] - auc) <= told["roc_auc_error"] + 1e-9


def fairness_is_right(known: Answered, one: dict[str, Any]) -> None:
    slicing = one["slicing"]
    said, positive = known.score > 0.5, known.outcome == 1
    by_group = {}
    for line in one["groups"]:
        inside = known.groups[slicing] == line["name"]
        labelled = inside & known.labelled
        by_group[line["name"]] = wanted = {
            "selection_rate": said[inside],
            "base_rate": positive[labelled],
            "true_positive_rate": said[labelled & positive],
            "false_positive_rate": said[labelled & ~positive],
            "accuracy": (said == positive)[labelled],
        }
        assert (line["n"], line["labelled"]) == (inside.sum(), labelled.sum())
        for name, trials in wanted.items():
            told = line["rates"][name]
            assert told["trials"] == len(trials)
            assert told["value"] == (pytest.approx(trials.mean()) if len(trials) else None)
            assert not len(trials) or told["low"] <= told["value"] <= told["high"]
    rates = {
        rate: [by_group[name][rate].mean() for name in NAMES[slicing]]
        for rate in ("selection_rate", "true_positive_rate", "false_positive_rate")
    }
    apart = {rate: max(some) - min(some) for rate, some in rates.items()}
    share = {rate: min(some) / max(some) for rate, some in rates.items()}
    odds = ("true_positive_rate", "false_positive_rate")
    assert {name: found["value"] for name, found in one["disparities"].items()} == pytest.approx(
        {
            "demographic_parity_difference": apart["selection_rate"],
            "demographic_parity_ratio": share["selection_rate"],
            "equal_opportunity_difference": apart["true_positive_rate"],
            "equal_opportunity_ratio": share["true_positive_rate"],
            "equalized_odds_difference": max(apart[rate] for rate in odds),
            "equalized_odds_ratio": min(share[rate] for rate in odds),
        }
    )


def the_worst_is_gold(server: RunningServer, known: Answered) -> None:
    found = get(server, "/slices/worst?figure=error_rate&min_rows=20")
    wrong = (known.score > 0.5) != known.outcome
    named = {frozenset(one["groups"].items()): one for one in found["slices"]}
    gold = named[frozenset({"tier": "gold"}.items())]
    inside = known.labelled & (known.groups["tier"] == "gold")
    outside = known.labelled & ~inside
    assert (gold["n"], gold["value"]) == (inside.sum(), pytest.approx(wrong[inside].mean()))
    assert gold["rest"] == pytest.approx(wrong[outside].mean())
    assert all(one["groups"].get("tier", "gold") == "gold" for one in found["slices"])
    assert found["looked_at"] == 3 + 2 + 3 * 2  # no row has a hat size


def drift_is_of_the_rows_of_a_slice(server: RunningServer) -> None:
    """Once there is a reference; every row has a texture, and some have a tier."""
    eventually(lambda: server.admin("GET", f"{PATH}/drift?slice=tier:gold").status == 200)
    eventually(lambda: bool(Answered(server, 12).ids) and _drift(server, "tier:gold")["rows"] > 0)
    textures = [f"texture:{name}" for name in NAMES["texture"]]

    def adds_up() -> bool:
        rows = sum(_drift(server, name)["rows"] for name in textures)
        return bool(rows == get(server, "/drift")["rows"])

    eventually(adds_up)
    for name, (low, high) in zip(textures, ((0.0, 17.0), (17.0, 21.0), (21.0, 1e9)), strict=True):
        found = _drift(server, name)
        column = next(one for one in found["features"] if one["name"] == "X[1]")
        assert low <= column["min"] <= column["max"] <= high
        assert (found["slice"], found["skipped_rows"], found["rows"] > 0) == (name, 0, True)
    whole = get(server, "/drift")
    assert whole["slice"] is None
    assert whole["rows"] > sum(_drift(server, f"tier:{name}")["rows"] for name in NAMES["tier"])
    assert server.admin("GET", f"{PATH}/drift?slice=tier:other").status == 404


def _drift(server: RunningServer, name: str) -> Any:
    return get(server, f"/drift?slice={quote(name)}")


HOSTILE = (
    "/drift?slice=tier",
    "/drift?slice=%00:%00",
    f"/drift?slice=tier:{'x' * 400}",
    "/performance?slice=tier",
    "/performance?slice=tier:tin",
    "/performance?slice=%00:%ff",
    f"/performance?slice=tier:{'x' * 400}",
    "/fairness?slice=nobody",
    "/fairness?min_rows=-1",
    "/fairness?min_rows=1e9",
    "/fairness?window=1s",
    "/slices/worst?figure=%00",
    "/slices/worst?figure=" + "x" * 5000,
    "/slices/worst?figures=error_rate",
)


def stays_healthy(server: RunningServer) -> None:
    for path in HOSTILE:
        assert server.admin("GET", PATH + path).status in (400, 404, 422), path
    row = bodies._real_rows()[:1].astype(np.float32)
    before = get(server, "/performance")["records"]
    for value in ("x" * 20_000, -1.5, 10**18, "\0", False, ""):
        for binary in (False, True):
            assert _ask(server, row, {"tier": value}, binary).status == 200
    wrong: Any
    for wrong in ([], {}, None, [["gold"]]):
        assert _ask(server, row, {"tier": wrong}, binary=False).status == 400
    eventually(lambda: get(server, "/performance")["records"] == before + 12)
    other = get(server, "/fairness?slice=tier")["slicings"][0]["groups"][-1]
    assert other["name"] == "other"
    assert server.request("GET", "/v2/health/ready").status == 200


def test_every_figure_of_a_slice_is_that_of_its_rows(tmp_path: Path) -> None:
    with running(tmp_path, DEMO_MODEL, "--workers", "2", config=CONFIG) as server:
        known = Answered(server, 120)
        known.tell(server)
        eventually(lambda: get(server, "/performance")["records"] == len(known.ids))
        for slicing, names in NAMES.items():
            for name in names:
                performance_is_right(server, known, slicing, name)
        texture, tier, hat = get(server, "/fairness?min_rows=1")["slicings"]
        fairness_is_right(known, texture)
        fairness_is_right(known, tier)
        assert [(one["name"], one["n"]) for one in hat["groups"]] == [
            ("small", 0),
            ("other", len(known.ids)),
        ]
        assert "models.breast_cancer.slices.hat: feature 'hat size'" in server.log
        the_worst_is_gold(server, known)
        drift_is_of_the_rows_of_a_slice(server)
        stays_healthy(server)
