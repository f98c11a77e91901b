"""The files around the code agree with the code, and with one another."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest

import gateway

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONSTRAINTS = (ROOT / "constraints.txt").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    lines = [line for line in CONSTRAINTS.splitlines() if line and not line.startswith("#")]
    return {normal(line.split("==")[0]): line.split("==")[1] for line in lines}


# ---- dependencies ----


def test_constraints_are_exact_and_name_no_place():
    lines = [line for line in CONSTRAINTS.splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    assert "://" not in CONSTRAINTS


def test_everything_that_is_asked_for_is_pinned():
    extras = PROJECT["project"]["optional-dependencies"]
    asked = [*PROJECT["project"]["dependencies"], *extras["dev"]]
    names = {normal(re.split(r"[^\w.-]", line)[0]) for line in asked}
    assert names - set(pins()) == set()


def test_everything_that_those_need_is_pinned_too():
    def needs(name: str) -> set[str]:
        lines = importlib.metadata.requires(name) or []
        return {normal(re.split(r"[^\w.-]", line)[0]) for line in lines if ";" not in line}

    installed = {normal(found.name) for found in importlib.metadata.distributions()}
    missing = {need for name in pins() if name in installed for need in needs(name)} - set(pins())
    assert missing == set()


def test_uvicorn_is_bounded_above():
    (line,) = [line for line in PROJECT["project"]["dependencies"] if line.startswith("uvicorn")]
    assert re.search(r",<0\.\d+$", line)


# ---- names ----


def test_the_version_stands_in_one_place():
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "gateway.__version__"}
    assert importlib.metadata.version("penstock") == gateway.__version__


def test_what_is_not_released_stands_on_top_of_the_changelog():
    sections = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sections[0] == "Unreleased"


def test_the_command_is_penstock():
    assert PROJECT["project"]["scripts"] == {"penstock": "gateway.cli:main"}


def test_the_license_is_whole():
    license_text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in license_text
    assert "END OF TERMS AND CONDITIONS" in license_text
    assert PROJECT["project"]["license"] == "Apache-2.0"


def test_what_the_demo_serves_is_packaged():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["gateway"]
    packaged = {path.name for pattern in patterns for path in (ROOT / "gateway").glob(pattern)}
    assert {"breast_cancer.onnx", "breast_cancer.csv", "py.typed"} <= packaged


# ---- make ----


@pytest.mark.parametrize(
    "target", ["setup", "demo", "test", "lint", "types", "format", "bench", "clean"]
)
def test_make_has_the_target_and_says_what_it_is(target):
    assert re.search(rf"^{target}:.*## \w", MAKEFILE, re.MULTILINE)


def test_setup_comes_first_and_only_when_something_changed():
    assert re.search(r"^\$\(STAMP\): pyproject.toml constraints.txt$", MAKEFILE, re.MULTILINE)
    for target in ("demo", "lint", "types", "bench"):
        assert re.search(rf"^{target}: setup", MAKEFILE, re.MULTILINE)


def test_the_ci_runs_make_test():
    script = ROOT / ".ci" / "run"
    assert "make test || again" in script.read_text().splitlines()
    assert script.stat().st_mode & 0o111


# ---- container ----


def test_the_container_runs_as_nobody_special():
    last_stage = DOCKERFILE.rsplit("\nFROM ", 1)[1]
    user = re.findall(r"^USER (\S+)$", last_stage, re.MULTILINE)
    assert user == ["penstock"]
    assert last_stage.index("USER ") < last_stage.index("ENTRYPOINT ")


def test_the_containers_health_check_asks_a_path_that_is_served():
    from gateway.client import calls

    asked = re.search(r"http://127\.0\.0\.1:(\d+)(/[\w/]+)", DOCKERFILE)
    assert asked is not None
    assert asked[1] == "8000"
    # tests/end_to_end shows that the path is served: every server there is ready by its answer.
    assert asked[2] == calls.ready(None, None).path


def test_the_container_keeps_state_in_its_volume():
    assert "PENSTOCK_HOME=/var/lib/penstock" in DOCKERFILE
    assert "VOLUME /var/lib/penstock" in DOCKERFILE


def test_the_image_is_built_from_what_the_ignore_file_lets_through():
    allowed = [
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert sorted(name for line in copied for name in line.split()) == sorted(allowed)


def test_a_build_argument_chooses_the_gpu_runtime():
    assert re.search(r"^ARG RUNTIME=cpu$", DOCKERFILE, re.MULTILINE)
    assert "'.[gpu]'" in DOCKERFILE
