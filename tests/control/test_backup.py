"""What a backup holds, and that what comes back is what was there, or nothing."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import threading
from pathlib import Path

import pytest

from gateway.control import backup, chain
from gateway.control.audit import Actor, Audit
from gateway.control.registry import Registry
from gateway.control.store import FILE, Store
from gateway.control.verification import verify
from gateway.errors import BackupInvalid, Conflict, StoreFailed
from tests.control.auditing import tamper
from tests.models import builders

ANN = Actor("ann", "cli", "here")
SECRET = b"secret of the home" * 2


def silent(done: int, total: int) -> None:
    """Progress that nobody watches."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two models, an alias, a secret, and what is no state."""
    home = tmp_path / "home"
    with Store.open(home) as store:
        registry = Registry(store, home, actor=ANN)
        for seed in (0, 1):
            file = builders.save(tmp_path / f"in{seed}", builders.linear(seed=seed), "fraud.onnx")
            registry.register(file, aliases=["champion"])
    (home / backup.SECRET).write_bytes(SECRET)
    (home / "cache").mkdir()
    (home / "cache" / "kernel").write_text("compiled")
    return home


@pytest.fixture
def archive(home: Path, tmp_path: Path) -> Path:
    with Store.open(home) as store:
        backup.write(store, tmp_path / "b.tar", ANN, silent)
    return tmp_path / "b.tar"


def state(home: Path) -> object:
    with Store.open(home) as store:
        models = [model.as_json() for model in Registry(store, home, actor=ANN).list()]
        entries = [entry.as_json() for entry in Audit(store).entries()]
    files = {
        str(path.relative_to(home)): path.read_bytes()
        for path in sorted((home / "models").rglob("*"))
        if path.is_file()
    }
    return models, [e for e in entries if e["action"] not in ("backup", "restore")], files


def test_what_comes_back_is_what_was_there(home, archive, tmp_path):
    fresh = tmp_path / "fresh"
    backup.restore(archive, fresh, ANN, silent)
    # Where the home lies is part of what a model tells.
    there, here = (json.dumps(str(state(place)).replace(str(place), "")) for place in (home, fresh))
    assert here == there
    assert (fresh / backup.SECRET).read_bytes() == SECRET
    assert sorted(os.listdir(fresh)) == sorted([FILE, chain.FILE, backup.SECRET, "models"])


def test_the_audit_goes_on_and_says_who_restored(home, archive, tmp_path):
    fresh = tmp_path / "fresh"
    backup.restore(archive, fresh, Actor("ben", "cli", "there"), silent)
    with Store.open(fresh) as store:
        assert verify(store).ok
        actions = [(e.who, e.action) for e in Audit(store).entries()]
    assert actions[-2:] == [("ann", "backup"), ("ben", "restore")]


def test_an_archive_can_be_read_by_its_owner_alone(archive, tmp_path):
    assert archive.stat().st_mode & 0o777 == 0o600
    backup.restore(archive, tmp_path / "fresh", ANN, silent)
    for name in (FILE, backup.SECRET, chain.FILE):
        assert (tmp_path / "fresh" / name).stat().st_mode & 0o077 == 0


def test_the_secret_may_stay_out(home, tmp_path):
    with Store.open(home) as store:
        manifest = backup.write(store, tmp_path / "b.tar", ANN, silent, with_secret=False)
    assert backup.summary(manifest)["secret"] is False
    assert SECRET not in (tmp_path / "b.tar").read_bytes()
    backup.restore(tmp_path / "b.tar", tmp_path / "fresh", ANN, silent)
    assert not (tmp_path / "fresh" / backup.SECRET).exists()


def test_what_is_registered_and_removed_meanwhile_leaves_a_whole_archive(home, tmp_path):
    """Every archive holds exactly the models that its own database names."""
    stop = threading.Event()

    def churn() -> None:
        with Store.open(home) as store:
            registry = Registry(store, home, actor=ANN)
            for seed in range(2, 200):
                if stop.is_set():
                    return
                model = builders.linear(seed=seed)
                file = builders.save(tmp_path / f"in{seed}", model, "churn.onnx")
                version = registry.register(file).version.version
                registry.remove_version("churn", version)

    churning = threading.Thread(target=churn)
    churning.start()
    try:
        for number in range(5):
            with Store.open(home) as store:
                backup.write(store, tmp_path / f"{number}.tar", ANN, silent)
    finally:
        stop.set()
        churning.join()
    for number in range(5):
        fresh = tmp_path / f"fresh{number}"
        backup.restore(tmp_path / f"{number}.tar", fresh, ANN, silent)
        with Store.open(fresh) as store:
            registry = Registry(store, fresh, actor=ANN)
            for model in registry.list():
                for version in model.versions:
                    assert registry.verify(model.name, version.version) == ()


