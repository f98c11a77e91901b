"""Metrics of spending: bounded, and never shrinking."""

from __future__ import annotations

from gateway.control.spend_metrics import SpendMetrics


class Rig:
    def __init__(self, most):
        self.settled: dict[str, tuple[int, int, int, int]] = {}
        self.metrics = SpendMetrics(
            lambda: self.settled, lambda numbers: {n: f"app{n}" for n in numbers}, most
        )

    def tokens(self):
        (family,) = (f for f in self.metrics.families() if f.name == "penstock_llm_spend_tokens")
        return {tuple(one.labels.values()): one.value for one in family.samples}


def test_the_first_of_a_kind_have_series_and_later_ones_are_told_together():
    rig = Rig(2)
    rig.settled = {"key:1": (1, 10, 1, 0), "team:a": (1, 10, 1, 0)}
    assert rig.tokens() == {("key", "app1"): 10, ("team", "a"): 10}
    rig.settled |= {f"key:{n}": (1, n, 1, 0) for n in (2, 3, 4)}
    assert rig.tokens() == {
        ("key", "app1"): 10,
        ("key", "app2"): 2,
        ("key", "other"): 7,
        ("team", "a"): 10,
    }


def test_the_others_never_shrink():
    rig = Rig(1)
    rig.settled = {"key:1": (0, 1, 1, 0), "key:2": (0, 5, 1, 0), "key:3": (0, 6, 1, 0)}
    assert rig.tokens()["key", "other"] == 11
    del rig.settled["key:2"], rig.settled["key:1"]
    found = rig.tokens()
    assert found["key", "other"] == 5
    assert found["key", "app3"] == 6
