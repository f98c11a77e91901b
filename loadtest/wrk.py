"""Closed-loop load by wrk, for servers that a Python generator could not keep busy (nginx).

Knows wrk's command line, its Lua hooks and its report. Knows nothing of which server answers.
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from loadtest.bodies import Pool
from loadtest.servers import need, pinned

# Requests are rendered once, in init; request() only picks the next, from a random first one, so
# that turns do not repeat each other.
SCRIPT = """\
local pool, at = {{}}, 0
wrk.method = {method}
{headers}
function init(args)
  local file = assert(io.open({path}, "rb"))
  while true do
    local size = file:read("*n")
    if not size then break end
    file:read(1)
    pool[#pool + 1] = wrk.format(nil, nil, nil, size > 0 and file:read(size) or "")
  end
  file:close()
  math.randomseed(os.time())
  at = math.random(#pool)
end
function request()
  at = at % #pool + 1
  return pool[at]
end
"""
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True)
class Report:
    """One run: requests per second, latency in milliseconds, and whatever was not a 2xx answer."""

    rps: float
    p50_ms: float
    p99_ms: float
    errors: int


def write_script(path: Path, pool: Pool, method: str = "POST") -> Path:
    headers = [f"wrk.headers[{json.dumps(k)}] = {json.dumps(v)}" for k, v in pool.headers.items()]
    path.write_text(
        SCRIPT.format(
            method=json.dumps(method),
            headers="\n".join(headers),
            path=json.dumps(str(pool.path.resolve())),
        )
    )
    return path


def run(url: str, script: Path, seconds: int, connections: int, core: int) -> Report:
    """Loads `url` for whole seconds.

    Raises:
        CannotRun: wrk is not installed.
        RuntimeError: wrk failed.
    """
    need("wrk")
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}",
        "--latency",
        "-s",
        str(script),
        url,
    ]
    with pinned([core]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    if done.returncode:
        raise RuntimeError(f"wrk failed: {done.stdout[-500:]}{done.stderr[-500:]}")
    return parse(done.stdout)


def parse(text: str) -> Report:
    """Reads wrk's report."""
    found = re.findall(r"(\d+)%\s+([\d.]+)(us|ms|s|m)\b", text)
    percent = {name: float(value) * UNITS[unit] for name, value, unit in found}
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    lost = re.search(r"Socket errors:.*", text)
    return Report(
        rps=float(rate[1]) if rate else 0.0,
        p50_ms=percent.get("50", 0.0),
        p99_ms=percent.get("99", 0.0),
        errors=(int(bad[1]) if bad else 0)
        + sum(map(int, re.findall(r"\w+ (\d+)", lost[0]) if lost else [])),
    )
