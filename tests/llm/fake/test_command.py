"""The fake as a program of its own."""

from __future__ import annotations

import subprocess
import sys

import httpx


def test_the_command_answers_as_told_and_counts():
    command = [sys.executable, "-m", "loadtest.fake_provider", "--script", "tokens=3"]
    asked = {"model": "m", "messages": [{"role": "user", "content": "hello there"}]}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            url = process.stdout.readline().strip()
            transport = httpx.HTTPTransport(retries=10)  # it prints its address and then listens
            with httpx.Client(transport=transport, timeout=60) as http:
                answer = http.post(f"{url}/chat/completions", json=asked).json()
                counts = http.get(url.removesuffix("/v1") + "/fake/counts").json()
        finally:
            process.terminate()
    assert process.returncode == 0
    assert answer["usage"]["completion_tokens"] == 3
    assert (counts["answers"], counts["input"], counts["output"]) == (1, 3, 3)
