"""How many may wait: as many as are served within half a second, but never none."""

from __future__ import annotations

import pytest

from gateway.config import ModelSettings
from gateway.errors import QueueFull
from gateway.serving.admission import FREE_ROWS, Admission
from gateway.serving.cost import CostModel


def admission(max_rows: int = 1, instances: int = 1, **values) -> Admission:
    settings = ModelSettings(**values)
    bound_s = settings.max_queue_ms * 1e-3
    return Admission("m", max_rows, settings.max_queue_rows, bound_s, instances)


def costs(fixed_s: float, per_row_s: float = 0.0) -> CostModel:
    cost = CostModel()
    for rows in (1, 2, 4, 8) * 10:
        cost.add(rows, fixed_s + per_row_s * rows)
    return cost


def test_the_queue_of_a_model_of_2_ms_is_half_a_second_long():
    assert admission().room(costs(2e-3)) == pytest.approx(250, abs=2)


def test_instances_and_batches_make_it_longer():
    assert admission(instances=4).room(costs(2e-3)) == pytest.approx(1000, abs=5)
    assert admission(max_rows=8).room(costs(8e-3)) == pytest.approx(500, abs=10)


def test_the_queue_of_a_fast_model_is_bounded_by_its_rows():
    assert admission(max_queue_rows=300).room(costs(10e-6)) == 300


@pytest.mark.parametrize(
    ("max_rows", "instances", "rows"),
    [
        pytest.param(1, 1, FREE_ROWS, id="a-handful"),
        pytest.param(128, 2, 256, id="one-batch-for-each-instance"),
    ],
)
def test_a_slow_model_still_lets_some_wait(max_rows, instances, rows):
    assert admission(max_rows, instances).room(costs(10.0)) == rows


def test_before_the_first_run_only_rows_count():
    assert admission(max_queue_rows=300).room(CostModel()) == 300


def test_who_is_refused_hears_what_may_wait_now():
    error = admission().objection(rows=1, queued_rows=500, room=500, draining=False)
    assert isinstance(error, QueueFull)
    assert "Exceeds maximum queue size: 500 rows wait, 500 may, 1 came" in str(error)
