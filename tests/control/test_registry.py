"""The registry: what goes in, what it is called, and what comes out."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from onnx import numpy_helper

from gateway.control.audit import Actor
from gateway.control.blobs import Blobs
from gateway.control.registry import Registry
from gateway.control.store import Store
from gateway.errors import (
    Conflict,
    InvalidParameter,
    ModelNotFound,
    ModelRefused,
    ProfileInvalid,
    ProfileNotFound,
    StoreFailed,
    VersionNotFound,
)
from gateway.profiles.document import digest
from gateway.profiles.values import FEATURE, Frame, Profile
from gateway.tensors import TensorSpec
from tests.models import builders
from tests.profiles.builders import numeric


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def registry(home):
    with Store.open(home) as store:
        yield Registry(store, home, actor=Actor("ann", "cli", "here"), now=lambda: 1000.5)


@pytest.fixture
def make(tmp_path):
    """Writes a model whose content follows from a seed, and gives its path."""

    def write(seed=0, name="fraud"):
        return builders.save(tmp_path / f"in{seed}", builders.linear(seed=seed), f"{name}.onnx")

    return write


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def folders(home):
    return sorted(place.name for place in (home / "models").iterdir())


def changes(registry):
    with registry._store.read() as db:
        return [tuple(row) for row in db.execute("SELECT who, action, subject FROM audit")]


def test_a_file_becomes_version_one_of_the_model_of_its_name(registry, make, home):
    path = make()
    version = registry.register(path).version
    assert (version.model, version.version, version.file) == ("fraud", 1, "fraud.onnx")
    assert (version.registered_by, version.registered_at) == ("ann", 1000.5)
    assert (version.folder / version.file).read_bytes() == path.read_bytes()
    assert [(file.path, file.sha256, file.bytes) for file in version.files] == [
        ("fraud.onnx", sha256(path), path.stat().st_size)
    ]
    assert folders(home) == [version.digest]


def test_what_the_file_says_is_kept(registry, make):
    version = registry.register(make()).version
    assert version.inputs == (TensorSpec("x", "FP32", (-1, 4)),)
    assert version.outputs == (TensorSpec("y", "FP32", (-1, 2)),)
    assert version.facts["opsets"] == {"ai.onnx": 17}
    assert version.facts["producer"] == "tests"


def test_versions_count_up_and_the_highest_answers_until_there_is_a_champion(registry, make):
    for seed in range(3):
        registry.register(make(seed))
    assert registry.resolve("fraud").version == 3
    registry.set_alias("fraud", "champion", 2)
    assert registry.resolve("fraud").version == 2
    assert registry.resolve("fraud", 1).version == 1
    assert registry.resolve("fraud", "3").version == 3
    assert registry.resolve("fraud", "champion").version == 2
    registry.remove_alias("fraud", "champion")
    assert registry.resolve("fraud").version == 3


def test_the_same_content_again_is_the_version_that_has_it(registry, make, home):
    first = registry.register(make(0))
    registry.register(make(1))
    again = registry.register(make(0), aliases=["old"], metadata={"k": "v"})
    assert (first.new, again.new, again.version.version) == (True, False, 1)
    assert (again.version.aliases, again.version.metadata) == (("old",), {"k": "v"})
    assert len(folders(home)) == 2


def test_the_same_content_under_another_number_or_name_shares_its_folder(registry, make, home):
    one = registry.register(make()).version
    five = registry.register(make(), version=5)
    other = registry.register(make(), name="other").version
    assert (five.new, five.version.version, other.version) == (True, 5, 1)
    assert {one.digest, five.version.digest, other.digest} == set(folders(home))


def test_a_given_number_with_other_content_is_a_conflict(registry, make, home):
    registry.register(make(0), version=4)
    with pytest.raises(Conflict, match="model 'fraud': version 4 exists with other content"):
        registry.register(make(1), version=4)
    assert len(folders(home)) == 1
    assert registry.register(make(0), version=4).new is False
    assert registry.register(make(1)).version.version == 5


def test_a_removed_number_is_not_given_out_again(registry, make):
    registry.register(make(0))
    registry.register(make(1))
    registry.remove_version("fraud", 2)
    assert registry.register(make(1)).version.version == 3
    registry.remove_version("fraud", 1)
    registry.remove_version("fraud", 3)
    assert registry.register(make(0)).version.version == 4


def test_files_go_with_the_last_version_that_has_them(registry, make, home):
    registry.register(make(0))
    registry.register(make(0), name="twin")
    registry.remove_version("fraud", 1)
    assert len(folders(home)) == 1
    assert registry.verify("twin") == ()
    registry.remove_model("twin")
    assert (folders(home), registry.list()) == ([], ())


def test_a_champion_is_not_removed_by_accident(registry, make):
    registry.register(make(0), aliases=["champion"])
    registry.register(make(1))
    with pytest.raises(Conflict, match="version 1 is its champion"):
        registry.remove_version("fraud", 1)
    with pytest.raises(Conflict, match="has a champion"):
        registry.remove_model("fraud")
    registry.remove_version("fraud", 1, force=True)
    assert registry.show("fraud").aliases == ()
    registry.set_alias("fraud", "champion", 2)
    registry.remove_model("fraud", force=True)
    assert registry.list() == ()


def test_external_data_comes_along_under_its_own_name(registry, tmp_path):
    weights = np.arange(8, dtype=np.float32)
    (tmp_path / "in" / "data").mkdir(parents=True)
    (tmp_path / "in" / "data" / "w.bin").write_bytes(weights.tobytes())
    (tmp_path / "in" / "unrelated.bin").write_bytes(b"x")
    builders.save(tmp_path / "in", builders.external("data/w.bin", offset=0, length=32))
    version = registry.register(tmp_path / "in", name="m").version
    assert [file.path for file in version.files] == ["data/w.bin", "model.onnx"]
    assert (version.folder / "data/w.bin").read_bytes() == weights.tobytes()


def test_a_tokenizer_comes_along_and_another_makes_another_version(registry, make, tmp_path):
    make(name="model")
    (tmp_path / "in0" / "tokenizer.json").write_text("{}")
    one = registry.register(tmp_path / "in0", name="m").version
    assert [file.path for file in one.files] == ["model.onnx", "tokenizer.json"]
    (tmp_path / "other").write_text("[]")
    two = registry.register(tmp_path / "in0", name="m", tokenizer=tmp_path / "other").version
    assert (two.version, (two.folder / "tokenizer.json").read_text()) == (2, "[]")
    bare = registry.register(tmp_path / "in0" / "model.onnx", name="m")
    assert (bare.version.version, len(bare.version.files)) == (3, 1)
    file = tmp_path / "in0" / "model.onnx"
    assert not registry.register(file, "m", tokenizer=tmp_path / "other").new
    with pytest.raises(ModelRefused, match="no such file"):
        registry.register(file, "m", tokenizer=tmp_path / "missing")


def test_a_folder_brings_its_configuration(registry, tmp_path):
    folder = tmp_path / "scorer"
    builders.save(folder, builders.linear(), "net.onnx")
    (folder / "labels.txt").write_text("no\nyes\n")
    (folder / "config.pbtxt").write_text(
        """
        name: "scorer" max_batch_size: 16
        output { name: "y" data_type: TYPE_FP32 dims: 2 label_filename: "labels.txt" }
        """
    )
    version = registry.register(folder).version
    assert (version.model, version.file) == ("scorer", "net.onnx")
    assert version.hints == {"max_batch_size": 16}
    assert version.declared["outputs"][0]["labels"] == ["no", "yes"]
    assert len(version.files) == 3


@pytest.mark.parametrize(
    ("files", "said"),
    [
        pytest.param((), r"wanted model.onnx or one .onnx file, got 0", id="empty"),
        pytest.param(("a.onnx", "b.onnx"), "got 2", id="two"),
        pytest.param(("1/model.onnx",), "name a version's folder", id="repository"),
    ],
)
def test_a_folder_that_is_not_one_model_is_refused(registry, tmp_path, files, said):
    for file in files:
        builders.save((tmp_path / "in" / file).parent, builders.linear(), os.path.basename(file))
    (tmp_path / "in").mkdir(exist_ok=True)
    with pytest.raises(ModelRefused, match=said):
        registry.register(tmp_path / "in")


def test_a_hostile_file_leaves_nothing_behind(registry, tmp_path, home):
    (tmp_path / "bad.onnx").write_bytes(b"\x3a\xff\xff\xff\x07")
    builders.save(tmp_path, builders.external("../secret"), "escape.onnx")
    for name in ("bad.onnx", "escape.onnx", "absent.onnx"):
        with pytest.raises(ModelRefused):
            registry.register(tmp_path / name)
    assert (registry.list(), registry.generation()) == ((), 0)
    assert not (home / "models").exists() or folders(home) == []


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"name": "../m"}, id="name"),
        pytest.param({"version": 0}, id="version-0"),
        pytest.param({"version": 1 << 31}, id="version-too-high"),
        pytest.param({"aliases": ["7"]}, id="alias-like-a-version"),
        pytest.param({"aliases": ["a/b"]}, id="alias-with-slash"),
        pytest.param({"metadata": {"": "v"}}, id="empty-key"),
        pytest.param({"metadata": {"k": "v" * 4001}}, id="long-value"),
        pytest.param({"metadata": {f"k{n}": "v" for n in range(101)}}, id="many-keys"),
    ],
)
def test_what_cannot_be_is_refused_whole(registry, make, home, wrong):
    with pytest.raises(InvalidParameter):
        registry.register(make(), **wrong)
    assert (registry.list(), registry.generation()) == ((), 0)


def test_metadata_adds_up(registry, make):
    registry.register(make(), metadata={"team": "risk", "auc": "0.91"})
    registry.register(make(), metadata={"auc": "0.92", "é": "ü"})
    assert registry.resolve("fraud").metadata == {"team": "risk", "auc": "0.92", "é": "ü"}


def test_changes_say_who_did_what(registry, make):
    registry.register(make(0), aliases=["champion"], metadata={"k": "v"})
    registry.register(make(1))
    registry.set_alias("fraud", "champion", 2)
    registry.remove_alias("fraud", "champion")
    registry.remove_version("fraud", 1)
    assert changes(registry) == [
        ("ann", "register", "fraud/1"),
        ("ann", "metadata", "fraud/1"),
        ("ann", "alias set", "fraud:champion"),
        ("ann", "register", "fraud/2"),
        ("ann", "alias set", "fraud:champion"),
        ("ann", "alias remove", "fraud:champion"),
        ("ann", "remove", "fraud/1"),
    ]
    assert registry.generation() == 7


def test_what_changes_nothing_is_no_change(registry, make):
    registry.register(make(), aliases=["champion"], metadata={"k": "v"})
    before = registry.generation()
    registry.register(make(), aliases=["champion"], metadata={"k": "v"})
    registry.set_alias("fraud", "champion", 1)
    assert registry.generation() == before


def test_unknown_things_are_named(registry, make):
    registry.register(make())
    with pytest.raises(ModelNotFound, match="model 'absent' is not registered"):
        registry.show("absent")
    with pytest.raises(VersionNotFound, match="model 'fraud' has no version or alias 9"):
        registry.set_alias("fraud", "champion", 9)
    with pytest.raises(VersionNotFound, match="has no version or alias 'x'"):
        registry.resolve("fraud", "x")
    with pytest.raises(VersionNotFound, match="has no alias 'x'"):
        registry.remove_alias("fraud", "x")
    with pytest.raises(VersionNotFound, match="has no version or alias 9"):
        registry.remove_version("fraud", 9)
    with pytest.raises(ModelNotFound, match="'absent'"):
        registry.remove_model("absent")


def test_verification_finds_what_was_tampered_with(registry, make):
    version = registry.register(make()).version
    assert registry.verify("fraud") == ()
    file = version.folder / version.file
    file.chmod(0o644)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert f"fraud.onnx: wanted SHA-256 {version.files[0].sha256}" in registry.verify("fraud")[0]
    file.unlink()
    assert registry.verify("fraud") == ("fraud.onnx: No such file or directory",)


def test_registering_again_mends_a_damaged_folder(registry, make):
    version = registry.register(make()).version
    (version.folder / version.file).unlink()
    registry.register(make())
    assert registry.verify("fraud") == ()


def test_progress_counts_every_byte(registry, tmp_path):
    model = builders.linear()
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(3 << 20, np.float32), "bulk"))
    path = builders.save(tmp_path, model)
    steps: list[tuple[int, int]] = []
    registry.register(path, progress=lambda done, total: steps.append((done, total)))
    size = path.stat().st_size
    assert steps == sorted(steps)
    assert len(steps) > 2
    assert steps[-1] == (size, size)


def test_copies_are_read_only_and_links_are_copied_as_files(registry, make, tmp_path):
    real = make()
    (real.parent / "link.onnx").symlink_to(real.name)
    version = registry.register(real.parent / "link.onnx").version
    copy = version.folder / version.file
    assert (version.model, copy.is_symlink()) == ("link", False)
    assert copy.stat().st_mode & 0o222 == 0


def test_half_copied_leftovers_are_swept_up_after_a_day(registry, make, home):
    registry.register(make(0))
    (home / "models" / ".incoming-old").mkdir()
    (home / "models" / ".incoming-new").mkdir()
    os.utime(home / "models" / ".incoming-old", (0, 0))
    registry.register(make(1))
    assert [name for name in folders(home) if name.startswith(".")] == [".incoming-new"]


def test_a_copy_that_goes_on_is_no_leftover_however_the_clock_jumps(make, home):
    home.mkdir(exist_ok=True)
    blobs = Blobs(home / "models")
    with blobs.incoming([("m.onnx", make(0))], lambda done, total: None) as slow:
        os.utime(slow.folder, (0, 0))
        with blobs.incoming([("m.onnx", make(1))], lambda done, total: None):
            pass
        assert blobs.place(slow)
    assert blobs.verify(slow.digest, slow.files, lambda done, total: None) == []


def test_a_home_that_cannot_be_written_is_named(registry, make, home):
    (home / "models").write_text("")
    with pytest.raises(StoreFailed, match="copying"):
        registry.register(make())


def register_all(home, paths, barrier):
    with Store.open(home) as store:
        registry = Registry(store, home)
        barrier.wait()
        for path in paths:
            registry.register(path, name="m")
            registry.register(path, name="churn")
            try:
                registry.remove_model("churn")
            except ModelNotFound:
                continue  # the other process was faster


def test_processes_that_register_and_remove_at_once_agree(make, home):
    mine, theirs = [make(n) for n in (0, 1, 2, 9)], [make(n) for n in (5, 6, 7, 9)]
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    children = [
        context.Process(target=register_all, args=(home, paths, barrier))
        for paths in (mine, theirs)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]
    with Store.open(home) as store:
        registry = Registry(store, home)
        [model] = registry.list()
        assert [version.version for version in model.versions] == [1, 2, 3, 4, 5, 6, 7]
        assert all(registry.verify("m", version.version) == () for version in model.versions)
        assert set(folders(home)) == {version.digest for version in model.versions}


def test_a_home_can_be_moved(make, tmp_path, home):
    with Store.open(home) as store:
        Registry(store, home).register(make())
    shutil.move(home, tmp_path / "moved")
    with Store.open(tmp_path / "moved") as store:
        registry = Registry(store, tmp_path / "moved")
        assert registry.verify("fraud") == ()
        assert registry.resolve("fraud").folder.is_relative_to(tmp_path / "moved")


@pytest.fixture
def reference():
    """A profile of what `builders.linear` takes."""
    return Profile(6, (Frame("x", "x", FEATURE, "FP32", (-1, 4), tuple(map(numeric, "abcd"))),))


def test_a_profile_is_attached_kept_and_audited(registry, make, home, reference):
    registry.register(make())
    version = registry.attach_profile("fraud", 1, reference)
    assert version.profile.digest == digest(reference)
    assert (version.profile.rows, version.profile.attached_by) == (6, "ann")
    assert digest(registry.profile("fraud")) == digest(reference)
    assert changes(registry)[-1] == ("ann", "profile attach", "fraud/1")
    with pytest.raises(ProfileNotFound, match="fraud 2 --data FILE makes one"):
        registry.profile("fraud", registry.register(make(seed=1)).version.version)


def test_another_profile_takes_the_place_of_the_first_and_the_same_changes_nothing(
    registry, make, home, reference
):
    registry.register(make())
    registry.attach_profile("fraud", 1, reference)
    before = changes(registry)
    registry.attach_profile("fraud", 1, reference)
    assert changes(registry) == before
    other = replace(reference, rows=7)
    assert registry.attach_profile("fraud", 1, other).profile.digest == digest(other)
    assert len(folders(home)) == 2  # the model's, and the newer profile's


def test_a_profile_goes_with_the_last_version_that_has_it(registry, make, home, reference):
    for seed in (0, 1):
        number = registry.register(make(seed=seed)).version.version
        registry.attach_profile("fraud", number, reference)
    assert len(folders(home)) == 3
    registry.remove_version("fraud", 1)
    assert digest(registry.profile("fraud", 2)) == digest(reference)
    registry.remove_model("fraud")
    assert folders(home) == []


def test_a_profile_of_another_model_is_not_attached(registry, make, reference):
    registry.register(make())
    wrong = replace(reference, frames=(replace(reference.frames[0], datatype="FP64"),))
    with pytest.raises(ProfileInvalid, match="input 'x': expected datatype FP32, got FP64"):
        registry.attach_profile("fraud", 1, wrong)
    assert registry.resolve("fraud").profile is None


def test_a_profile_that_was_changed_on_disk_is_refused(registry, make, reference):
    registry.register(make())
    place = registry.attach_profile("fraud", 1, reference).profile.folder / "profile.json"
    content = place.read_text().replace('"rows": 6', '"rows": 5')
    place.chmod(0o644)
    place.write_text(content)
    with pytest.raises(ProfileInvalid, match="no longer what was attached"):
        registry.profile("fraud")
