"""Simulated outcomes: how often do detectors alarm without a change, and how soon after one?

    python -m loadtest.simulate_outcomes --streams 3000                          # nothing changes
    python -m loadtest.simulate_outcomes --streams 300 --error 0.1               # errors alone
    python -m loadtest.simulate_outcomes --streams 200 --error 0.05 --risen 0.3  # they rise

Without `--error` a stream is of a calibrated model whose scores are spread over 0 to 1; with it, of
one that always says 0.9 and is wrong at that rate. Outcomes are independent. A change comes for
good, a random number of outcomes after the baseline.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from gateway.config import Concept
from kernels import adwin, concept, page_hinkley
from kernels.ledger import OUTCOME, RECORD_WORDS, SCORE, TOP_AND_CORRECTIONS
from kernels.performance import BINARY, THRESHOLD

LATEST_CHANGE = 20_000
Reals = np.ndarray[Any, np.dtype[np.float64]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints what was found."""
    args = _parser().parse_args(arguments)
    settings = Concept()
    floors = settings.error_floor, settings.calibration_floor
    told = np.array([settings.baseline_outcomes, *floors, THRESHOLD, 0], np.float64)
    rng = np.random.default_rng(args.seed)
    states, delays = [], []
    for _ in range(args.streams):
        change = args.outcomes
        if args.risen is not None:
            change = settings.baseline_outcomes + int(rng.integers(LATEST_CHANGE))
        scores, outcomes = _drawn(rng, args, change)
        state = concept.new_state()
        words = _records(scores, outcomes)
        concept.feed(words[:change], words[:change].view(np.float64), told, state)
        states.append(state)
        delays.append(_delays(state, words[change:], told))
    if args.risen is None:
        _tell_false(np.array(states), args.streams * args.outcomes)
    else:
        _tell_delays(np.array(delays))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.simulate_outcomes", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--outcomes", type=int, default=33_000, help="of a stream; or after a rise")
    parser.add_argument("--error", type=float, help="rate of errors")
    parser.add_argument("--risen", type=float, help="what it rises to")
    parser.add_argument("--seed", type=int, default=1)
    return parser


def _drawn(rng: np.random.Generator, args: argparse.Namespace, change: int) -> tuple[Reals, Reals]:
    if args.error is None:
        scores = rng.beta(0.5, 0.5, args.outcomes)
        return scores, (rng.random(len(scores)) < scores).astype(np.float64)
    later = 0 if args.risen is None else args.outcomes
    rates = np.repeat([args.error, args.risen or 0.0], [change, later])
    return np.full(len(rates), 0.9), (rng.random(len(rates)) >= rates).astype(np.float64)


def _records(scores: Reals, outcomes: Reals) -> Any:
    words = np.zeros((len(scores), RECORD_WORDS), np.int64)
    words[:, TOP_AND_CORRECTIONS] = BINARY << 32
    words.view(np.float64)[:, SCORE] = scores
    words.view(np.float64)[:, OUTCOME] = outcomes
    return words


def _delays(state: Reals, words: Any, told: Reals) -> Reals:
    """Outcomes from a change to the first alarm of the error rate, Page-Hinkley's and ADWIN's."""
    places = [
        concept.ERROR_ALARM + concept.AT,
        concept.ERROR_PH + page_hinkley.LAST,
        concept.ERROR_ADWIN + adwin.LAST,
    ]
    change, found = state[concept.SEEN], np.full(len(places), np.inf)
    for start in range(0, len(words), concept.CLOCK):
        some = words[start : start + concept.CLOCK]
        concept.feed(some, some.view(np.float64), told, state)
        new = np.isinf(found) & (state[places] > change)
        found[new] = state[places][new] - change
        if np.isfinite(found).all():
            break
    return found


def _tell_false(states: Reals, outcomes: int) -> None:
    print(f"{len(states)} streams, {outcomes} outcomes, without a change")
    for name, place in (("error rate", concept.ERROR_ALARM), ("calibration", concept.GAP_ALARM)):
        print(f"  {name}: {(states[:, place] > 0).sum()} streams with an alarm")
    for name, place in (
        ("Page-Hinkley, loss", concept.LOSS_PH + page_hinkley.RISES),
        ("Page-Hinkley, errors", concept.ERROR_PH + page_hinkley.RISES),
        ("ADWIN, loss", concept.LOSS_ADWIN + adwin.RISES),
        ("ADWIN, errors", concept.ERROR_ADWIN + adwin.RISES),
    ):
        found = states[:, place].sum()
        print(f"  {name}: {found:.0f} rises, {found / outcomes * 1e7:.1f} in 10 million outcomes")


def _tell_delays(delays: Reals) -> None:
    for name, some in zip(("error rate", "Page-Hinkley", "ADWIN"), delays.T, strict=True):
        median, most = np.quantile(some, (0.5, 0.9))
        print(f"  {name}: {median:.0f} outcomes to the alarm (median), {most:.0f} (90 of 100)")


if __name__ == "__main__":
    main()
