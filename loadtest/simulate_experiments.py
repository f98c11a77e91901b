"""Simulated experiments: how often do they find what is not there, and how soon what is?

    python -m loadtest.simulate_experiments ab --trials 2000             # nothing differs: A/A
    python -m loadtest.simulate_experiments ab --trials 2000 --keys 400  # keys come back
    python -m loadtest.simulate_experiments ab --trials 500 --effect 0.02
    python -m loadtest.simulate_experiments bandit --trials 200
    python -m loadtest.simulate_experiments bandit --trials 200 --keys 200  # sticky
    python -m loadtest.simulate_experiments replay --trials 1000

Every experiment is looked at after each batch of rows, and ends at the first look that decides it:
what a person does who peeks. With `--keys` each arm has so many keys, whose rows are alike: each
key has a rate of its own (Beta), and the rows of one key are one cluster. A bandit has so many keys
in all, which stay with their arm for as long as shares let them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any, Final

import numpy as np

from gateway.experiments.bandits import Policy, shares
from gateway.experiments.estimates import compare
from gateway.experiments.mismatch import mismatch
from gateway.experiments.replay import Replay
from gateway.experiments.sums import CLUSTERS, Sums

Reals = np.ndarray[Any, np.dtype[np.float64]]
Rng = np.random.Generator
WORTH: Final = (0.10, 0.12, 0.15)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints what was found."""
    args = _parser().parse_args(arguments)
    _KINDS[args.kind](args, np.random.default_rng(args.seed))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.simulate_experiments", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("kind", choices=_KINDS)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--rows", type=int, default=20_000, help="of an experiment")
    parser.add_argument("--looks", type=int, default=200, help="evenly among these rows")
    parser.add_argument("--rate", type=float, default=0.1, help="of control's rewards")
    parser.add_argument("--effect", type=float, default=0.0, help="by which the other is higher")
    parser.add_argument("--share", type=float, default=0.5, help="of the other arm")
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--keys", type=int, help="of each arm; none: each row is its own")
    parser.add_argument("--revenue", action="store_true", help="log-normal numbers, not 0 and 1")
    parser.add_argument("--seed", type=int, default=1)
    return parser


# ---- A/B ----------------------------------------------------------------------------------------


def _ab(args: argparse.Namespace, rng: Rng) -> None:
    shown, alarmed, once = [], 0, 0
    for _ in range(args.trials):
        first, mismatched, by_z = _one_test(args, rng)
        alarmed += mismatched
        once += by_z
        if first is not None:
            shown.append(first)
    print(
        f"{args.trials} experiments of {args.rows} rows, looked at {args.looks} times:"
        f" {len(shown)} ({100 * len(shown) / args.trials:.2f} %) showed a difference,"
        f" {alarmed} a mismatch; by a test that is meant to look once"
        f" {100 * once / args.trials:.1f} % would have"
    )
    if shown and args.effect:
        print(f"rows until then: median {int(np.median(shown))}, largest {max(shown)}")


def _one_test(args: argparse.Namespace, rng: Rng) -> tuple[int | None, bool, bool]:
    """Rows until a difference was shown; whether shares seemed others, or a z-test alarmed."""
    arms, requests = [Sums(), Sums()], [np.zeros(CLUSTERS), np.zeros(CLUSTERS)]
    draw = _drawing(args, rng)
    batch, first, alarmed, by_z = args.rows // args.looks, None, False, False
    for look in range(1, args.looks + 1):
        other, values, clusters = draw(batch)
        for arm in range(2):
            its = other == bool(arm)
            arms[arm].add(values[its], clusters[its])
            requests[arm] += np.bincount(clusters[its], minlength=CLUSTERS)
        found = compare(arms[1], arms[0], args.alpha, args.rows / 2)
        away = found is not None and found.low is not None and found.high is not None
        if away and first is None and (found.low > 0.0 or found.high < 0.0):  # type: ignore
            first = look * batch
        alarmed |= mismatch(requests, (1.0 - args.share, args.share)).alarm
        by_z |= _differ_once(arms[1], arms[0], args.alpha)
    return first, alarmed, by_z


def _differ_once(one: Sums, other: Sums, alpha: float) -> bool:
    """What a test of rows that are independent says, which is meant to look once."""
    error = (one.variance / one.n + other.variance / other.n) ** 0.5
    return bool(abs(one.mean - other.mean) > NormalDist().inv_cdf(1.0 - alpha / 2.0) * error)


Drawn = tuple[Any, Reals, Any]


