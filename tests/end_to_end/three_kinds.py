"""A model of each kind of outcome, with real rows and real labels, and what scikit-learn says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from onnx import helper, numpy_helper
from sklearn.datasets import load_diabetes, load_wine
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import confusion_matrix

from loadtest import bodies, by_scikit_learn
from tests.end_to_end.server import DEMO_MODEL
from tests.models.builders import make, value

EXACT: Final = 1e-9
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Kind:
    """A model, and what its figures are to be.

    Attributes:
        name: of the model.
        path: of its file.
        tensor, output: names of its input, and of what is its score.
        rows, labels: (rows, features), (rows,).
        wrong: another outcome than a label.
        right: holds a report against outputs and labels of the same rows.
    """

    name: str
    path: Path
    tensor: str
    output: str
    rows: Array
    labels: Array
    wrong: Callable[[float], float]
    right: Callable[[Mapping[str, Any], Array, Array], None]


def three_kinds(folder: Path) -> list[Kind]:
    """Writes the models below a folder."""
    table = DEMO_MODEL.with_suffix(".csv").read_text().splitlines()
    place = table[0].split(",").index("target")
    targets = np.array([int(line.split(",")[place]) for line in table[1:]])
    rows = bodies._real_rows().astype(np.float32)
    binary = ("breast_cancer", DEMO_MODEL, "X", "probabilities", rows, targets)
    return [
        Kind(*binary, lambda one: 1 - one, _binary_is_right),
        _wine(folder, load_wine()),
        _progress(folder, load_diabetes()),
    ]


def _wine(folder: Path, data: Any) -> Kind:
    """Which of three cultivars, by a logistic regression that learnt from too few rows."""
    rows = ((data.data - data.data.mean(axis=0)) / data.data.std(axis=0)).astype(np.float32)
    some = np.random.default_rng(3).choice(len(rows), 12, replace=False)
    fitted = LogisticRegression().fit(rows[some], data.target[some])
    path = _affine(folder / "wine.onnx", fitted.coef_.T, fitted.intercept_, softmax=True)
    return Kind(
        "wine", path, "x", "y", rows, data.target, lambda one: (one + 1) % 3, _classes_are_right
    )


def _progress(folder: Path, data: Any) -> Kind:
    """How far a disease has gone after a year, by a linear regression."""
    rows = data.data.astype(np.float32)
    fitted = LinearRegression().fit(rows, data.target)
    weights, bias = fitted.coef_[:, None], np.array([fitted.intercept_])
    path = _affine(folder / "progress.onnx", weights, bias, softmax=False)
    return Kind(
        "progress", path, "x", "y", rows, data.target, lambda one: one + 100, _values_are_right
    )


def _affine(path: Path, weights: Array, bias: Array, softmax: bool) -> Path:
    """y = x @ w + b, or the softmax of that."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"]),
        helper.make_node("Add", ["product", "b"], ["sum" if softmax else "y"]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["sum"], ["y"], axis=1))
    features, width = weights.shape
    model = make(
        nodes,
        [value("x", ("rows", features))],
        [value("y", ("rows", width))],
        [
            numpy_helper.from_array(weights.astype(np.float32), "w"),
            numpy_helper.from_array(bias.astype(np.float32), "b"),
        ],
    )
    path.write_bytes(model.SerializeToString())
    return path


# ---- every figure against scikit-learn, on the very rows that were answered and labelled ---------


def _binary_is_right(report: Mapping[str, Any], outputs: Array, labels: Array) -> None:
    told, scores = report["figures"], outputs[:, 1]
    _same(told, by_scikit_learn.binary(scores, labels, 0.5))
    _same(told, {"mean_score": scores.mean(), "mean_outcome": labels.mean()})
    auc = by_scikit_learn.roc_auc(scores, labels)
    assert abs(told["roc_auc"] - auc) <= told["roc_auc_error"] + EXACT
    confusion = report["confusion"]
    tn, fp, fn, tp = confusion_matrix(labels, scores > 0.5).ravel().tolist()
    assert confusion == {"tp": tp, "fp": fp, "tn": tn, "fn": fn}
    assert sum(line["n"] for line in report["reliability"]) == len(labels)


def _classes_are_right(report: Mapping[str, Any], outputs: Array, labels: Array) -> None:
    told, tops = report["figures"], outputs.argmax(axis=1)
    assert 0.5 < (tops == labels).mean() < 1.0  # otherwise much would be equal by itself
    _same(told, by_scikit_learn.multiclass(outputs.max(axis=1), labels, tops))
    names = ("precision", "recall", "f1", "actual")
    lines = [[line[name] for name in names] for line in report["classes"]]
    assert np.array(lines) == pytest.approx(by_scikit_learn.classes(labels, tops), rel=EXACT)


def _values_are_right(report: Mapping[str, Any], outputs: Array, labels: Array) -> None:
    told, scores = report["figures"], outputs[:, 0]
    _same(told, by_scikit_learn.values(scores, labels))
    quantiles = by_scikit_learn.residual_quantiles(scores, labels)
    assert {name: told[name] for name in quantiles} == pytest.approx(quantiles, rel=1 / 64)
    assert report["estimate"] is None


def _same(told: Mapping[str, Any], wanted: Mapping[str, float]) -> None:
    assert {name: told[name] for name in wanted} == pytest.approx(dict(wanted), rel=EXACT)
