"""Checks of `penstock doctor` that look at the machine: cores, memory, descriptors, ports, folders.

Knows this machine and what the configuration asks of it. A check changes nothing that it does not
put back.
"""

from __future__ import annotations

import http.client
import json
import os
import resource
import shutil
import socket
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from gateway.cli.findings import Case, Finding, nearest, writable
from gateway.cli.serve import file_limit
from gateway.errors import ConfigInvalid

# Measured with the demo model; a large model needs its own weights on top, in each worker.
WORKER_BYTES = 200 << 20
# Beside client connections a worker holds models, logs, the arena and its links to the others.
OTHER_DESCRIPTORS = 256
MIN_FREE_BYTES = 1 << 30
# Certificates that renew themselves are renewed a month before they end: fewer days mean that
# something has failed.
FEW_DAYS = 14


def check_ports(case: Case) -> Iterator[Finding]:
    """Whether the two ports can be bound, or who holds them."""
    from gateway.cli.running import find

    running = find(case.home) or {}
    wanted = (
        ("data port", case.config.server.host, case.config.server.port, running.get("port")),
        (
            "control port",
            case.config.control.host,
            case.config.control.port,
            running.get("admin_port"),
        ),
    )
    for name, host, port, held in wanted:
        fault = _bind_fault(host, port)
        if not fault:
            yield Finding(name, "ok", f"{host}:{port} is free" if port else "any free one")
        elif port == held:
            yield Finding(
                name, "ok", f"{host}:{port} is held by this home's server, pid {running['pid']}"
            )
        else:
            other = f"{host}:{port}: {_holder(host, port) or fault}"
            yield Finding(name, "fail", other, "stop what listens there, or choose another port")


def _bind_fault(host: str, port: int) -> str:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _holder(host: str, port: int) -> str:
    """Names the program on a port where that is another penstock; empty where it is not."""
    with closing(http.client.HTTPConnection(host, port, timeout=1.0)) as connection:
        try:
            connection.request("GET", "/v2")
            answer = json.loads(connection.getresponse().read(65_536))
        except (OSError, http.client.HTTPException, ValueError):
            return ""
    named = isinstance(answer, dict) and answer.get("name") == "penstock"
    return "held by a penstock server with another home" if named else ""


def check_home(case: Case) -> Iterator[Finding]:
    """Whether the home can be written, SQLite can lock there, and the disk has room."""
    ground = nearest(case.home)
    advice = "choose another folder with --home or PENSTOCK_HOME"
    if not writable(case.home):
        yield Finding("home", "fail", f"{case.home}: not a folder that can be written", advice)
        return
    fault = _sqlite_fault(ground)
    if fault:
        yield Finding(
            "home", "fail", f"{case.home}: SQLite cannot keep state there: {fault}", advice
        )
        return
    free = shutil.disk_usage(ground).free
    found = f"{case.home}: writable, {free >> 30} GiB free"
    if free < MIN_FREE_BYTES:
        yield Finding(
            "home", "warn", found, "make room: registered models and state are kept there"
        )
    else:
        yield Finding("home", "ok", found)


def _sqlite_fault(ground: Path) -> str:
    """Why a write-ahead log cannot be kept in a folder (network file systems), or nothing."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix=".penstock-doctor-", dir=ground) as folder,
            closing(sqlite3.connect(Path(folder) / "probe.sqlite")) as probe,
        ):
            mode = probe.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            probe.execute("CREATE TABLE probe (value INTEGER)")
            probe.commit()
    except (OSError, sqlite3.Error) as error:
        return str(error)
    return "" if mode == "wal" else f"expected journal mode wal, got {mode}"


def check_descriptors(case: Case) -> Iterator[Finding]:
    """Whether a worker may open as many descriptors as it may hold connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = file_limit(soft, hard)
    most = case.config.limits.max_connections
    needed = most + OTHER_DESCRIPTORS
    found = f"{_count(limit)} open files; limits.max_connections is {most}"
    if limit == resource.RLIM_INFINITY or limit >= needed:
        yield Finding("open files", "ok", found)
    else:
        below = limit - OTHER_DESCRIPTORS
        raised = f"ulimit -n {needed}" + (
            "" if hard >= needed else " (as root: the hard limit is lower)"
        )
        yield Finding("open files", "warn", found, f"{raised}, or limits.max_connections: {below}")


