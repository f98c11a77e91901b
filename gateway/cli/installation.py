"""Checks of `penstock doctor` that look at what is installed: packages, runtime, compiled kernels.

Knows this installation and what the configuration asks of it. A check changes nothing.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import os
import pkgutil
import platform
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from gateway.cli.findings import Case, Finding, writable
from gateway.config import is_loopback
from gateway.errors import ConfigInvalid


def check_python(_: Case) -> Iterator[Finding]:
    """The interpreter and the system under it."""
    version, system = platform.python_version(), platform.system()
    if system == "Linux":
        yield Finding("python", "ok", f"{version} on {system} {platform.machine()}")
    else:
        yield Finding("python", "warn", f"{version} on {system}", "serve on Linux")


def check_packages(_: Case) -> Iterator[Finding]:
    """Every required package, and whether its version is one that this release was tested with."""
    try:
        requirements = importlib.metadata.requires("penstock") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding(
            "packages", "warn", "penstock runs without being installed", "pip install -e ."
        )
        return
    faults = list(unmet(line for line in requirements if "extra ==" not in line))
    for name, found in faults:
        yield Finding("packages", "fail", found, f"pip install -c constraints.txt '{name}'")
    if not faults:
        uvicorn = importlib.metadata.version("uvicorn")
        yield Finding("packages", "ok", f"all within their bounds (uvicorn {uvicorn})")


# Builds that bring one import package under distribution names of their own.
_BUILDS = {"onnxruntime": ("onnxruntime", "onnxruntime-gpu")}


def unmet(
    requirements: Iterator[str], version_of: Callable[[str], str] = importlib.metadata.version
) -> Iterator[tuple[str, str]]:
    """The requirements (`name>=1.2,<2`) that are not met, each with what was found instead."""
    for line in requirements:
        requirement = line.split(";")[0].strip()
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        version = None
        for build in _BUILDS.get(name, (name,)):
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                version = version_of(build)
        if version is None:
            yield requirement, f"{name}: expected {requirement}, got none"
            continue
        bounds = re.findall(r"(>=|<)\s*([0-9.]+)", requirement)
        if not all(_within(version, sign, bound) for sign, bound in bounds):
            yield requirement, f"{name}: expected {requirement}, got {version}"


def _within(version: str, sign: str, bound: str) -> bool:
    have, limit = _numbers(version), _numbers(bound)
    return have >= limit if sign == ">=" else have < limit


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def check_runtime(case: Case) -> Iterator[Finding]:
    """ONNX Runtime's providers against the devices of this machine and those asked for."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    from gateway.devices import count_gpus

    title = f"onnxruntime {onnxruntime.__version__}"
    yield find_devices(case, title, onnxruntime.get_available_providers(), count_gpus())


def find_devices(case: Case, title: str, providers: Sequence[str], gpus: int) -> Finding:
    """What these providers and so many GPUs are worth to this configuration."""
    from gateway.devices import CUDA, VISIBLE, number

    has_cuda = CUDA in providers
    sections = {"defaults": case.config.defaults, **case.config.models}
    wanting = [name for name, section in sections.items() if section.device.startswith("cuda")]
    absent = [name for name in wanting if number(sections[name].device, 0) >= gpus]
    narrowed = f" ({VISIBLE}={os.environ[VISIBLE]})" if VISIBLE in os.environ else ""
    found = f"{title}: {', '.join(providers)}; {gpus} GPUs{narrowed}"
    install = "install the GPU runtime: pip install 'penstock[gpu]' (README.md, GPU)"
    if wanting and not (has_cuda and gpus):
        what = f"{found}; device cuda is asked for by {', '.join(wanting)}"
        missing = install if gpus else "no GPU is visible here: set device to auto or cpu"
        return Finding("runtime", "fail", what, missing)
    if absent:
        what = f"{found}; a GPU that is not there is asked for by {', '.join(absent)}"
        return Finding("runtime", "fail", what, f"name one of cuda:0 to cuda:{gpus - 1}, or cuda")
    if gpus and not has_cuda:
        return Finding("runtime", "warn", found, install)
    return Finding("runtime", "ok", found)


def check_kernels(case: Case) -> Iterator[Finding]:
    """Whether compiled kernels can be kept, and are."""
    folder = Path(os.environ.get("NUMBA_CACHE_DIR", case.home / "cache" / "numba"))
    if not writable(folder):
        yield Finding(
            "kernel cache",
            "warn",
            f"{folder}: not writable, so every start compiles anew",
            "give --home or NUMBA_CACHE_DIR a writable folder",
        )
    elif _all_kept(folder):
        yield Finding("kernel cache", "ok", f"{folder}: filled")
    else:
        yield Finding("kernel cache", "ok", f"{folder}: not filled yet; the next start does that")


def _all_kept(folder: Path) -> bool:
    import kernels
    from kernels import _jit

    for module in pkgutil.iter_modules(kernels.__path__):
        importlib.import_module(f"kernels.{module.name}")
    return _jit.all_kept(folder)


def check_tracing(case: Case) -> Iterator[Finding]:
    """Whether spans can be exported, where they are to be."""
    from gateway.control import tracing

    settings = case.config.tracing
    if settings.endpoint is None:
        return
    try:
        tracing.check(settings)
    except ConfigInvalid as error:
        yield Finding("tracing", "fail", str(error), "or leave tracing.endpoint out")
        return
    says = "unless the caller says" if settings.follow_caller else "whatever the caller says"
    yield Finding("tracing", "ok", f"{settings.sample:.2%} of traces, {says}, to {settings.url}")
    target = urlsplit(settings.url)
    if settings.headers_file and target.scheme == "http" and not is_loopback(target.hostname or ""):
        found = f"{settings.headers_file} goes to {target.hostname} unencrypted"
        yield Finding("tracing", "warn", found, "let tracing.endpoint begin with https://")


CHECKS = (check_python, check_packages, check_runtime, check_kernels, check_tracing)
