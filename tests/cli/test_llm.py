"""`penstock llm` as people read it."""

from __future__ import annotations

import pytest

from gateway.cli.llm import _breaker, _price


def test_a_price_is_told_by_the_million_with_whoever_says_it():
    told = {"entry": "gpt-4o-mini", "input_usd_per_million": 0.15, "output_usd_per_million": 0.6}
    assert _price(told, "serve") == ("0.15", "0.6", "gpt-4o-mini")
    stated = told | {"entry": None}
    assert _price(stated, "serve") == ("0.15", "0.6", "the document says")
    assert _price(None, "refuse") == ("-", "-", "unknown: refuse")


@pytest.mark.parametrize(
    ("breaker", "waits", "told"),
    [
        ("closed", [0.0, 0.0], "closed"),
        ("open", [4.25, 12.0], "open, ready in 12 s"),
        ("closed", [0.0, 1.5], "closed, ready in 1.5 s"),
        ("closed", [], "closed"),
    ],
)
def test_how_long_an_upstream_is_left_alone_stands_beside_its_breaker(breaker, waits, told):
    assert _breaker({"breaker": breaker, "workers": [{"ready_in_s": s} for s in waits]}) == told
