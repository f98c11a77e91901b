"""Renders results as a Markdown page: what was wanted, what was measured, where and when.

Knows the results document. Knows nothing of how the figures came about.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LATEST = HERE / "results" / "latest.json"
PAGE = HERE / "RESULTS.md"
README = HERE.parent / "README.md"
BEGIN, END = "<!-- measured: written by loadtest -->", "<!-- end of measured -->"
PACKAGES = (
    "onnxruntime",
    "numpy",
    "numba",
    "uvicorn",
    "uvloop",
    "httptools",
    "orjson",
    "starlette",
)
PROGRAMS = {"nginx": ["nginx", "-v"], "wrk": ["wrk", "-v"]}
_HARDWARE = ("cpu", "cores")
_MAY_DIFFER = ("kernel", "python")
"""Of a machine, among results that stand on one page."""

# ---------------------------------------------------------------- where and when


def machine() -> dict[str, Any]:
    """The machine and the versions that figures depend on."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": _python(),
        "versions": {name: _version(name) for name in PACKAGES}
        | {name: _said(command) for name, command in PROGRAMS.items()},
    }


def _python() -> str:
    """The interpreter's version and who built it: builds of one version differ by a sixth."""
    version = platform.python_version()
    debian = sys.base_prefix == "/usr" and Path("/etc/debian_version").exists()
    return f"{version} of Debian" if debian else version


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _said(command: Sequence[str]) -> str:
    """The version that a program states."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except OSError:
        return "not installed"
    found = re.search(r"\d+\.[\w.+~-]*", done.stdout + done.stderr)
    return found[0] if found else "?"


def commit() -> dict[str, Any]:
    """The commit that is measured, and whether the tree differs from it."""

    def git(*args: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "--no-optional-locks", *args],
                capture_output=True,
                text=True,
                cwd=HERE.parent,
                timeout=10,
            )
        except OSError:
            return None
        return None if done.returncode else done.stdout.strip()

    own = (f":(exclude){path.relative_to(HERE.parent)}" for path in (PAGE, LATEST.parent, README))
    changed = git("status", "--porcelain", "--", ".", *own)
    return {"commit": git("rev-parse", "--short=12", "HEAD"), "dirty": bool(changed)}


def tell(found: Mapping[str, Any], kept: Path | None) -> None:
    """Prints what a simulation found as a line of JSON, with its commit; `kept` gets it, too."""
    line = json.dumps(dict(found) | commit())
    print(line)
    if kept is not None:
        with kept.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def stamp(result: Mapping[str, Any], rounds: int) -> dict[str, Any]:
    """A result with its time, commit, number of rounds, and what it ran on."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    on = {name: machine()[name] for name in _MAY_DIFFER}
    return dict(result) | commit() | {"date": now, "rounds": rounds} | on


# ---------------------------------------------------------------- the document


