"""Who may import whom, and what no file may say."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted([*ROOT.glob("gateway/**/*.py"), *ROOT.glob("kernels/**/*.py")])

GROUND = {"errors", "names", "config", "layers", "exchange", "tensors", "plan"}
DATA_PLANE = {"inference", "catalogue", "follower", "openinference", "serving", "monitor", "wire"}

# A room is a package or module directly under gateway/ (or all of kernels/). What is not named
# beside a room, it does not know.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "names": {"errors"},
    "yaml_text": {"errors"},
    "tensors": set(),
    "exchange": set(),
    "plan": {"taken"},
    "taken": set(),
    "digests": set(),
    "spans": set(),
    "config": {"access", "errors", "names", "yaml_text"},
    "access": {"errors"},
    "layers": {"errors", "config"},
    "channel": {"errors"},
    "doorbell": set(),
    "handover": {"errors"},
    "sockets": {"errors"},
    "tls": {"errors", "config"},
    "processes": set(),
    "keepsake": set(),
    "logs": set(),
    "devices": {"config"},
    "kernels": set(),
    "models": {"errors", "names", "tensors", "config"},
    "wire": {"access", "errors", "exchange", "tensors", "config", "kernels", "spans"},
    "serving": GROUND | {"models", "kernels", "devices"},
    "capture": {"errors", "tensors", "kernels", "outcomes"},
    "monitor": {"capture", "contracts", "digests", "errors", "kernels", "profiles", "tensors"},
    "profiles": {"errors", "tensors", "kernels"},
    "contracts": {"errors", "tensors", "kernels", "profiles"},
    "client": {"errors", "tensors", "wire"},
    "drift": {"errors", "kernels", "profiles"},
    "alerts": {"config"},
    "outcomes": {"digests", "errors", "kernels", "names"},
    "rows": {"errors", "tensors", "client"},
    "llm": GROUND
    | {"access", "afterwards", "kernels", "monitor", "routing", "spans", "wire", "serving"},
    "embeddings": GROUND | {"catalogue", "inference", "llm", "routed", "serving", "wire"},
    "afterwards": {"monitor", "serving", "tensors"},
    "inference": GROUND | {"afterwards", "serving", "monitor", "wire"},
    "catalogue": GROUND | {"serving", "inference", "llm"},
    "openinference": GROUND
    | {"access", "models", "catalogue", "inference", "serving", "monitor", "outcomes", "wire"},
    "routing": {"errors", "kernels", "plan"},
    "experiments": {"config", "errors", "kernels", "outcomes"},
    "rollouts": {"config", "errors", "kernels", "outcomes"},
    "routed": GROUND | {"catalogue", "inference", "kernels", "routing", "serving", "wire"},
    "shadows": GROUND | {"afterwards", "catalogue", "inference", "kernels", "monitor", "serving"},
    "tables": set(),
    "follower": GROUND | {"catalogue", "serving", "channel", "tables"},
    "prepared": {"contracts", "errors", "profiles", "taken", "tensors"},
    "sketches": GROUND
    | {"afterwards", "capture", "catalogue", "monitor", "prepared", "profiles", "taken"},
    "labels": {"config", "errors", "monitor", "profiles", "tensors"},
    "profiling": GROUND | {"client", "labels", "rows", "profiles", "serving"},
    "trial": GROUND | {"serving", "logs"},
    "inherited": GROUND | {"channel", "handover", "keepsake", "monitor", "sockets", "tls"},
    "worker": GROUND
    | DATA_PLANE
    | {
        "access",
        "tables",
        "devices",
        "inherited",
        "llm",
        "channel",
        "doorbell",
        "embeddings",
        "handover",
        "processes",
        "routed",
        "routing",
        "shadows",
        "sketches",
        "sockets",
        "spans",
        "tls",
        "logs",
    },
    "control": GROUND
    | {
        "access",
        "alerts",
        "capture",
        "contracts",
        "tables",
        "taken",
        "inherited",
        "channel",
        "drift",
        "experiments",
        "handover",
        "keepsake",
        "models",
        "monitor",
        "outcomes",
        "profiles",
        "rollouts",
        "kernels",
        "llm",
        "spans",
        "tls",
        "logs",
        "wire",
    },
    "supervisor": GROUND
    | {"inherited", "channel", "handover", "keepsake", "monitor", "sockets", "processes", "tls"},
    "cli": GROUND
    | {
        "llm",
        "access",
        "alerts",
        "capture",
        "supervisor",
        "processes",
        "devices",
        "inherited",
        "logs",
        "contracts",
        "control",
        "worker",
        "trial",
        "experiments",
        "models",
        "kernels",
        "client",
        "outcomes",
        "rows",
        "profiles",
        "profiling",
        "tls",
        "yaml_text",
    },
    "__main__": {"cli"},
}

# Packages of others that only some rooms may know, whatever room they would be handy in.
ONLY_IN: dict[str, set[str]] = {
    "onnxruntime": {"serving", "control", "cli"},  # control tells its version and providers
    "numba": {"kernels"},
    "httptools": {"wire", "llm"},
    "uvicorn": {"wire", "worker", "control"},
    "starlette": {"wire", "openinference", "llm", "worker", "control"},
    "prometheus_client": {"control"},
    "pydantic": {"config", "control"},
    "sqlite3": {"control", "cli"},
    "yaml": {"yaml_text"},
    "httpx": {"client", "control"},
    "jwt": {"access"},
    "pyarrow": {"capture", "rows"},
    "opentelemetry": {"control"},
    "tokenizers": {"serving"},
}


def room_of(dotted: str) -> str:
    """`gateway.wire.oip` -> `wire`; `kernels.psi` -> `kernels`; others: their top-level name."""
    parts = dotted.split(".")
    return parts[1] if parts[0] == "gateway" and len(parts) > 1 else parts[0]


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            whole = module == "gateway"  # `from gateway import worker` means the room
            yield from (f"{module}.{alias.name}" if whole else module for alias in node.names)


def place_of(path: Path) -> str:
    return room_of(".".join(path.relative_to(ROOT).with_suffix("").parts))


def test_every_room_stands_in_the_table() -> None:
    rooms = {place_of(path) for path in MODULES} - {"__init__"}
    assert rooms - set(MAY_IMPORT) == set()


def test_imports_go_down_only() -> None:
    # The version alone lies in gateway itself.
    faults = [
        f"{path.relative_to(ROOT)}: {place} may not import {name}"
        for path in MODULES
        if (place := place_of(path)) != "__init__"
        for name in imports_of(path)
        if name.split(".")[0] in {"gateway", "kernels"}
        and name not in {"gateway", "gateway.__version__"}
        if room_of(name) not in MAY_IMPORT[place] | {place}
    ]
    assert faults == []


def test_control_knows_of_the_wire_how_a_port_is_guarded_and_no_format() -> None:
    known = {
        (path.stem, name)
        for path in MODULES
        if place_of(path) == "control"
        for name in imports_of(path)
        if room_of(name) == "wire"
    }
    guards = ("acceptor", "http", "services")
    assert known == {("port", f"gateway.wire.{module}") for module in guards}


def test_the_table_has_no_circle() -> None:
    def below(room: str, path: tuple[str, ...] = ()) -> None:
        assert room not in path, " > ".join([*path, room])
        for next_room in MAY_IMPORT[room]:
            below(next_room, (*path, room))

    for room in MAY_IMPORT:
        below(room)


@pytest.mark.parametrize(("package", "rooms"), ONLY_IN.items(), ids=list(ONLY_IN))
def test_a_package_is_known_only_where_it_belongs(package: str, rooms: set[str]) -> None:
    strangers = {
        place_of(path)
        for path in MODULES
        for name in imports_of(path)
        if name.split(".")[0] == package
    }
    assert strangers - rooms == set()


def test_kernels_import_numpy_and_numba_alone() -> None:
    standard = {
        "__future__",
        "collections",
        "contextlib",
        "dataclasses",
        "functools",
        "gc",
        "hashlib",
    }
    standard |= {"itertools", "math", "os", "pathlib", "statistics", "time", "typing"}
    found = {
        name.split(".")[0]
        for path in MODULES
        if place_of(path) == "kernels"
        for name in imports_of(path)
    }
    assert found - standard == {"numpy", "numba", "kernels"} & found


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in MODULES
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_the_future_annotations_import_is_everywhere() -> None:
    without = [
        str(path.relative_to(ROOT))
        for path in MODULES
        if path.name != "__init__.py"
        if "__future__" not in set(imports_of(path))
    ]
    assert without == []


# Written apart, so that this file does not hold what it looks for.
UNWANTED = {
    "a path of one machine": r"(^|[^\w.])/(" + "|".join(["work", "farm", "home", "root"]) + r")/\w",
    "a package registry": r"py"
    + r"pi\.|files\.python"
    + r"hosted|registry\.np"
    + r"mjs|index-"
    + "url",
}


def kept_files() -> list[Path]:
    """What is, or would be, committed."""
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(git, cwd=ROOT, check=True, capture_output=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: what is kept cannot be told from what was built")
    return [ROOT / name for name in names.decode().split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("pattern", UNWANTED.values(), ids=UNWANTED.keys())
def test_no_file_names(pattern: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100].decode(errors='replace')}"
        for path in kept_files()
        for number, line in enumerate(path.read_bytes().splitlines(), 1)
        if re.search(pattern.encode(), line)
    ]
    assert found == []
