"""Prices as the kernel reads them say what prices themselves do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.llm.pricing import Price, Rates, Step
from gateway.llm.tariff import FREE, tariff_of
from kernels import budgets

rates = st.builds(Rates, *[st.integers(0, 10**9)] * 8)
steps = st.builds(
    lambda aboves, each: tuple(
        Step(above, one) for above, one in zip([*sorted(aboves)[::-1], -1], each, strict=False)
    ),
    st.lists(st.integers(0, 3000), min_size=2, max_size=2, unique=True),
    st.lists(rates, min_size=3, max_size=3),
)
prices = st.builds(
    lambda usual, dear, fee: Price("p", {"": usual, **({"dear": dear} if dear else {})}, fee),
    steps,
    st.none() | steps,
    st.integers(0, 10**12),
)
tokens = st.integers(0, 5000)


@given(st.lists(prices, min_size=1, max_size=3), st.sampled_from(["", "dear"]), tokens, tokens)
def test_the_most_is_what_the_dearest_price_says(known, tier, read, written):
    expected = max(one.most(read, written, t) for one in known for t in ("", tier))
    assert budgets.dearest(tariff_of(known, tier), read, written) == expected


@given(st.lists(prices, min_size=1, max_size=3), tokens, st.integers(0, 10**15), st.integers(1, 9))
def test_what_is_afforded_costs_no_more_than_there_is_and_one_more_would(known, read, money, n):
    tariff, most = tariff_of(known), 10**6
    each = budgets.affordable(tariff, money, read, n, most)
    if each < 0:
        assert budgets.dearest(tariff, read, 0) > money
        return
    assert budgets.dearest(tariff, read, each * n) <= money
    assert each == most or budgets.dearest(tariff, read, (each + 1) * n) > money


def test_alike_prices_stand_there_once_and_an_unknown_one_is_marked():
    price = Price("p", {"": (Step(-1, Rates(1, 2, 0, 0, 0, 0, 0, 0)),)}, 5)
    assert tariff_of([price, price, None]).tolist() == [1, 5, 1, -1, 1, 2]
    assert FREE.tolist() == [0]
