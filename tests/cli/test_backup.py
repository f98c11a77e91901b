"""`penstock backup` and `restore` end in the middle, and nothing of the state lies about."""

from __future__ import annotations

import itertools
import json
import multiprocessing
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
from gateway.errors import StoreFailed
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


def restore_and_die(archive: Path, home: Path, before: int) -> int | None:
    """Restores in a process that is killed before it renames a file the so-many-th time.

    Counted are the renames that other processes see: the note of what comes, then each name.
    """

    def run() -> None:
        seen = itertools.count()

        def watch(event: str, names: tuple) -> None:
            shown = event == "os.rename" and Path(os.fsdecode(names[1])).parent in places
            if shown and next(seen) == before:
                os.kill(os.getpid(), signal.SIGKILL)

        places = (home, home / leftovers.RESTORING)
        sys.addaudithook(watch)
        backup.restore(archive, home, ANN, lambda done, total: None)

    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    child.join(PATIENCE_S)
    return child.exitcode


@pytest.fixture
def archive(filled, tmp_path) -> Path:
    assert main(["backup", str(tmp_path / "b.tar"), "--home", str(filled)]) == 0
    return tmp_path / "b.tar"


PLACED = [[], [], ["audit.head"], ["audit.head", "models"], ["audit.head", "models", "secret"]]


@pytest.mark.parametrize("before", range(5))
def test_a_restore_killed_between_its_renames_is_told_and_done_again(
    archive, tmp_path, capsys, before
):
    fresh = tmp_path / "fresh"
    assert restore_and_die(archive, fresh, before) == -signal.SIGKILL
    assert sorted(os.listdir(fresh)) == sorted([leftovers.RESTORING, *PLACED[before]])
    main(["doctor", "--home", str(fresh)])
    told = capsys.readouterr().out
    assert (f"of it there is {', '.join(PLACED[before])}, and no" in told) == (before > 1)
    assert main(["restore", str(archive), "--home", str(fresh)]) == 0
    assert main(["audit", "verify", "--home", str(fresh)]) == 0
    assert sorted(set(os.listdir(fresh)) - {"run"}) == sorted([*PLACED[4], "penstock.db"])


def test_a_restore_is_killed_at_five_points_and_then_done(archive, tmp_path):
    fresh = tmp_path / "fresh"
    assert restore_and_die(archive, fresh, 5) == 0
    assert sorted(os.listdir(fresh)) == sorted([*PLACED[4], "penstock.db"])


def test_what_a_killed_restore_has_not_put_there_stays(archive, tmp_path, capsys):
    fresh = tmp_path / "fresh"
    assert restore_and_die(archive, fresh, 4) == -signal.SIGKILL
    kept = [fresh / "models" / "mine.onnx", fresh / "secret", fresh / "notes.txt"]
    for path in kept:
        path.write_bytes(b"mine" * 8)
    assert main(["restore", str(archive), "--home", str(fresh)]) == 1
    assert "expected an empty folder, got models, notes.txt, secret" in capsys.readouterr().err
    assert sorted(set(os.listdir(fresh)) - {"run"}) == ["models", "notes.txt", "secret"]
    assert [path.read_bytes() for path in kept] == [b"mine" * 8] * 3
    assert os.listdir(fresh / "models") == ["mine.onnx"]


def test_an_empty_folder_in_the_way_of_a_killed_restore_stays(archive, tmp_path):
    fresh = tmp_path / "fresh"
    assert restore_and_die(archive, fresh, 1) == -signal.SIGKILL
    (fresh / "models").mkdir()
    assert main(["restore", str(archive), "--home", str(fresh)]) == 1
    assert (fresh / "models").is_dir()


def test_no_home_is_begun_where_a_restore_is_half_done(archive, tmp_path):
    fresh = tmp_path / "fresh"
    restore_and_die(archive, fresh, 3)
    with pytest.raises(StoreFailed, match="a restore is at work there, or was killed"):
        Store.open(fresh)
    assert not (fresh / "penstock.db").exists()


@pytest.mark.parametrize("begun_anew", [False, True])
def test_a_home_with_a_database_loses_nothing_to_the_restore_before_it(
    archive, tmp_path, begun_anew
):
    """Whether that was done when it was killed, or somebody has begun a home in its half."""
    fresh = tmp_path / "fresh"
    assert restore_and_die(archive, fresh, 5) == 0
    before = sorted(fresh.rglob("*"))
    note = [
        [str(path.relative_to(fresh)), [path.stat().st_size, path.stat().st_mtime_ns]]
        for path in before
        if path.is_file()
    ]
    (fresh / leftovers.RESTORING / "state").mkdir(parents=True)
    if begun_anew:
        (fresh / leftovers.RESTORING / "state" / "penstock.db").touch()
    (fresh / leftovers.RESTORING / "placing").write_text(json.dumps(note))
    with Store.open(fresh) as store:
        leftovers.sweep(store)
    assert sorted(fresh.rglob("*")) == before


def test_an_existing_file_is_replaced_with_force_only(filled, archive, capsys):
    before = archive.read_bytes()
    assert main(["backup", str(archive), "--home", str(filled)]) == 1
    assert f"{archive}: it exists, and is replaced with --force only" in capsys.readouterr().err
    assert archive.read_bytes() == before
    assert main(["backup", str(archive), "--force", "--home", str(filled)]) == 0
    assert archive.read_bytes() != before


def test_a_backup_is_restored_out_of_a_pipe(filled, tmp_path):
    archive, fresh = tmp_path / "b.tar", tmp_path / "fresh"
    assert main(["backup", str(archive), "--home", str(filled)]) == 0
    command = [sys.executable, "-m", "gateway", "restore", "/dev/stdin", "--home", str(fresh)]
    done = subprocess.run(
        command, input=archive.read_bytes(), capture_output=True, timeout=PATIENCE_S
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert {path.name for path in fresh.iterdir()} >= {"penstock.db", "models", backup.SECRET}
