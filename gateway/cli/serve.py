"""`penstock serve`: prepares configuration and environment, hands over to the supervisor.

Knows flags and what must be set before anything heavy is imported. Knows nothing of what serving
is.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import logging
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import IO, Any

from gateway.errors import ConfigInvalid

log = logging.getLogger("penstock.supervisor")

DEFAULT_HOME = ".penstock"
# Far above `limits.max_connections`; some kernels give every process a table of the full size.
MAX_FILES = 65_536


def configure(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "serve",
        help="serve models over HTTP",
        description="Serves ONNX files, model repositories and registered models until SIGTERM.",
    )
    parser.add_argument(
        "models",
        nargs="*",
        type=Path,
        metavar="MODEL",
        help="an ONNX file, served under its stem, or a folder NAME/VERSION/model.onnx",
    )
    parser.add_argument("--config", type=Path, help="YAML document (penstock config schema)")
    add_home(parser)
    parser.add_argument("--host", help="where the data port listens (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="data port (default 8000; 0: a free one)")
    parser.add_argument("--admin-port", type=int, help="control port on loopback (default 8002)")
    parser.add_argument(
        "--workers",
        type=int,
        help="worker processes (default: one per GPU in use, else one per usable core)",
    )
    parser.add_argument(
        "--log-format", choices=["text", "json"], help="lines on standard error (default text)"
    )
    parser.add_argument("--json", action="store_true", help="announce readiness as one JSON line")
    parser.set_defaults(run=run)


def add_home(parser: argparse.ArgumentParser) -> None:
    """Adds `--home`, which every command that touches state has."""
    parser.add_argument(
        "--home",
        type=Path,
        default=Path(os.environ.get("PENSTOCK_HOME", DEFAULT_HOME)),
        help="folder of all state (default: $PENSTOCK_HOME, else ./.penstock)",
    )


def run(args: argparse.Namespace) -> int:
    """Serves; returns when the server has stopped."""
    # Until the supervisor listens to it, a reload has nothing to reload.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from gateway import config, logs

    document = config.load(args.config)
    overrides = {
        "server": {
            key: value
            for key, value in (("host", args.host), ("port", args.port), ("workers", args.workers))
            if value is not None
        },
        "control": {} if args.admin_port is None else {"port": args.admin_port},
        "log": {} if args.log_format is None else {"format": args.log_format},
    }
    settings = config.override(document, overrides)
    _check_access_file(settings.log.access_file)
    logs.set_up(settings.log.format, settings.log.level, "supervisor")
    home = args.home.resolve()
    lock = _take_home(home)
    # One that a killed server left would send commands to whoever has its ports now.
    (home / "run" / "server.json").unlink(missing_ok=True)
    _prepare_environment(home)
    _raise_file_limit()
    started = time.monotonic()

    # Only now: these imports read the environment prepared above.
    import onnxruntime

    from gateway import devices, processes, supervisor, trial, worker
    from gateway.cli.progress import Bar
    from gateway.control import main as control
    from gateway.control.store import Store
    from gateway.inherited import Launch
    from kernels import _jit

    # What is wrong with it is better said now than by a child over and over.
    Store.open(home).close()
    with Bar("compiling kernels", told=str) as bar:
        compile_seconds = _jit.compile_all(bar)
    if compile_seconds > 1 and sys.stderr.isatty():
        log.info("compiled kernels in %.1f s", compile_seconds)
    gpus = devices.count_gpus()
    launch = Launch(
        config=settings,
        home=home,
        files=tuple(path.absolute() for path in args.models),
        config_path=None if args.config is None else args.config.absolute(),
        json=args.json,
        started=started,
        gpus=gpus,
    )
    workers = settings.server.workers or devices.default_workers(
        settings, onnxruntime.get_available_providers(), gpus, processes.usable_cores()
    )
    roles = supervisor.Roles(control.main, worker.main, trial.try_out)
    try:
        return supervisor.Supervisor(launch, workers, roles).run()
    finally:
        (home / "run" / "server.json").unlink(missing_ok=True)
        lock.close()


def _check_access_file(path: Path | None) -> None:
    """A file that no worker could write to is better told before there are any."""
    if path is not None:
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o640))
        except OSError as error:
            raise ConfigInvalid(f"log.access_file {path}: {error.strerror}") from error


def _raise_file_limit() -> None:
    """Takes as many descriptors as this user may have: each connection is one, in every worker."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _prepare_environment(home: Path) -> None:
    # ORT's telemetry thread makes forked children hang or abort on exit, and connects out.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    # One thread before forking, and none of OpenBLAS' own beside the workers' sessions.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    cache = home / "cache" / "numba"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("NUMBA_CACHE_DIR", str(cache))
    except OSError as error:
        log.warning("%s: %s; kernels are compiled at every start", cache, error.strerror)


def _take_home(home: Path) -> IO[str]:
    """Holds the home for this server alone, until the returned file is closed."""
    try:
        (home / "run").mkdir(parents=True, exist_ok=True)
        lock = (home / "run" / "lock").open("w")
    except OSError as error:
        raise ConfigInvalid(f"home {home}: expected a writable folder: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise ConfigInvalid(
            f"home {home}: another server runs on it; give this one --home"
        ) from error
    return lock
