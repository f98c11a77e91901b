"""Pools as tests want them: a document's words, seeded chance, a clock that is set."""

from __future__ import annotations

from collections import Counter
from random import Random

from gateway.config.llm import LlmVersion
from gateway.llm.pools import Attempts, Failure, Outcome, Picked, Pool, Trouble


def version(*upstreams: dict, **fields) -> LlmVersion:
    named = [{"provider": "p", "model": f"m{i}", **one} for i, one in enumerate(upstreams)]
    return LlmVersion.model_validate({"upstreams": named, **fields})


def pool(*upstreams: dict, prices=(), **fields) -> Pool:
    return Pool.of(version(*upstreams, **fields), prices, seed=7)


def take(pool: Pool, now: float = 0.0, **how) -> Picked:
    """Chooses and begins."""
    picked = pool.choose(now, **how)
    assert picked is not None
    picked.began(now)
    return picked


def end(pool: Pool, outcome: Outcome, now: float = 0.0, **how) -> int:
    """One request from begin to end; the upstream that had it."""
    picked = take(pool, now)
    picked.ended(now, outcome, **how)
    return picked.index


def shares(pool: Pool, count: int, now: float = 0.0) -> list[float]:
    """Of requests that are over before the next begins."""
    had = Counter(end(pool, Outcome.OK, now) for _ in range(count))
    return [had[one.index] / count for one in pool.members]


def attempts(asked: Pool, of: LlmVersion, **how) -> Attempts:
    return Attempts("asked", of, asked, random=Random(7), **how)


def failed(trouble: Trouble = Trouble.FAILED, **how) -> Failure:
    return Failure(trouble, **how)
