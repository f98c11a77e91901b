"""Works out the shares of a bandit's arms from what they were found to be worth.

Knows rewards of arms. Knows nothing of requests, of time, or of who divides them: the same
arguments always give the same shares.

A request is divided by shares, not by a draw of its own: shares are set every few seconds, and a
share is the chance of each request until the next. Thompson sampling, which gives an arm to each
request with the probability that it is the best, is that probability as its share.

    thompson        by draws of each arm's mean from its posterior: Beta(1 + rewards, 1 + the rest)
                    of 0 and 1; of other numbers Student's t around the mean (flat prior)
    epsilon_greedy  the best mean has 1 - epsilon, and all share epsilon
    ucb             the best mean + sqrt(2 ln n / n_arm) deviations has all

Rows count as independent, though those of one sticky key are not. Counting them for as many as
their design effect says, as tests do, was tried: unsure for longer, Thompson sampling lost more
where 200 keys made all requests (273 of the 533 rewards that equal shares lose, not 224). A share
that moves gives keys to other arms, which says more than waiting does.

An arm that has hardly been tried is tried: where one has fewer than FIRST rewards, all are alike.
Then a floor is put beneath each: no arm dies out, rewards of a changed world are seen, and no row's
chance is so small that others could not be weighed by it.

Sources: Thompson (1933); Auer, Cesa-Bianchi and Fischer, Finite-time analysis of the multiarmed
bandit problem (2002); rewards that fade: Garivier and Moulines (2011).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.experiments.sums import Reals, Sums

FIRST: Final = 10.0
DRAWS: Final = 20_000  # a share is within 0.4 % of its probability


@dataclass(frozen=True, slots=True)
class Policy:
    """How shares follow rewards.

    Attributes:
        name: `thompson`, `epsilon_greedy` or `ucb`.
        binary: rewards are 0 or 1.
        floor: share that no arm falls below; less than one by their number.
        epsilon: of epsilon-greedy.
        sign: 1 where more is better, else -1.
    """

    name: str
    binary: bool
    floor: float
    epsilon: float = 0.1
    sign: float = 1.0


def shares(policy: Policy, arms: Mapping[str, Sums], seed: int) -> dict[str, float]:
    """The share of each arm; they add up to 1.

    Args:
        policy: how they follow.
        arms: rewards of each, that fade by their weights.
        seed: of the draws.
    """
    names = list(arms)
    if any(sums.n < FIRST for sums in arms.values()):
        wanted = np.full(len(names), 1.0 / len(names))
    else:
        wanted = _WANTED[policy.name](policy, list(arms.values()), seed)
    floor = min(policy.floor, 1.0 / len(names))
    found = floor + (1.0 - floor * len(names)) * wanted
    return {name: float(share) for name, share in zip(names, found, strict=True)}


def _thompson(policy: Policy, arms: list[Sums], seed: int) -> Reals:
    rng = np.random.default_rng(seed)
    draw = _of_rate if policy.binary else _of_mean
    drawn = policy.sign * np.array([draw(sums, rng) for sums in arms])
    return np.bincount(drawn.argmax(axis=0), minlength=len(arms)) / DRAWS


def _of_rate(sums: Sums, rng: np.random.Generator) -> Reals:
    # Numbers that are none of a rate's would be no parameters.
    hits = min(max(sums.n * sums.mean, 0.0), sums.n)
    return rng.beta(1.0 + hits, 1.0 + sums.n - hits, DRAWS)


def _of_mean(sums: Sums, rng: np.random.Generator) -> Reals:
    error = math.sqrt(sums.variance / (sums.n - 1.0))
    return sums.mean + error * rng.standard_t(sums.n - 1.0, DRAWS)


def _epsilon_greedy(policy: Policy, arms: list[Sums], seed: int) -> Reals:
    found = np.full(len(arms), policy.epsilon / len(arms))
    found[_best(policy.sign * np.array([sums.mean for sums in arms]))] += 1.0 - policy.epsilon
    return found


def _ucb(policy: Policy, arms: list[Sums], seed: int) -> Reals:
    n = np.array([sums.n for sums in arms])
    means = policy.sign * np.array([sums.mean for sums in arms])
    spread = math.sqrt(max(sums.variance for sums in arms))
    found = np.zeros(len(arms))
    found[_best(means + spread * np.sqrt(2.0 * math.log(n.sum()) / n))] = 1.0
    return found


def _best(values: Reals) -> int:
    return int(values.argmax())


_WANTED: Final = {"thompson": _thompson, "epsilon_greedy": _epsilon_greedy, "ucb": _ucb}
