"""A name that nobody reported is told beside those that are like it."""

from __future__ import annotations

from gateway.control.unseen import unseen


def test_the_nearest_names_come_first_and_all_are_told():
    said = unseen("revenu", ["sale", "revenue", "complaint"])
    assert said == (
        "no number of metric 'revenu' had ever come at the start; nearest: revenue; known:"
        " complaint, revenue, sale"
    )


def test_where_nothing_is_like_it_there_is_no_nearest():
    assert unseen("x", []).endswith("at the start; known: none")
    assert "nearest" not in unseen("x", ["revenue"])
