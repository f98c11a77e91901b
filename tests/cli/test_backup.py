"""`penstock backup` and `restore` end in the middle, and nothing of the state lies about."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.control import backup, leftovers
from gateway.control.audit import Actor
from gateway.control.registry import Registry
from gateway.control.store import Store
from tests.models import builders

ANN = Actor("ann", "cli", "here")
PATIENCE_S = 60.0


@pytest.fixture
def filled(home, tmp_path):
    """A home with a model and a secret."""
    with Store.open(home) as store:
        file = builders.save(tmp_path / "in", builders.linear(), "m.onnx")
        Registry(store, home, actor=ANN).register(file)
    (home / backup.SECRET).write_bytes(b"s" * 32)
    return home


@pytest.fixture
def model(filled) -> Path:
    (file,) = (filled / "models").rglob("*.onnx")
    file.parent.chmod(0o755)
    return file


@contextmanager
def reading(pipe: Path, *words: object):
    """A command that is in the middle of reading a pipe, which says no more."""
    command = [sys.executable, "-m", "gateway", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            descriptor = _opened(pipe, process)
            yield process
            os.close(descriptor)
        finally:
            process.kill()


def _opened(pipe: Path, process: subprocess.Popen) -> int:
    """Opens a pipe as soon as the process has."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError):  # nobody reads yet
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.01)
    raise AssertionError("it did not come to reading")


@pytest.fixture
def killed(filled, model, tmp_path):
    """What a backup leaves that a signal ends in the middle: its exit status."""

    def end(number: int) -> int:
        content = model.read_bytes()
        model.unlink()
        os.mkfifo(model)
        words = ("backup", tmp_path / "out" / "b.tar", "--home", filled)
        (tmp_path / "out").mkdir()
        with reading(model, *words) as process:
            assert left(filled, tmp_path) == (1, 1)
            # It lives: nobody takes anything from it.
            with Store.open(filled) as store:
                leftovers.sweep(store)
            assert left(filled, tmp_path) == (1, 1)
            process.send_signal(number)
            status = process.wait(PATIENCE_S)
        model.unlink()
        model.write_bytes(content)
        return status

    return end


def left(home: Path, tmp_path: Path) -> tuple[int, int]:
    """How many folders of backups, and half archives."""
    return len(list(home.glob("penstock-backup-*"))), len(list((tmp_path / "out").iterdir()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_backup_that_is_told_to_end_cleans_up(killed, filled, tmp_path, number):
    assert killed(number) == 128 + number
    assert left(filled, tmp_path) == (0, 0)


def test_what_a_killed_backup_left_is_told_and_removed_by_the_next(
    killed, filled, tmp_path, capsys
):
    assert killed(signal.SIGKILL) == -signal.SIGKILL
    assert left(filled, tmp_path) == (1, 1)
    main(["doctor", "--home", str(filled)])
    assert "warn  leftovers      penstock-backup-" in capsys.readouterr().out
    assert main(["backup", str(tmp_path / "other.tar"), "--home", str(filled)]) == 0
    assert left(filled, tmp_path) == (0, 0)
    main(["doctor", "--home", str(filled)])
    assert "ok    leftovers" in capsys.readouterr().out


def test_a_restore_that_is_told_to_end_cleans_up(home, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with reading(tmp_path / "pipe", "restore", tmp_path / "pipe", "--home", home) as process:
        assert (home / leftovers.RESTORING).is_dir()
        process.terminate()
        assert process.wait(PATIENCE_S) == 128 + signal.SIGTERM
    assert os.listdir(home) == ["run"]


def test_a_killed_restore_does_not_stand_in_the_way_of_the_next(filled, tmp_path, capsys):
    archive, fresh = tmp_path / "b.tar", tmp_path / "fresh"
    assert main(["backup", str(archive), "--home", str(filled)]) == 0
    os.mkfifo(tmp_path / "pipe")
    with reading(tmp_path / "pipe", "restore", tmp_path / "pipe", "--home", fresh) as process:
        process.kill()
        process.wait(PATIENCE_S)
    main(["doctor", "--home", str(fresh)])
    assert "warn  leftovers      .restoring: a backup or restore was killed" in (
        capsys.readouterr().out
    )
    assert main(["restore", str(archive), "--home", str(fresh)]) == 0
    assert not (fresh / leftovers.RESTORING).exists()


def test_a_backup_is_restored_out_of_a_pipe(filled, tmp_path):
    archive, fresh = tmp_path / "b.tar", tmp_path / "fresh"
    assert main(["backup", str(archive), "--home", str(filled)]) == 0
    command = [sys.executable, "-m", "gateway", "restore", "/dev/stdin", "--home", str(fresh)]
    done = subprocess.run(
        command, input=archive.read_bytes(), capture_output=True, timeout=PATIENCE_S
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert {path.name for path in fresh.iterdir()} >= {"penstock.db", "models", backup.SECRET}
