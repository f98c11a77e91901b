"""`penstock demo llm` against the server and the fake provider that it starts."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import urllib.request

import openai

COMMAND = [sys.executable, "-m", "gateway", "demo", "llm", "--keep"]


def test_the_demo_of_language_models_adds_up_and_says_what_to_try():
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        lines = [demo.stdout.readline()]
        while lines[-1] and "ANTHROPIC_BASE_URL" not in lines[-1]:
            lines.append(demo.stdout.readline())
        try:
            rows = {cells[0]: cells[1:] for line in lines[1:7] if (cells := _cells(line))}
            told = _tried([line.strip() for line in lines if line.startswith("  curl ")])
            chat = _asked("".join(lines))
        finally:
            demo.send_signal(signal.SIGINT)
    assert demo.returncode == 0, lines
    assert lines[0].split()[:4] == ["what", "requests", "streams", "answered"]
    for model in ("assistant", "claude"):
        whole, streamed = rows[f"{model}, whole"], rows[f"{model}, streamed"]
        assert whole[:3] == ["100", "0", "100"]
        assert streamed[:3] == ["0", "100", "100"]
        assert whole[3:] == streamed[3:]
    assert 0 < float(rows["a key with 0.002 USD"][4]) <= 0.002
    assert "fault" not in "".join(lines)
    assert '"chat.completion"' in told[0]
    assert told[1].rstrip().endswith("data: [DONE]")
    assert '"claude"' in told[2]
    assert "penstock_" in told[3]
    assert chat


def _cells(line: str) -> list[str]:
    return re.split(r"  +", line.strip())


def _tried(lines: list[str]) -> list[str]:
    """What curl would print, by Python in its place: not every machine has it."""
    told = []
    for line in lines:
        _, url, *options = shlex.split(line)
        given = dict(zip(options[::2], options[1::2], strict=True))
        name, _, value = given.get("-H", "accept: */*").partition(": ")
        data = given["-d"].encode() if "-d" in given else None
        with urllib.request.urlopen(urllib.request.Request(url, data, {name: value})) as answer:
            told.append(answer.read().decode())
    return told


def _asked(told: str) -> str | None:
    """What the stock client gets who is pointed at it."""
    found = re.search(r"OPENAI_BASE_URL=(\S+) OPENAI_API_KEY=(\S+)", told)
    assert found is not None, told
    with openai.OpenAI(base_url=found[1], api_key=found[2]) as client:
        asked = client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "hello"}]
        )
    return asked.choices[0].message.content
