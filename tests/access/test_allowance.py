"""Limits as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.allowance import (
    MAX_TOKENS,
    PICO,
    Allowance,
    budget_texts,
    read_allowance,
    read_budgets,
)
from gateway.errors import InvalidParameter

amounts = st.none() | st.integers(0, 1_000_000 * PICO)
tokens = st.none() | st.integers(0, MAX_TOKENS)
allowances = st.builds(
    Allowance,
    st.tuples(amounts, amounts, amounts, tokens, tokens, tokens),
    st.none() | st.integers(0, 1000),
    st.none() | st.integers(0, 1000),
    st.none() | st.integers(0, 1000),
)


@given(allowances)
def test_what_is_written_is_read_again_to_the_coin(allowance):
    assert read_allowance(allowance.as_json(), "limits") == allowance


@pytest.mark.parametrize(
    ("text", "place", "amount"),
    [
        ("10usd/day", 0, 10 * PICO),
        ("0.000000000001usd/month", 1, 1),
        ("2.50usd/total", 2, 5 * PICO // 2),
        ("1000000tokens/month", 4, 1_000_000),
        ("0tokens/total", 5, 0),
    ],
)
def test_budgets(text, place, amount):
    assert read_budgets([text], "budgets")[place] == amount
    assert len(budget_texts(read_budgets([text], "budgets"))) == 1


@pytest.mark.parametrize(
    "texts",
    [
        *(["10"], ["10usd"], ["10usd/year"], ["-1usd/day"], ["1e3usd/day"], ["10 usd/day"]),
        *(["1.5tokens/day"], ["0.0000000000001usd/day"], ["1000001usd/day"], [""], ["٣usd/day"]),
        ["9999999999999999tokens/day"],
        ["1usd/day", "2usd/day"],
    ],
    ids=str,
)
def test_what_is_no_budget_is_refused_by_name(texts):
    with pytest.raises(InvalidParameter, match=r"^--budget: expected"):
        read_budgets(texts, "--budget")


@pytest.mark.parametrize("value", [-1, 150_000_001, True, 1.5, "9"])
def test_what_is_no_rate_is_refused(value):
    with pytest.raises(InvalidParameter, match=r"limits\.tokens_per_minute: expected 0 to"):
        read_allowance({"tokens_per_minute": value}, "limits")