def test_a_model_that_is_removed_while_it_is_backed_up_is_in_the_archive(home, tmp_path):
    """Nobody waits for the reading: what is removed meanwhile is deleted after it."""
    meanwhile: list[str] = []

    def remove(done: int, total: int) -> None:
        if not meanwhile:
            with Store.open(home) as other:
                Registry(other, home, actor=ANN).remove_model("fraud", force=True)
            meanwhile.extend(os.listdir(home / "models"))

    with Store.open(home) as store:
        backup.write(store, tmp_path / "b.tar", ANN, remove)
    assert [name[:7] for name in meanwhile] == [".trash-"] * 2
    assert os.listdir(home / "models") == []
    backup.restore(tmp_path / "b.tar", tmp_path / "fresh", ANN, silent)
    with Store.open(tmp_path / "fresh") as store:
        (model,) = Registry(store, tmp_path / "fresh", actor=ANN).list()
    assert [version.version for version in model.versions] == [1, 2]


@pytest.mark.parametrize("name", ["penstock.db", "notes.txt", "models"])
def test_a_home_that_holds_something_is_left_alone(archive, tmp_path, name):
    full = tmp_path / "full"
    full.mkdir()
    (full / name).write_text("mine")
    with pytest.raises(Conflict, match=f"expected an empty folder, got {name}"):
        backup.restore(archive, full, ANN, silent)
    assert [path.name for path in full.iterdir()] == [name]


def test_a_model_whose_files_have_changed_is_not_backed_up(home, tmp_path):
    (file,) = list((home / "models").rglob("*.onnx"))[:1]
    content = file.read_bytes()
    file.chmod(0o644)
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with Store.open(home) as store, pytest.raises(StoreFailed, match="no longer what was"):
        backup.write(store, tmp_path / "b.tar", ANN, silent)
    assert not list(tmp_path.glob("*b.tar*"))


def test_a_model_whose_files_are_gone_is_named(home, tmp_path):
    (file,) = list((home / "models").rglob("*.onnx"))[:1]
    file.parent.chmod(0o755)
    file.unlink()
    with Store.open(home) as store, pytest.raises(StoreFailed, match=r"fraud\.onnx: No such file"):
        backup.write(store, tmp_path / "b.tar", ANN, silent)


def test_a_failed_backup_leaves_the_one_before_it(home, archive):
    before = archive.read_bytes()
    for file in (home / "models").rglob("*.onnx"):
        file.unlink()
    with Store.open(home) as store, pytest.raises(StoreFailed):
        backup.write(store, archive, ANN, silent, replace=True)
    assert archive.read_bytes() == before


# ---- archives that are none ----------------------------------------------------------------------