def _drawing(args: argparse.Namespace, rng: Rng) -> Callable[[int], Drawn]:
    """What makes rows: which arm each is of, its reward, its cluster."""
    if args.keys is not None:
        # A few keys ask for most rows, as everywhere.
        popular = rng.pareto(1.5, 2 * args.keys) + 0.1
        popular /= popular.sum()
        assigned = rng.random(2 * args.keys) < args.share
        own = rng.beta(2.0, 2.0 / args.rate - 2.0, 2 * args.keys) + args.effect * assigned
        places = rng.integers(1, CLUSTERS, 2 * args.keys)

        def by_key(batch: int) -> Drawn:
            keys = rng.choice(2 * args.keys, batch, p=popular)
            values = (rng.random(batch) < own[keys]).astype(float)
            return assigned[keys], values, places[keys]

        return by_key

    def by_row(batch: int) -> Drawn:
        other = rng.random(batch) < args.share
        clusters = rng.integers(0, CLUSTERS, batch)
        if args.revenue:
            values = rng.lognormal(0.0, 1.0, batch) + args.effect * other
        else:
            values = (rng.random(batch) < args.rate + args.effect * other).astype(float)
        return other, values, clusters

    return by_row


# ---- bandits ------------------------------------------------------------------------------------


def _bandit(args: argparse.Namespace, rng: Rng) -> None:
    uniform = args.rows * (max(WORTH) - sum(WORTH) / len(WORTH))
    print(f"{args.trials} runs of {args.rows} rows, arms worth {WORTH}; rewards lost on average:")
    print(f"  all alike: {uniform:.0f}")
    for name in ("thompson", "epsilon_greedy", "ucb"):
        lost = [_one_bandit(args, rng, Policy(name, True, 0.02)) for _ in range(args.trials)]
        print(f"  {name}: {np.mean(lost):.0f} ({np.mean(lost) / uniform:.2f} of that)")


def _one_bandit(args: argparse.Namespace, rng: Rng, policy: Policy) -> float:
    worth, batch = np.array(WORTH), args.rows // args.looks
    arms = {str(place): Sums() for place in range(len(worth))}
    draw = _to_arms(args, rng)
    late: Drawn | None = None
    lost = 0.0
    for look in range(args.looks):
        found = shares(policy, arms, look)
        # Rewards of a batch are known after the next one has been answered.
        answered, late = late, draw(batch, np.array(list(found.values())))
        lost += float((worth.max() - worth[late[0]]).sum())
        if answered is not None:
            to, values, clusters = answered
            for arm, sums in enumerate(arms.values()):
                sums.add(values[to == arm], clusters[to == arm])
    return lost


def _to_arms(args: argparse.Namespace, rng: Rng) -> Callable[[int, Reals], Drawn]:
    """What makes rows of arms that have these shares: which each is of, its reward, its cluster."""
    worth = np.array(WORTH)

    def by_row(batch: int, some: Reals) -> Drawn:
        to = rng.choice(len(worth), batch, p=some)
        return to, (rng.random(batch) < worth[to]).astype(float), rng.integers(0, CLUSTERS, batch)

    if args.keys is None:
        return by_row
    popular = rng.pareto(1.5, args.keys) + 0.1
    popular /= popular.sum()
    own = rng.beta(2.0, 18.0, args.keys) / 0.1  # times what an arm is worth, 1 on average
    places = rng.integers(1, CLUSTERS, args.keys)
    drawn = rng.exponential(size=(args.keys, len(worth)))

    def by_key(batch: int, some: Reals) -> Drawn:
        keys = rng.choice(args.keys, batch, p=popular)
        to = (drawn[keys] / some).argmin(axis=1)  # a share that grows takes keys, and gives none
        values = (rng.random(batch) < own[keys] * worth[to]).astype(float)
        return to, values, places[keys]

    return by_key


# ---- replay -------------------------------------------------------------------------------------


def _replay(args: argparse.Namespace, rng: Rng) -> None:
    """Rows of shares that moved; what the last arm alone is worth."""
    worth, missed = np.array(WORTH), {"ips": 0, "snips": 0}
    for _ in range(args.trials):
        replay = Replay()
        for _ in range(20):
            moved = rng.dirichlet(np.full(len(worth), 2.0)) * 0.85 + 0.05
            arm = rng.choice(len(worth), args.rows // 20, p=moved)
            rewards = (rng.random(len(arm)) < worth[arm]).astype(float)
            clusters = rng.integers(0, CLUSTERS, len(arm))
            replay.add(rewards, moved[arm], (arm == len(worth) - 1).astype(float), clusters)
        found = replay.found(args.alpha)
        for name, one in (("ips", found.ips), ("snips", found.snips)):
            if one.low is None or one.high is None or not one.low <= worth[-1] <= one.high:
                missed[name] += 1
    told = ", ".join(f"{name} {100 * n / args.trials:.2f} %" for name, n in missed.items())
    print(f"{args.trials} replays of {args.rows} rows: intervals missed the truth in {told}")


_KINDS: Final = {"ab": _ab, "bandit": _bandit, "replay": _replay}

if __name__ == "__main__":
    main()