def merge(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> dict[str, Any]:
    """New results in place of old ones of the same name; another machine's are dropped.

    Another kernel or interpreter on the same processor is no other machine: a result says where it
    was not taken on those that the newest were.
    """
    if not old or any(old["machine"][name] != new["machine"][name] for name in _HARDWARE):
        return dict(new)
    on = {name: old["machine"][name] for name in _MAY_DIFFER}
    fresh = {result["name"]: result for result in new["results"]}
    kept = [fresh.pop(result["name"], on | result) for result in old["results"]]
    return dict(new) | {"results": kept + list(fresh.values())}


def read(path: Path) -> dict[str, Any] | None:
    """A results document, or None where there is none."""
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return document


def write(document: Mapping[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".json.tmp")
    aside.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    aside.replace(path)


# ---------------------------------------------------------------- the page


def render(document: Mapping[str, Any]) -> str:
    """The whole page."""
    lines = [
        "# Load test results",
        "",
        "Written by `python -m loadtest` (`make bench`); not edited by hand. Figures are medians",
        "over turns; the interval holds the true median with at least 90 % probability. The server",
        "with all its processes has one core and the load another, unless a line says otherwise.",
        "",
        *_origin(document),
        "",
        *_table(document),
        "",
        "## Details",
        "",
        *(line for one in document["results"] for line in _details(one, document["machine"])),
    ]
    return "\n".join(lines).rstrip() + "\n"


def insert(document: Mapping[str, Any], readme: str) -> str:
    """The README with the table and where it comes from between its two marks."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README: expected {BEGIN!r} and {END!r}")
    lines = [BEGIN, "", *_origin(document), "", *_table(document), "", END]
    return before + "\n".join(lines) + after


def _table(document: Mapping[str, Any]) -> list[str]:
    return [
        "| what | target | measured | 90 % interval | turns | reached |",
        "|---|---|---|---|---|---|",
        *(row for result in document["results"] for row in _rows(result)),
    ]


def _origin(document: Mapping[str, Any]) -> list[str]:
    where = document["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in where["versions"].items())
    commits = sorted({_commit(result) for result in document["results"]})
    dates = sorted(result["date"] for result in document["results"])
    when = " to ".join(dict.fromkeys((dates[0], dates[-1]))) if dates else "never"
    return [
        f"- Machine: {where['cpu']}, {where['cores']} cores, {_all(document, 'kernel')}",
        f"- Python {_all(document, 'python')}; {versions}",
        f"- Commit: {', '.join(commits) or 'none'}",
        f"- Date: {when}",
    ]


def _all(document: Mapping[str, Any], name: str) -> str:
    """What of a machine results were taken on; `_details` says which of them where they differ."""
    usual = document["machine"][name]
    return " or ".join(sorted({usual} | {one.get(name, usual) for one in document["results"]}))


def _commit(result: Mapping[str, Any]) -> str:
    name = result["commit"] or "none yet"
    return f"{name} with uncommitted changes" if result["dirty"] else name


def _rows(result: Mapping[str, Any]) -> Iterable[str]:
    title = _cell(result["title"])
    if result.get("skipped"):
        yield f"| {title} | | skipped: {_cell(result['skipped'])} | | | |"
        return
    if not result["measures"]:
        yield f"| {title} | | failed: {_cell(result['detail'].get('error', '?'))} | | | no |"
        return
    faults = result.get("faults", 0)
    for number, measure in enumerate(result["measures"]):
        low, high = (figure(end) for end in measure["interval90"])
        verdict = {True: "yes", False: "no", None: "-"}[measure["reached"]]
        if faults:
            verdict = f"no ({faults} faults)"
        unit = f" {measure['unit']}" if measure["unit"] else ""
        cells = (
            title if number == 0 else "",
            _cell(measure["target"]),
            f"{figure(measure['median'])}{unit}",
            f"{low} to {high}",
            str(measure["n_turns"]),
            verdict,
        )
        yield f"| {' | '.join(cells)} |"


def _elsewhere(result: Mapping[str, Any], where: Mapping[str, Any]) -> str:
    """What a result was taken on, as far as it is not what the page names at its head."""
    names = [name for name in _MAY_DIFFER if result.get(name, where[name]) != where[name]]
    told = [f"Python {result[name]}" if name == "python" else result[name] for name in names]
    return f", on {' and '.join(told)}" if told else ""


def _details(result: Mapping[str, Any], where: Mapping[str, Any]) -> Iterable[str]:
    if not result.get("detail"):
        return
    yield f"### {result['name']}"
    yield ""
    for name, value in result["detail"].items():
        yield f"- {name}: {_plain(value)}"
    yield f"- taken {result['date']}, {_commit(result)}{_elsewhere(result, where)}"
    yield ""


def figure(value: float) -> str:
    """Three significant digits, and no digits after the point where the number is large."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(each)}" for name, each in value.items())
    if isinstance(value, list):
        return "; ".join(_plain(each) for each in value)
    if isinstance(value, float):
        return figure(value)
    return _cell(str(value))


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
