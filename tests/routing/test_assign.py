"""How keys and requests are divided among variants."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.routing.assign import ByKey, InTurn

WEIGHTS = {"small": 1.0, "middle": 9.0, "large": 90.0}
KEYS = [b"customer-%d" % number for number in range(60_000)]

weights = st.dictionaries(
    st.text(min_size=1, max_size=8), st.floats(1e-3, 1e3), min_size=1, max_size=5
)
keys = st.lists(st.binary(max_size=20), min_size=1, max_size=40)


def test_a_million_keys_are_divided_by_weight():
    million = 1_000_000
    keys = (b"customer-%d" % number for number in range(million))
    got = Counter(map(ByKey("fraud", WEIGHTS).of, keys))
    for name, weight in WEIGHTS.items():
        share = weight / 100
        deviation = math.sqrt(million * share * (1 - share))
        # 3.29 deviations: the binomial 99.9 % interval.
        assert abs(got[name] - million * share) <= 3.29 * deviation


@given(weights, keys, st.data())
@settings(deadline=None)
def test_raising_a_weight_moves_keys_only_towards_that_variant(given_weights, some, data):
    raised = data.draw(st.sampled_from(sorted(given_weights)))
    factor = data.draw(st.floats(1.0, 1e6))
    more = given_weights | {raised: given_weights[raised] * factor}
    before, after = ByKey("r", given_weights), ByKey("r", more)
    assert all(after.of(key) in (before.of(key), raised) for key in some)


@given(weights, keys)
@settings(deadline=None)
def test_a_variant_that_comes_moves_no_other_variants_keys(given_weights, some):
    before, after = ByKey("r", given_weights), ByKey("r", given_weights | {"the new one": 5.0})
    assert all(after.of(key) in (before.of(key), "the new one") for key in some)


@given(weights, keys, st.randoms())
@settings(deadline=None)
def test_the_order_of_variants_and_the_scale_of_weights_change_nothing(given_weights, some, rng):
    shuffled = list(given_weights.items())
    rng.shuffle(shuffled)
    other = ByKey("r", {name: weight * 4 for name, weight in shuffled})
    assert [other.of(key) for key in some] == [ByKey("r", given_weights).of(key) for key in some]


def test_routes_assign_the_same_key_independently():
    one, other = ByKey("one", {"a": 1, "b": 1}), ByKey("other", {"a": 1, "b": 1})
    same = sum(one.of(key) == other.of(key) for key in KEYS)
    assert abs(same - len(KEYS) / 2) <= 3.29 * math.sqrt(len(KEYS)) / 2


def test_an_assignment_is_the_same_in_every_process():
    # Of this release and every later one: whoever has seen a variant goes on seeing it.
    assert "".join(ByKey("fraud", WEIGHTS).of(key)[0] for key in KEYS[:60]) == EXPECTED
    code = (
        "from gateway.routing.assign import ByKey\n"
        f"found = ByKey('fraud', {WEIGHTS})\n"
        "print(''.join(found.of(b'customer-%d' % n)[0] for n in range(60)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == EXPECTED


EXPECTED = "lllmlllllllllllllllslllllllllllllllllllllllmllllllllllllllll"


def test_a_weight_of_nothing_gets_no_keys_and_no_turns():
    shares = {"all": 2.0, "none": 0.0}
    turns = InTurn()
    turns.divide(shares)
    assert {ByKey("r", shares).of(key) for key in KEYS[:1000]} == {"all"}
    assert {turns.next() for _ in range(1000)} == {"all"}


@pytest.mark.parametrize("every", [1, 2, 7, 100], ids=lambda n: f"every-{n}")
def test_turns_have_exact_shares_at_every_moment(every):
    turns = InTurn(start=12345)
    turns.divide(WEIGHTS)
    got: Counter[str] = Counter()
    for number in range(1, 20_001):
        taken = [turns.next() for _ in range(every)]
        got[taken[0]] += 1  # of a client whose requests are every so many
        for name, weight in WEIGHTS.items():
            assert abs(got[name] - number * weight / 100) < 12


def test_a_share_of_one_in_a_million_gets_its_one():
    turns = InTurn()
    turns.divide({"rare": 1.0, "rest": 999_999.0})
    got = Counter(turns.next() for _ in range(2_000_000))
    assert 1 <= got["rare"] <= 3


def test_turns_go_on_where_they_were_when_weights_change():
    turns, same = InTurn(), InTurn()
    turns.divide({"a": 1, "b": 1})
    same.divide({"a": 1, "b": 1})
    for _ in range(5):
        assert turns.next() == same.next()
        turns.divide({"a": 1, "b": 1})
