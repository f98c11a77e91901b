"""The simulation of outcomes tells what it says it does."""

from __future__ import annotations

import re

from loadtest import simulate_outcomes


def test_without_a_change_alarms_are_counted(capsys):
    simulate_outcomes.main(["--streams", "3", "--outcomes", "3000"])
    told = capsys.readouterr().out
    assert told.startswith("3 streams, 9000 outcomes")
    assert "error rate: 0 streams" in told
    assert "ADWIN, errors: 0 rises" in told


def test_after_a_rise_outcomes_to_the_alarm_are_told(capsys):
    simulate_outcomes.main(
        ["--streams", "5", "--outcomes", "600", "--error", "0.05", "--risen", "0.6"]
    )
    found = re.findall(r"(\S+): (\d+) outcomes to the alarm", capsys.readouterr().out)
    assert [name for name, _ in found] == ["rate", "Page-Hinkley", "ADWIN"]
    assert all(0 < int(median) < 300 for _, median in found)
