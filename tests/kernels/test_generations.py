"""What one request to a language model adds to its section."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from kernels import generations as g
from kernels import histogram
from tests.reference import generation

NOTHING = -1.0


def record(stamps=(), **given):
    """A request that was answered in a second, of 10 tokens read and 5 written."""
    places = {name.lower(): at for name, at in vars(g).items() if name.isupper()}
    values = np.zeros(g.STAMPS + len(stamps))
    about = {"read": 10, "written": 5, "arrived": 1.0, "asked": 1.0, "content": 2.0}
    about |= {"last_in": 2.0, "ended": 2.0} | given
    for name, value in about.items():
        values[places[name]] = value
    values[g.STAMPS :] = stamps
    return values


def observed(*records):
    section = np.zeros(g.WORDS, np.int64)
    for one in records:
        g.observe(section, one, len(one) - g.STAMPS)
    return section


def times(section, name):
    """The sum of a time in nanoseconds, and how many there were."""
    at = g.TIMES.index(name)
    first = g.TIMES_FIRST + at * histogram.BUCKETS
    return section[g.TIME_NS + at], section[first : first + histogram.BUCKETS].sum()


def test_requests_count_by_how_they_ended():
    section = observed(*(record(result=result) for result in (0, 1, 1, 2, 3, 3, 3, 4, 5, 5)))
    assert section[: len(g.RESULTS)].tolist() == [1, 2, 1, 3, 1, 2]


def test_a_result_has_a_word_of_its_own_and_its_time_alone():
    for at, result in enumerate(g.RESULTS):
        section = observed(record(result=at, read=NOTHING, tries=7))
        assert section[: g.RETRIES].nonzero()[0].tolist() == [at]
        assert section[g.RETRIES] == 7
        wholes = {name for name in ("duration", *g.FAILURES) if times(section, name)[1]}
        assert wholes == {"ok": {"duration"}}.get(result, {result} & {*g.FAILURES})


def test_tokens_and_cost_of_every_request_that_somebody_worked_for_are_added():
    some = {"cached": 4, "stored": 3, "thought": 2, "tries": 2}
    section = observed(record(paid=7e9, **some), record(result=1, paid=5e9, guessed=1))
    assert section[[g.COUNTED, g.INPUT, g.OUTPUT]].tolist() == [2, 20, 10]
    assert section[[g.CACHE_READ, g.CACHE_WRITE, g.REASONING]].tolist() == [4, 3, 2]
    assert section[[g.COST, g.UNPRICED, g.ESTIMATED]].tolist() == [12 * 10**9, 0, 1]
    assert section[g.RETRIES] == 2


def test_a_price_that_nobody_knows_is_no_price_of_zero():
    section = observed(record(paid=0), record(paid=NOTHING))
    assert section[[g.COST, g.UNPRICED, g.COUNTED]].tolist() == [0, 1, 2]


def test_what_nobody_worked_for_has_no_tokens():
    section = observed(record(result=2, read=NOTHING))
    assert section[[g.COUNTED, g.INPUT, g.UNPRICED]].tolist() == [0, 0, 0]
    assert section[g.TOKEN_BUCKETS : g.TIME_NS].sum() == 0


@pytest.mark.parametrize(
    ("tokens", "bucket"),
    [(0, 0), (1, 0), (2, 1), (4, 1), (5, 2), (4**13, 13), (4**13 + 1, 14), (4**20, 14)],
)
def test_tokens_fall_into_powers_of_four(tokens, bucket):
    assert g.token_bucket(float(tokens)) == bucket


def test_times_are_of_requests_that_were_answered():
    answered = record(asked=1.25, last_in=2.25, ended=2.5)
    section = observed(answered, record(result=2), record(result=3))
    assert times(section, "duration") == (1_500_000_000, 1)
    assert times(section, "overhead") == (500_000_000, 1)


def test_each_failure_is_timed_by_itself():
    section = observed(*(record(result=result, ended=2.0 + result) for result in range(6)))
    assert [times(section, name)[0] // 10**9 for name in ("duration", *g.FAILURES)] == [1, 3, 4, 6]
    assert [times(section, name)[1] for name in ("duration", *g.FAILURES)] == [1, 1, 1, 1]


def test_what_others_failed_before_is_not_called_overhead():
    assert times(observed(record(tries=1), record(moves=1)), "overhead") == (0, 0)


def test_a_stream_has_a_first_token_and_a_pace_and_a_whole_answer_has_neither():
    streamed = record(streamed=1, asked=1.25, content=1.5, last_in=3.5, ended=3.5)
    section = observed(streamed, record())
    assert times(section, "first_token") == (250_000_000, 1)
    assert times(section, "per_token") == (500_000_000, 1)


@pytest.mark.parametrize("given", [{"written": 1}, {"guessed": 1}], ids=["one", "estimated"])
def test_a_stream_whose_tokens_are_few_or_unknown_has_no_pace(given):
    assert times(observed(record(streamed=1, **given)), "per_token") == (0, 0)


def test_gaps_lie_between_pieces_and_the_longest_is_told():
    section = np.zeros(g.WORDS, np.int64)
    stamps = [2.0, 2.25, 3.25, 3.5]
    assert g.observe(section, record(stamps), 4) == 1.0
    assert times(section, "gap") == (1_500_000_000, 3)
    assert section[g.PIECES] == 4
    assert math.isnan(g.observe(section, record([2.0]), 1))


def test_any_requests_add_up_to_what_their_definitions_say():
    draw = random.Random(7)
    records = []
    for _ in range(200):
        stamps = sorted(2.0 + draw.random() * 9 for _ in range(draw.choice([0, 1, 2, 30])))
        asked = 1.0 + draw.random()
        ended = 12.0 + draw.random()
        records.append(
            record(
                stamps,
                result=draw.randrange(len(g.RESULTS)),
                tries=draw.choice([0, 0, 3]),
                moves=draw.randrange(2),
                read=draw.choice([NOTHING, 0, 3, 5000]),
                written=draw.choice([0, 1, 700]),
                paid=draw.choice([NOTHING, 0, 10**9]),
                guessed=draw.randrange(2),
                streamed=draw.randrange(2),
                asked=asked,
                content=draw.choice([0.0, asked + 0.25]),
                last_in=ended - 0.125,
                ended=ended,
            )
        )
    expected: dict[str, list[float]] = {}
    for one in records:
        for name, values in generation(one.tolist()).items():
            expected.setdefault(name, []).extend(values)
    section = observed(*records)
    for name in g.TIMES:
        total, count = times(section, name)
        assert count == len(expected[name])
        assert total == sum(round(seconds * 1e9) for seconds in expected[name])
    for name in ("RETRIES", "INPUT", "OUTPUT", "COST", "UNPRICED", "COUNTED"):
        assert section[getattr(g, name)] == sum(expected[name.lower()])
