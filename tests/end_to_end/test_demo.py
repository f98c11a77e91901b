"""`penstock demo` against the server that it starts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.client import Client, Unreachable

DEMO = [sys.executable, "-m", "gateway", "demo"]
QUICK = [*DEMO, "--answers"]


def test_the_demo_checks_every_answer_and_its_alarm_names_the_shifted_feature_alone():
    run = subprocess.run([*DEMO, "--json"], capture_output=True, timeout=300)
    assert run.returncode == 0, run.stderr.decode()
    figures = json.loads(run.stdout)
    assert (figures["ok"], figures["faults"]) == (True, [])
    assert (figures["rows"], figures["correct"]) == (569, figures["requests"])
    assert figures["accuracy"] == pytest.approx(0.965, abs=1e-3)
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]
    # The server's own count of what it ran agrees with what was sent.
    assert figures["batches"] * figures["mean_batch_rows"] == pytest.approx(
        figures["requests"], rel=0.1
    )
    told = figures["outcomes"]
    assert (told["outcomes"], told["drifting"]) == (569, [])
    value, low, high = told["figures"]["accuracy"]
    assert low < value < high
    assert value == pytest.approx(564 / 569)
    assert sum(n for _, n, _, _ in told["reliability"]) == 569
    first, found, least = told["error_rate"]
    assert first < 0.05 < least < found
    assert told["alarm"].startswith("concept_drift (critical)")
    wrong, good = figures["rollouts"]["taken_back"], figures["rollouts"]["promoted"]
    assert (wrong["state"], wrong["candidate"], wrong["baseline"]) == ("rolled_back", 2, 1)
    assert wrong["story"][-1]["says"].startswith("rolled back: failed: calibration: ")
    verdicts = {one["guard"]: one["verdict"] for one in wrong["story"][-1]["judgements"]}
    assert [name for name in verdicts if verdicts[name] == "fail"] == ["calibration"]
    assert (good["state"], good["candidate"], good["over"]) == ("promoted", 3, True)
    assert figures["rollouts"]["failed"] == 0
    drift = figures["drift"]
    name, before, after = drift["shifted"], drift["before"], drift["after"]
    assert (drift["named"], len(before), after.keys()) == ([name], 37, before.keys())
    assert [one for one in before.values() if one["alarm"] == "drift"] == []
    assert [one["name"] for one in after.values() if one["alarm"] == "drift"] == [name]
    assert before[name]["log10_e"] < 0 < after[name]["log10_e"]
    assert before[name]["psi"] < after[name]["psi"]
    assert before[name]["ks"] < 0.05 < after[name]["ks"]


@contextmanager
def keeping() -> Iterator[tuple[subprocess.Popen[bytes], list[str]]]:
    """A demo that stays, and the lines that it printed."""
    command = [*QUICK, "--keep", "--requests", "600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as demo:
        assert demo.stdout is not None
        lines = [demo.stdout.readline().decode()]
        while lines[-1] and "/metrics" not in lines[-1]:
            lines.append(demo.stdout.readline().decode())
        try:
            yield demo, lines
        finally:
            demo.kill()  # where the test has failed before it ended it


def test_the_demo_prints_one_table_and_lines_to_try_that_work_in_a_shell():
    with keeping() as (demo, lines):
        to_try = [line.strip() for line in lines if line.startswith("  curl ")]
        answers = [_run_line(line) for line in to_try]
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 0
    header, figures, *_ = lines
    assert re.split(r"  +", header.strip()) == [
        "rows", "requests", "correct", "accuracy", "requests/s", "p50 ms", "p99 ms", "batches",
        "mean batch rows",
    ]  # fmt: skip
    assert figures.split()[:3] == ["569", "600", "600"]
    assert len(answers) == 7
    assert [answer[:200] for answer in answers if not answer or answer.startswith('{"error"')] == []
    assert '"outputs"' in answers[1]
    assert '"features"' in answers[3]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_with_keep_it_serves_and_goes_when_told(number):
    with keeping() as (demo, lines):
        told = "".join(lines)
        found = re.search(r"curl (http://127\.0\.0\.1:\d+)/v2/models/breast_cancer\n", told)
        assert found is not None, told
        with Client(found[1]) as client:
            model = client.model("breast_cancer")
        os.kill(demo.pid, number)
        ended = demo.wait(60)
    assert (model.name, ended) == ("breast_cancer", 0)
    with Client(found[1]) as client, pytest.raises(Unreachable):
        client.live()


def _run_line(line: str) -> str:
    """What a curl line prints, with Python in curl's place: not every machine has it."""
    script = (
        "import sys, urllib.request as r\n"
        "url, *rest = sys.argv[2:]\n"
        "print(r.urlopen(url, rest[1].encode() if rest else None).read().decode())"
    )
    shell = f"curl() {{ {sys.executable} -c '{script}' curl \"$@\"; }}\n{line}"
    return subprocess.run(["bash", "-c", shell], capture_output=True, timeout=30).stdout.decode()
