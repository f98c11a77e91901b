"""Trains the model that `penstock demo` serves, and writes it with its rows and expected answers.

Knows scikit-learn and skl2onnx, which the gateway does not need: run it in an environment of its
own, see README.md beside this file. The results are committed under `gateway/demo_data/`; running
it again with the versions named there writes the same files.

The expected answers come from scikit-learn's own float64 arithmetic, not from the ONNX file, so
that the demo compares the served model with an independent source.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.model_selection import train_test_split

SEED = 20240229
OUTPUT = Path(__file__).resolve().parents[2] / "gateway" / "demo_data"


def main() -> None:
    """Trains, exports, and writes `breast_cancer.onnx` and `breast_cancer.csv`."""
    data = load_breast_cancer()
    # The wire carries float32, so the expected answers are those for the float32 values.
    rows = data.data.astype(np.float32)
    train, test = train_test_split(
        np.arange(len(rows)), test_size=0.25, random_state=SEED, stratify=data.target
    )
    model = GradientBoostingClassifier(n_estimators=100, max_depth=3, random_state=SEED)
    model.fit(rows[train], data.target[train])

    onnx = to_onnx(
        model,
        rows[:1],
        name="breast_cancer",  # otherwise a random one, and the file differs at every run
        options={id(model): {"zipmap": False}},
        target_opset={"": 17, "ai.onnx.ml": 3},
    )
    OUTPUT.mkdir(exist_ok=True)
    (OUTPUT / "breast_cancer.onnx").write_bytes(onnx.SerializeToString())
    held_out = set(test.tolist())
    with (OUTPUT / "breast_cancer.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        names = [str(name).replace(" ", "_") for name in data.feature_names]
        writer.writerow([*names, "target", "split", "expected_label", "expected_probability"])
        labels, chances = model.predict(rows), model.predict_proba(rows)[:, 1]
        for n, row in enumerate(rows):
            split = "test" if n in held_out else "train"
            # str() of a float32 is its shortest text, and reading it back gives the same float32.
            values = [str(value) for value in row]
            writer.writerow([*values, data.target[n], split, labels[n], repr(float(chances[n]))])
    accuracy = float(np.mean(model.predict(rows[test]) == data.target[test]))
    print(f"{len(train)} rows to train on, {len(test)} held out: accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main()
