"""The rows bundled for `penstock demo`, and what a right answer to each is.

Knows the data and the model's wire format. Knows nothing of who asks when.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.cli.volley import Answer

DATA = Path(__file__).resolve().parents[1] / "demo_data"
MODEL = "breast_cancer"
ROWS = DATA / f"{MODEL}.csv"
# Columns of the file that are no features.
TARGET, OTHERS = "target", ("split", "expected_label", "expected_probability")
# scikit-learn computed the expected answers in float64, the model computes in float32.
TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Row:
    """One patient of the bundled data.

    Attributes:
        features: names of the 30.
        values: theirs, as their shortest float32 text.
        target: what was diagnosed: 0 malignant, 1 benign.
        held_out: the model was not trained on it.
        label, probability: what the trained model answered outside of this gateway; the probability
            is that of label 1.
    """

    features: tuple[str, ...]
    values: tuple[str, ...]
    target: int
    held_out: bool
    label: int
    probability: float

    @property
    def request(self) -> bytes:
        """The same as an HTTP request, head and all."""
        body = self.body
        head = (
            f"POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    @property
    def body(self) -> bytes:
        """The inference request for this row."""
        shape, data = f"[1,{len(self.values)}]", ",".join(self.values)
        tensor = f'{{"name":"X","shape":{shape},"datatype":"FP32","data":[{data}]}}'
        return f'{{"inputs":[{tensor}]}}'.encode()

    def fault(self, answer: Answer) -> str:
        """What is wrong with an answer to this row; empty if nothing is."""
        got = read_answer(answer)
        if got is None:
            return f"status {answer.status}: {answer.body[:200].decode(errors='replace')}"
        label, chance = got
        if label != self.label or abs(chance - self.probability) > TOLERANCE:
            return f"expected {self.label} ({self.probability:.6f}), got {label} ({chance:.6f})"
        return ""


def read_answer(answer: Answer) -> tuple[int, float] | None:
    """Label and probability in an answer; None where it holds none."""
    try:
        outputs = {output["name"]: output["data"] for output in json.loads(answer.body)["outputs"]}
        return int(outputs["label"][0]), float(outputs["probabilities"][1])
    except (ValueError, KeyError, IndexError, TypeError):
        return None


def read_rows() -> list[Row]:
    """The bundled rows with the answers that are expected for them."""
    with ROWS.open(newline="") as file:
        return [_row(line) for line in csv.DictReader(file)]


def _row(line: Mapping[str, str]) -> Row:
    *features, _, _, _, _ = line
    *values, target, split, label, probability = line.values()
    return Row(
        tuple(features), tuple(values), int(target), split == "test", int(label), float(probability)
    )
