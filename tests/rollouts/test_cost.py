"""What runs cost is held against runs of the same size, second by second."""

from __future__ import annotations

import json

import numpy as np

from gateway.config.guards import CostGuard
from gateway.rollouts.cost import CostJudge
from gateway.rollouts.judgements import Judgement, Verdict
from gateway.rollouts.looks import Arm, Look
from kernels import timing
from tests.rollouts.looks import runs

FAIL, PASS, INCONCLUSIVE = Verdict.FAIL, Verdict.PASS, Verdict.INCONCLUSIVE
GUARD = CostGuard(kind="cost")


def of(*sizes: tuple[int, int, float]) -> Arm:
    """Rows of a batch, how many there were, and milliseconds of each."""
    table = np.zeros((timing.MAX_SIZE + 1, 2), np.int64)
    for rows, many, ms in sizes:
        table[rows - 1] = many, many * ms * 1e6
    return Arm(runs=table)


def drawn(
    rng: np.random.Generator, candidate: tuple[int, float], baseline: tuple[int, float]
) -> Look:
    """Rows of each, and milliseconds that one costs."""
    return Look(Arm(runs=runs(rng, *candidate)), Arm(runs=runs(rng, *baseline)))


def judged(looks: list[Look], guard: CostGuard = GUARD) -> Judgement:
    judge = CostJudge(guard)
    for look in looks:
        judge.take(look)
    return judge.judge()


def test_a_candidate_whose_batches_are_small_is_not_held_against_large_ones():
    # By time per row, a lone row would seem to cost twice as much.
    baseline = of((1, 2, 6.0), (8, 100, 24.0))
    same = [Look(of((1, 9, 6.0)), baseline)] * 60
    assert judged(same).verdict is PASS
    twice = [Look(of((1, 9, 12.0)), baseline)] * 60
    assert judged(twice).verdict is FAIL


def test_a_candidate_that_is_slow_by_sizes_that_only_it_has_is_not_known():
    looks = [Look(of((1, 9, 600.0)), of((8, 100, 24.0)))] * 60
    assert judged(looks).verdict is INCONCLUSIVE


def test_batches_beyond_the_table_are_of_no_one_size():
    large = timing.MAX_SIZE + 1
    looks = [Look(of((large, 9, 600.0)), of((large, 100, 24.0)))] * 60
    assert judged(looks).verdict is INCONCLUSIVE


def test_runs_of_less_than_the_floor_are_nobodys_concern():
    looks = [Look(of((1, 9, 0.4)), of((1, 100, 0.1)))] * 60
    assert judged(looks).verdict is PASS
    assert judged(looks, CostGuard(kind="cost", floor_ms=0.0)).verdict is FAIL


def test_one_run_that_took_forever_convinces_nobody():
    usual = Look(of((1, 9, 6.0)), of((1, 100, 6.0)))
    hangs = Look(of((1, 9, 9000.0)), of((1, 100, 6.0)))
    found = judged([*[usual] * 20, *[hangs] * 5, *[usual] * 20])
    assert found.verdict is not FAIL
    assert found.figures["slow_seconds"] == 5.0


def test_where_the_baseline_runs_nothing_nothing_is_learnt():
    both, alone = Look(of((1, 9, 6.0)), of((1, 100, 6.0))), Look(of((1, 900, 60.0)), of())
    assert judged([*[both] * 20, *[alone] * 100]).figures["seconds"] == 20.0


def test_a_candidate_at_the_tolerated_ratio_is_not_failed_more_often_than_may_be():
    failed = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        judge = CostJudge(GUARD)
        for _ in range(150):
            judge.take(drawn(rng, (20, 6.0), (380, 4.0)))
        failed += judge.judge().verdict is FAIL
    assert failed <= 2  # of 60 at 1 %, three or more come once in forty


def test_a_successor_goes_on_from_what_was_remembered():
    rng = np.random.default_rng(1)
    looks = [drawn(rng, (200, 4.0), (200, 4.0)) for _ in range(40)]
    judge = CostJudge(GUARD)
    for look in looks:
        judge.take(look)
    successor = CostJudge(GUARD, json.loads(json.dumps(judge.memory())))
    assert successor.judge() == judge.judge()