def members(archive: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(archive) as tar:
        return [(info, tar.extractfile(info).read()) for info in tar]  # type: ignore[union-attr]


def repack(archive: Path, parts: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    with tarfile.open(archive, "w") as tar:
        for info, data in parts:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def with_manifest(archive: Path, change) -> None:
    (head, text), *rest = members(archive)
    values = json.loads(text)
    change(values)
    repack(archive, [(head, json.dumps(values).encode()), *rest])


def _truncated(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])


def _a_bit_flipped(archive: Path) -> None:
    parts = members(archive)
    info, data = parts[-1]
    repack(archive, [*parts[:-1], (info, data[:-1] + bytes([data[-1] ^ 1]))])


def _one_short(archive: Path) -> None:
    repack(archive, members(archive)[:-1])


def _no_tar(archive: Path) -> None:
    archive.write_bytes(b"PK\x03\x04 something else" * 100)


def _no_manifest(archive: Path) -> None:
    repack(archive, members(archive)[1:])


def _manifest_of_nonsense(archive: Path) -> None:
    repack(archive, [(members(archive)[0][0], b'{"files": 7}')])


def _other_format(archive: Path) -> None:
    with_manifest(archive, lambda values: values.update(format=99))


def _saying(**values: object):
    return lambda archive: with_manifest(archive, lambda manifest: manifest.update(values))


def _first_file_saying(**values: object):
    return lambda archive: with_manifest(
        archive, lambda manifest: manifest["files"][0].update(values)
    )


def _swapped(archive: Path) -> None:
    parts = members(archive)
    repack(archive, [parts[0], parts[2], parts[1], *parts[3:]])


def _placed_outside(place: str):
    def spoil(archive: Path) -> None:
        (head, text), *rest = members(archive)
        values = json.loads(text)
        values["files"][-1]["place"] = place
        rest[-1][0].name = place
        repack(archive, [(head, json.dumps(values).encode()), *rest])

    return spoil


def _a_link(archive: Path) -> None:
    parts = members(archive)
    parts[-1][0].type = tarfile.SYMTYPE
    parts[-1][0].linkname = "/etc/passwd"
    repack(archive, [*parts[:-1], (parts[-1][0], b"")])


def _twice(archive: Path) -> None:
    with_manifest(archive, lambda values: values["files"].append(values["files"][-1]))


DIGEST = "a" * 64
SPOILED = {
    "truncated": _truncated,
    "a-bit-flipped": _a_bit_flipped,
    "one-file-short": _one_short,
    "no-tar": _no_tar,
    "no-manifest": _no_manifest,
    "manifest-of-nonsense": _manifest_of_nonsense,
    "other-format": _other_format,
    "taken-at-no-time": _saying(taken_at="x"),
    "taken-in-no-year": _saying(taken_at=1e300),
    "of-no-version": _saying(penstock=7),
    "of-no-size": _first_file_saying(bytes="x"),
    "of-less-than-nothing": _first_file_saying(bytes=-1),
    "files-swapped": _swapped,
    "above-the-home": _placed_outside("../evil"),
    "absolute": _placed_outside("/etc/evil"),
    "climbing-out": _placed_outside(f"models/{DIGEST}/../../evil"),
    "odd-spelling": _placed_outside(f"models/{DIGEST}//x"),
    "no-place-of-a-home": _placed_outside("run/server.json"),
    "a-link": _a_link,
    "a-place-twice": _twice,
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED.keys())
def test_a_spoiled_archive_restores_nothing(archive, tmp_path, spoil):
    spoil(archive)
    fresh = tmp_path / "fresh"
    with pytest.raises(BackupInvalid):
        backup.restore(archive, fresh, ANN, silent)
    assert list(fresh.iterdir()) == []
    assert not (tmp_path / "evil").exists()


def with_content(archive: Path, change) -> None:
    """As somebody repacks who has the manifest say what is there: place to content."""
    (head, text), *rest = members(archive)
    values = json.loads(text)
    content = {info.name: data for info, data in rest}
    change(content)
    values["files"] = [
        {"place": place, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for place, data in content.items()
    ]
    parts = [(tarfile.TarInfo(place), data) for place, data in content.items()]
    repack(archive, [(head, json.dumps(values).encode()), *parts])


def in_database(content: dict, tmp_path: Path, *statements: str) -> None:
    tmp_path.joinpath(FILE).write_bytes(content[FILE])
    tamper(tmp_path, *statements)
    content[FILE] = tmp_path.joinpath(FILE).read_bytes()


def test_an_archive_whose_audit_was_tampered_with_is_refused(archive, tmp_path):
    change = "UPDATE audit SET who = 'mallory' WHERE id = 1"
    with_content(archive, lambda content: in_database(content, tmp_path, change))
    with pytest.raises(BackupInvalid, match="audit does not hold"):
        backup.restore(archive, tmp_path / "fresh", ANN, silent)


def models_of(content: dict) -> list[str]:
    return [place for place in content if place.startswith("models/")]


def _model_missing(content: dict, _: Path) -> None:
    del content[models_of(content)[0]]


def _model_added(content: dict, _: Path) -> None:
    content[f"models/{DIGEST}/more.onnx"] = b"more"


def _models_swapped(content: dict, _: Path) -> None:
    one, other = models_of(content)
    content[one], content[other] = content[other], content[one]


def _model_changed(content: dict, _: Path) -> None:
    content[models_of(content)[0]] += b"!"


def _model_changed_in_the_database_too(content: dict, tmp_path: Path) -> None:
    place = models_of(content)[0]
    content[place] += b"!"
    sha256, digest = hashlib.sha256(content[place]).hexdigest(), place.split("/")[1]
    values = f"sha256 = '{sha256}', bytes = {len(content[place])}"
    in_database(content, tmp_path, f"UPDATE files SET {values} WHERE digest = '{digest}'")


def _secret_empty(content: dict, _: Path) -> None:
    content[backup.SECRET] = b""


@pytest.mark.parametrize(
    "change",
    [
        _model_missing,
        _model_added,
        _models_swapped,
        _model_changed,
        _model_changed_in_the_database_too,
        _secret_empty,
    ],
)
def test_what_the_database_does_not_stand_for_is_not_put_in_place(archive, tmp_path, change):
    with_content(archive, lambda content: change(content, tmp_path))
    fresh = tmp_path / "fresh"
    with pytest.raises(BackupInvalid):
        backup.restore(archive, fresh, ANN, silent)
    assert list(fresh.iterdir()) == []


def test_a_secret_that_could_not_be_restored_is_not_backed_up(home, tmp_path):
    (home / backup.SECRET).write_bytes(b"")
    with Store.open(home) as store:
        with pytest.raises(StoreFailed, match="expected 32 bytes"):
            backup.write(store, tmp_path / "b.tar", ANN, silent)
        backup.write(store, tmp_path / "b.tar", ANN, silent, with_secret=False)


def test_an_archive_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BackupInvalid, match=r"none\.tar: No such file"):
        backup.restore(tmp_path / "none.tar", tmp_path / "fresh", ANN, silent)
