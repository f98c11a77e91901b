"""Simulated models whose score decides whose outcome is ever seen, and what figures say of them.

Knows records, sums and figures, as the product has them. Runs no server.

    python -m loadtest.selective_labels --runs 500

Applicants are approved where their score of default is low, and only who was approved can default.
The model is wrong about those that it turns down, which nobody sees but where chance held them out.
"""

from __future__ import annotations

import argparse
import json
from typing import Any, Final, NamedTuple

import numpy as np

from gateway.outcomes.figures import performance
from kernels import marks
from kernels.ledger import MARKS, OUTCOME, RECORD_WORDS, SCORE, SERIES_AND_ROW, TOP_AND_CORRECTIONS
from kernels.performance import BINARY, Reals, add, no_sums

REQUESTS: Final = 20_000
SHARE: Final = 0.05
APPROVED_BELOW: Final = 0.3
FIGURES: Final = ("accuracy", "precision", "recall")
_SERIES: Final = 1
_TRUTH_ROWS: Final = 4_000_000


class Covered(NamedTuple):
    """How often intervals held the truth.

    Attributes:
        held_out: by figure, share of runs, of those that were held out.
        all_labelled: the same of all whose outcome was seen.
        truth: of each figure.
    """

    held_out: dict[str, float]
    all_labelled: dict[str, float]
    truth: dict[str, float]


def simulate(runs: int, seed: int, requests: int = REQUESTS, share: float = SHARE) -> Covered:
    """Runs the model so often, each time on other applicants."""
    rng = np.random.default_rng(seed)
    truth = _truth(rng)
    hits = {kind: dict.fromkeys(FIGURES, 0) for kind in ("held_out", "all_labelled")}
    for _ in range(runs):
        scores, outcomes = _applicants(rng, requests)
        held = rng.random(requests) < share
        outcomes[~held & (scores >= APPROVED_BELOW)] = np.nan
        words = _records(scores, outcomes, held, share)
        for kind, mask in (("held_out", marks.HELD_OUT), ("all_labelled", 0)):
            sums = no_sums()
            add(sums, words, _SERIES, 0, 1, mask, mask)
            intervals = performance(sums).intervals
            for name in FIGURES:
                ends = intervals[name]
                hits[kind][name] += ends is not None and ends[0] <= truth[name] <= ends[1]
    shares = {kind: {name: n / runs for name, n in one.items()} for kind, one in hits.items()}
    return Covered(shares["held_out"], shares["all_labelled"], truth)


def _applicants(rng: np.random.Generator, count: int) -> tuple[Reals, Reals]:
    """Scores of default, and who does: above the line far fewer than the model thinks."""
    scores = rng.beta(0.8, 1.2, count)
    chances = np.where(scores < APPROVED_BELOW, scores, 0.3 + 0.4 * (scores - APPROVED_BELOW))
    return scores, (rng.random(count) < chances).astype(float)


def _truth(rng: np.random.Generator) -> dict[str, float]:
    scores, outcomes = _applicants(rng, _TRUTH_ROWS)
    said = scores > 0.5
    both = float((said * outcomes).sum())
    return {
        "accuracy": float((said == outcomes).mean()),
        "precision": both / float(said.sum()),
        "recall": both / float(outcomes.sum()),
    }


def _records(scores: Reals, outcomes: Reals, held: Any, share: float) -> Any:
    words = np.zeros((len(scores), RECORD_WORDS), np.int64)
    reals = words.view(np.float64)
    words[:, SERIES_AND_ROW], words[:, TOP_AND_CORRECTIONS] = _SERIES << 32, BINARY << 32
    reals[:, SCORE], reals[:, OUTCOME] = scores, outcomes
    yes, no = marks.chosen(share, held_out=True), marks.chosen(1.0 - share, held_out=False)
    words[:, MARKS] = np.where(held, yes, no)
    return words


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.selective_labels")
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(json.dumps(simulate(options.runs, options.seed)._asdict()))


if __name__ == "__main__":
    main()