def check_memory(case: Case) -> Iterator[Finding]:
    """Whether the workers fit into memory and into the cgroup's share of it."""
    workers = case.config.server.workers or default_workers(case)[0]
    room, needed = memory_bytes(), workers * WORKER_BYTES
    found = (
        f"{room >> 20} MiB usable, about {needed >> 20} MiB for {workers} workers and small models"
    )
    if room < needed:
        yield Finding("memory", "warn", found, f"server.workers: {max(1, room // WORKER_BYTES)}")
    else:
        yield Finding("memory", "ok", found)


def memory_bytes(
    meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")
) -> int:
    """What a new server could use: available memory, or what the cgroup leaves if that is less."""
    lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
    available = int(lines["MemAvailable"].split()[0]) << 10
    try:
        most = (cgroup / "memory.max").read_text().strip()
        used = (cgroup / "memory.current").read_text().strip()
    except OSError:
        return available
    return available if most == "max" else min(available, int(most) - int(used))


def check_cores(case: Case) -> Iterator[Finding]:
    """Whether workers and cores match."""
    cores, workers = usable_cores(), case.config.server.workers
    count, why = (workers, "") if workers else default_workers(case)
    found = f"{cores} usable, {count} workers{why}"
    if workers and workers > cores:
        yield Finding("cores", "warn", found, f"server.workers: {cores}, or leave it out")
    else:
        yield Finding("cores", "ok", found)


def usable_cores() -> int:
    """As the supervisor counts them."""
    from gateway.processes import usable_cores as counted

    return counted()


def default_workers(case: Case) -> tuple[int, str]:
    """How many workers a server would start by itself, and for what, where that is no core."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    from gateway import devices

    gpus = devices.count_gpus() if devices.CUDA in onnxruntime.get_available_providers() else 0
    on_gpus = devices.used_gpus(case.config, gpus)
    count = devices.default_workers(case.config, gpus, usable_cores())
    return count, f" (one for each of {on_gpus} GPUs)" if on_gpus else ""


def check_certificates(case: Case) -> Iterator[Finding]:
    """Whether certificate files can serve, and how long they still may."""
    from gateway.tls import Certificates

    for port, section in (("server", case.config.server), ("control", case.config.control)):
        if section.tls is None:
            continue
        name, place = f"{port} TLS", f"{port}.tls"
        try:
            found = Certificates(section.tls, place)
        except ConfigInvalid as error:
            yield Finding(name, "fail", str(error), "correct the files or the paths to them")
            continue
        days = int((found.expires - time.time()) // 86_400)
        advice = "renew the certificate: new files take over without a restart"
        if found.fault:
            yield Finding(name, "warn", found.fault, advice)
        elif days < FEW_DAYS:
            yield Finding(name, "warn", f"the certificate expires in {days} days", advice)
        else:
            yield Finding(name, "ok", f"the certificate expires in {days} days")


def check_leftovers(case: Case) -> Iterator[Finding]:
    """Whether a killed backup or restore left copies of the state behind."""
    from gateway.control import leftovers

    names = ", ".join(folder.name for folder in leftovers.found(case.home))
    half = leftovers.half_placed(case.home)
    if names and half:
        yield Finding(
            "leftovers",
            "fail",
            f"{names}: a restore was killed; of it there is {', '.join(half)}, and no database",
            "restore again: that removes first what there is of this one",
        )
        return
    if names:
        yield Finding(
            "leftovers",
            "warn",
            f"{names}: a backup or restore was killed; the secret may be in it",
            "the next backup or restore, or start of the server, removes it",
        )
    else:
        yield Finding("leftovers", "ok", "no backup or restore left anything behind")


def check_models(case: Case) -> Iterator[Finding]:
    """Whether the paths in the configuration lead anywhere."""
    named = {f"models.{name}.path": model.path for name, model in case.config.models.items()}
    folders = {
        f"repository.paths[{n}]": path for n, path in enumerate(case.config.repository.paths)
    }
    missing = [
        Finding("models", "fail", f"{place}: {path}: no such file or folder", "correct the path")
        for place, path in (named | folders).items()
        if path is not None and not path.exists()
    ]
    yield from missing
    if not missing:
        language = len(case.config.llm.models)
        asked = f"; language models: {language}" if language else ""
        told = f"{len(named)} models and {len(folders)} folders configured{asked}"
        yield Finding("models", "ok", told)


def _count(number: int) -> str:
    return "unlimited" if number == resource.RLIM_INFINITY else str(number)


CHECKS = (
    check_cores,
    check_memory,
    check_descriptors,
    check_ports,
    check_home,
    check_leftovers,
    check_certificates,
    check_models,
)
