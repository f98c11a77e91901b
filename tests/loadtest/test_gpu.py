"""The comparison of a GPU with the CPU: what it prints, and that it is skipped without one."""

from __future__ import annotations

import pytest

from loadtest import gpu
from loadtest.bench import Bench
from tests.gpus import GPUS


@pytest.mark.skipif(GPUS > 0, reason="there is a GPU here")
def test_without_a_gpu_it_is_skipped_with_the_reason(capsys):
    assert gpu.main([]) == 0
    assert capsys.readouterr().out.startswith("skipped: ")


def test_contestants_are_compared_within_a_round(tmp_path):
    turns = {"gpu": iter([9, 40, 100]), "all cores": iter([9, 10, 50])}  # the first warms up
    bench = Bench(tmp_path, rounds=2)
    plays = {
        name: lambda values=values: {"rows_s": next(values), "p50_ms": 2.0}
        for name, values in turns.items()
    }
    found = gpu._compare(bench, plays)
    assert found["ratio"] == {"all cores": (3.0, 2.0, 4.0)}
    assert found["rows_s"] == {"gpu": 70, "all cores": 30}


def test_the_table_has_a_cell_for_every_contestant():
    figures = dict.fromkeys(gpu.CONTESTANTS, 1234.5)
    ratio = dict.fromkeys(list(gpu.CONTESTANTS)[:-1], (2.0, 1.5, 2.5))
    one = {"model": "demo", "what": "runs", "rows_s": figures, "p50_ms": figures, "ratio": ratio}
    lines = gpu.table([one])
    assert len({line.count("|") for line in lines}) == 1
    assert "2 (1.5 to 2.5)" in lines[-1]
