"""`penstock llm` as people read it."""

from __future__ import annotations

import pytest

from gateway.cli.llm import _breaker


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
