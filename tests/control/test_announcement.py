"""What a server says of itself when it begins."""

from __future__ import annotations

from gateway.control.announcement import serving
from gateway.plan import UNAVAILABLE, Absent, Plan, Route


def test_a_version_that_does_not_serve_is_not_said_to():
    plan = Plan(
        1,
        routes=(Route("whole", 1, {1: "w"}), Route("assistant", 1, {2: "a"})),
        absent=(Absent("assistant", 1, UNAVAILABLE, "no"),),
    )
    assert serving(plan) == {"whole": 1}
