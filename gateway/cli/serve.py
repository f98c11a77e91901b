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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import gateway
from gateway.errors import ConfigInvalid, StoreFailed

if TYPE_CHECKING:
    from gateway.config import Config, Given
    from gateway.control.audit import Actor
    from gateway.control.keys import Keys
    from gateway.control.revisions import Revision

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
    parser.add_argument(
        "--config", type=Path, help="YAML document; without, the newest revision that was applied"
    )
    add_home(parser)
    parser.add_argument("--host", help="where the data port listens (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="data port (default 8000; 0: a free one)")
    parser.add_argument(
        "--admin-host", help="where the control port listens (default 127.0.0.1); see penstock keys"
    )
    parser.add_argument("--admin-port", type=int, help="control port (default 8002)")
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
    from gateway import layers, logs, processes
    from gateway.cli import preflight

    # Before any secret is read, whatever is configured: there always is the home's own.
    processes.leave_no_cores()
    flags = _flags(args)
    path = None if args.config is None else args.config.absolute()
    if path is not None:
        _check(path, flags)
    home = args.home.resolve()
    lock = take_home(home)
    # One that a killed server left would send commands to whoever has its ports now.
    (home / "run" / "server.json").unlink(missing_ok=True)
    revision = _revision(home, path)
    settings = layers.effective(revision.config, os.environ, flags)
    doubts = preflight.check(settings)
    logs.set_up(settings.log.format, settings.log.level, "supervisor")
    for doubt in doubts:
        log.warning("%s", doubt)
    prepare_environment(home)
    _raise_file_limit()
    started = time.monotonic()

    # Only now: these imports read the environment prepared above.
    import onnxruntime

    from gateway import devices, supervisor, trial, worker
    from gateway.access.secret import server_secret
    from gateway.cli.progress import Bar
    from gateway.control import audit, leftovers
    from gateway.control import main as control
    from gateway.control.keys import Keys
    from gateway.control.store import Store
    from gateway.inherited import Launch
    from kernels import _jit

    tell_of_compiling(os.environ)
    # What is wrong with it is better said now than by a child over and over.
    with Store.open(home) as store:
        secret = server_secret(home)
        _check_access(settings, Keys(store, secret))
        leftovers.sweep(store)  # before anything is written: it may be what the disk is full of
        start = store.new_start()
    with Bar("compiling kernels", told=str) as bar:
        compile_seconds = _jit.compile_all(bar, processes.fork, processes.usable_cores())
    if compile_seconds > 1 and sys.stderr.isatty():
        log.info("compiled kernels in %.1f s", compile_seconds)
    gpus = devices.count_gpus() if devices.CUDA in onnxruntime.get_available_providers() else 0
    launch = Launch(
        config=settings,
        home=home,
        files=tuple(path.absolute() for path in args.models),
        revision=revision.number,
        config_path=path,
        config_sha256=revision.sha256,
        flags=flags,
        json=args.json,
        started=started,
        secret=secret,
        gpus=gpus,
        start=start,
    )
    workers = settings.server.workers or devices.default_workers(
        settings, gpus, processes.usable_cores()
    )
    roles = supervisor.Roles(control.main, worker.main, trial.try_out)
    try:
        server = supervisor.Supervisor(launch, workers, roles)
        facts = {
            "version": gateway.__version__,
            "workers": workers,
            "revision": launch.revision,
            "flags": [flag.by for flag in flags],
        }
        _write_down(home, audit.at_terminal(), "start", facts)
        status = server.run()
        name = signal.Signals(server.stopped_by).name
        _write_down(home, audit.by_signal(name, os.getpid()), "stop", {"status": status})
        return status
    finally:
        # On a disk that is read-only by now it stays; its pid says that nobody is there.
        with contextlib.suppress(OSError):
            (home / "run" / "server.json").unlink(missing_ok=True)
        lock.close()


def _flags(args: argparse.Namespace) -> tuple[Given, ...]:
    """The fields that options set."""
    from gateway.config import Given

    options = (
        (("server", "host"), args.host, "--host"),
        (("server", "port"), args.port, "--port"),
        (("server", "workers"), args.workers, "--workers"),
        (("control", "host"), args.admin_host, "--admin-host"),
        (("control", "port"), args.admin_port, "--admin-port"),
        (("log", "format"), args.log_format, "--log-format"),
    )
    return tuple(Given(path, value, by) for path, value, by in options if value is not None)


def _check(path: Path, flags: Sequence[Given]) -> None:
    """Raises `ConfigInvalid` for what is wrong with a document, before anything is touched."""
    from gateway import config, layers

    layers.effective(config.load(path), os.environ, flags)


def _revision(home: Path, path: Path | None) -> Revision:
    """The document to serve: the file's, which becomes a revision, else the newest revision.

    What is wrong with the database is better said here than by a child over and over.
    """
    from gateway import config
    from gateway.control.audit import at_terminal
    from gateway.control.revisions import Revisions
    from gateway.control.store import Store

    with Store.open(home) as store:
        revisions = Revisions(store)
        if path is None:
            return revisions.newest()
        text = config.read_text(path)
        return revisions.add(text, at_terminal(), "config serve", str(path))


def _write_down(home: Path, actor: Actor, action: str, facts: dict[str, Any]) -> None:
    """Enters a start or stop in the audit, in a store that is closed before anything is forked."""
    from gateway.control.audit import Audit
    from gateway.control.store import Store

    try:
        # Not `open`, which would leave an empty home where one was lost.
        with Store(home) as store:
            Audit(store).note(actor, action, "server", None, facts)
    except StoreFailed as error:  # a full disk is no reason not to serve
        log.error("audit: %s", error)


def _check_access(settings: Config, keys: Keys) -> None:
    """Says who may call where others can, and refuses what nobody could use.

    Raises:
        ConfigInvalid: the control port is open to other machines and there is no key to it.
        Conflict: the keys were made with another secret.
    """
    from gateway.config import is_loopback

    jwt = settings.access.jwt
    admin = settings.knows_certificate("admin", settings.control.tls) or keys.has_active("admin")
    client = settings.knows_certificate("client", settings.server.tls) or keys.has_active("client")
    if settings.access.data == "keys" or settings.control_asks:
        keys.check_secret()
    if jwt is None and not is_loopback(settings.control.host) and not admin:
        raise ConfigInvalid(
            f"control.host {settings.control.host}: expected at least one admin key where other"
            " machines reach the control port: penstock keys create --name NAME --role admin"
        )
    if settings.access.data == "open" and not is_loopback(settings.server.host):
        log.warning(
            "the data port on %s is open to everybody who reaches it"
            " (access.data: keys asks for keys)",
            settings.server.host,
        )
    if settings.access.data == "keys" and jwt is None and not client:
        log.warning("no client key exists: penstock keys create --name NAME --role client")


def file_limit(soft: int, hard: int) -> int:
    """What a server makes of the limits of open files that it is started with."""
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    return soft if soft == resource.RLIM_INFINITY or soft > wanted else wanted


def _raise_file_limit() -> None:
    """Takes as many descriptors as this user may have: each connection is one, in every worker."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = file_limit(soft, hard)
    if wanted != soft:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def prepare_environment(home: Path | None) -> None:
    """Sets what numba, NumPy and ONNX Runtime read when they are imported: call it before.

    Args:
        home: keeps compiled kernels; None: nothing does.
    """
    # ORT's telemetry thread makes forked children hang or abort on exit, and connects out.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    # One thread before forking, and none of OpenBLAS' own beside the workers' sessions.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if home is None:
        return
    cache = home / "cache" / "numba"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("NUMBA_CACHE_DIR", str(cache))
    except OSError as error:
        log.warning("%s: %s; kernels are compiled at every start", cache, error.strerror)


def tell_of_compiling(environ: Mapping[str, str]) -> None:
    """Says why the first start on a home takes longer: before it does, to whoever reads the log.

    One that was interrupted was not the last of them. The kernels have been imported.
    """
    from kernels import _jit

    cache = environ.get("NUMBA_CACHE_DIR")
    if cache is not None and not _jit.all_kept(Path(cache)):
        log.info("compiling kernels, once for this home: the first start takes some seconds longer")


def take_home(home: Path) -> IO[str]:
    """Holds the home for this server alone, until the returned file is closed."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (home / "run").mkdir(mode=0o700, exist_ok=True)
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
