"""What should run: which source owns a name, which versions serve, and what cannot."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from onnx import helper

from gateway import config as configuration
from gateway.config import Config
from gateway.control.audit import by_itself
from gateway.control.desired import Sources
from gateway.control.memory import Memory
from gateway.control.registry import Registry
from gateway.control.retirements import Retirement
from gateway.control.self_references import SelfReference, SelfReferences
from gateway.control.store import Store
from gateway.monitor import layout
from gateway.plan import UNLOADED, Plan, Route
from gateway.profiles import beside, document
from tests.embeddings import maker
from tests.models import builders
from tests.monitor import watching
from tests.plans import held


@pytest.fixture
def file(tmp_path):
    return builders.save(tmp_path, builders.linear(), "m.onnx")


@pytest.fixture
def registry(tmp_path):
    with Store.open(tmp_path / "home") as store:
        yield Registry(store, tmp_path / "home")


def gathered(sources: Sources, config: Config | None = None, plan: Plan | None = None):
    return sources.gather(config or Config(), Memory(plan or Plan(0)))


def versions(desired) -> list[int]:
    return sorted(candidate.version for candidate in desired.candidates)


def serving(name: str, *numbers: int) -> Plan:
    return Plan(1, routes=(Route(name, max(numbers), {n: f"{name}/{n}" for n in numbers}),))


def test_of_a_registered_model_the_highest_version_and_the_aliased_ones_serve(registry, file):
    for number in (1, 2, 3):
        registry.register(file, "m", number)
    registry.set_alias("m", "fallback", 1)
    desired = gathered(Sources((), registry))
    assert versions(desired) == [1, 3]
    assert [(a.version, a.reason) for a in desired.faults] == [
        (2, "registered; give it an alias to have it served")
    ]


def test_a_version_that_serves_is_not_taken_out_by_a_newer_one(registry, file):
    registry.register(file, "m", 1)
    registry.register(file, "m", 2)
    desired = gathered(Sources((), registry), plan=serving("m", 1))
    assert versions(desired) == [1, 2]


def test_a_registered_file_that_was_changed_is_refused_by_its_name(registry, file):
    version = registry.register(file, "m", 1).version
    stored = version.folder / version.file
    stored.chmod(0o644)
    stored.write_bytes(stored.read_bytes() + b"\0")
    desired = gathered(Sources((), registry))
    assert desired.candidates == []
    assert "no longer what was registered" in desired.faults[0].reason


def test_a_tokenizer_belongs_to_what_a_model_of_texts_is_known_by(registry, tmp_path):
    path = maker.lay(tmp_path / "texts")
    said = f"models: {{texts: {{path: {path}, embeddings: {{}}}}}}"
    sources, document = Sources((), registry), configuration.parse(said)
    (before,) = gathered(sources, document).candidates
    assert [one.name for one in before.signature.outputs] == ["embedding"]
    (tmp_path / "texts" / "tokenizer.json").write_text("{}")
    (after,) = gathered(sources, document).candidates
    assert after.digest != before.digest
    (tmp_path / "texts" / "tokenizer.json").unlink()
    (fault,) = gathered(sources, document).faults
    assert fault.reason == "tokenizer 'tokenizer.json': no such file in the model's folder"


def test_only_an_alias_makes_a_champion_and_only_where_the_registry_serves_the_name(registry, file):
    registry.register(file, "m", 1)
    assert gathered(Sources((), registry)).champions == {}
    registry.set_alias("m", "champion", 1)
    assert gathered(Sources((), registry)).champions == {"m": 1}
    assert gathered(Sources((file,), registry)).champions == {}


def test_the_first_source_that_has_a_name_owns_it(registry, file, tmp_path):
    registry.register(file, "m", 7)
    folder = tmp_path / "repository" / "m" / "5"
    folder.mkdir(parents=True)
    shutil.copy(file, folder / "model.onnx")
    config = configuration.parse(f"repository: {{paths: [{tmp_path / 'repository'}]}}")
    assert versions(gathered(Sources((file,), registry), config)) == [1]
    assert versions(gathered(Sources((), registry), config)) == [5]
    assert versions(gathered(Sources((), registry))) == [7]


@pytest.fixture
def root(file, tmp_path):
    """A repository that holds `m`."""
    folder = tmp_path / "repository"
    (folder / "m" / "1").mkdir(parents=True)
    shutil.copy(file, folder / "m" / "1" / "model.onnx")
    return folder


def faults(desired) -> list[tuple[str, int, str]]:
    return [(fault.name, fault.version, fault.reason) for fault in desired.faults]


def test_a_repository_that_is_away_names_what_serves_from_it_to_a_new_control_too(
    registry, root, tmp_path
):
    held_there = replace(held("m"), folder=str(root / "m" / "1"))
    held_elsewhere = held("n")
    before = Plan(1, (held_there, held_elsewhere))
    assert versions(gathered(Sources((root,), registry))) == [1]
    root.rename(tmp_path / "away")
    away = [("m", 0, "its repository cannot be read")]
    assert faults(gathered(Sources((root,), registry), plan=before)) == away
    config = configuration.parse(f"repository: {{paths: [{root}]}}")
    assert faults(gathered(Sources((), registry), config, before)) == away


def test_what_was_unloaded_stays_so_while_its_repository_is_away(registry, root, tmp_path):
    config = configuration.parse(f"repository: {{paths: [{root}]}}")
    memory = Memory(Plan(1), unloaded={"m"})
    sources = Sources((), registry)
    assert faults(sources.gather(config, memory)) == [("m", 1, UNLOADED)]
    root.rename(tmp_path / "away")
    assert faults(sources.gather(config, memory)) == [("m", 0, UNLOADED)]
    (tmp_path / "away").rename(root)
    shutil.rmtree(root / "m")
    assert faults(sources.gather(config, memory)) == []


def test_a_models_own_settings_go_before_its_hints_and_those_before_the_defaults():
    config = configuration.parse(
        "defaults: {max_batch_size: 64, max_queue_delay_ms: 5, instances: 2}\n"
        "models: {m: {max_queue_delay_ms: 1}}"
    )
    settings = config.settings("m", {"max_batch_size": 4, "max_queue_delay_ms": 3})
    found = (settings.max_batch_size, settings.max_queue_delay_ms, settings.instances)
    assert found == (4, 1.0, 2)


# ---- a look at one model alone ----


@pytest.fixture
def two(root, file):
    """A repository that holds `m` and `n`."""
    shutil.copytree(root / "m", root / "n")
    return root


def content(desired) -> dict[str, str]:
    return {candidate.name: candidate.digest for candidate in desired.candidates}


def test_a_look_at_one_model_takes_over_nothing_that_changed_of_another(registry, two):
    sources = Sources((two,), registry)
    before = content(gathered(sources))
    for name in ("m", "n"):
        builders.save(two / name / "1", builders.linear(seed=9))
    shutil.copytree(two / "m", two / "later")
    narrow = content(sources.gather(Config(), Memory(), "m"))
    assert narrow == {"m": narrow["m"], "n": before["n"]}
    assert narrow["m"] != before["m"]
    assert content(gathered(sources)) == dict.fromkeys(["m", "n", "later"], narrow["m"])


def test_a_look_at_one_model_reads_no_other_models_files(registry, two):
    sources = Sources((two,), registry)
    gathered(sources)
    shutil.rmtree(two / "n")  # whoever looks there finds it gone
    assert sorted(content(sources.gather(Config(), Memory(), "m"))) == ["m", "n"]


def test_a_model_that_is_gone_is_forgotten_by_a_look_at_it(registry, two):
    sources = Sources((two,), registry)
    gathered(sources)
    shutil.rmtree(two / "m")
    assert sorted(content(sources.gather(Config(), Memory(), "m"))) == ["n"]


def test_a_look_at_one_model_keeps_the_order_of_the_sources(registry, file, root):
    registry.register(file, "m", 7)
    registry.register(file, "n", 3)
    registry.set_alias("n", "champion", 3)
    sources = Sources((root,), registry)
    assert sources.gather(Config(), Memory(), "m").champions == {"n": 3}  # there was no look yet
    again = sources.gather(Config(), Memory(), "m")
    assert [(one.name, one.version) for one in again.candidates] == [("m", 1), ("n", 3)]
    assert again.champions == {"n": 3}


def test_a_name_that_no_model_can_have_leads_out_of_no_repository(registry, two):
    sources = Sources((two / "m",), registry)
    gathered(sources)
    assert sources.gather(Config(), Memory(), "../n").candidates == []


def test_a_repository_that_is_away_when_one_model_is_looked_at_takes_it_out_of_no_service(
    registry, two, tmp_path
):
    before = Plan(1, (replace(held("m"), folder=str(two / "m" / "1")),))
    sources = Sources((two,), registry)
    gathered(sources, plan=before)
    two.rename(tmp_path / "away")
    found = sources.gather(Config(), Memory(before), "m")
    assert faults(found) == [("m", 0, "its repository cannot be read")]
    assert sorted(content(found)) == ["n"]


# ---- what a model is held against ----


def wish_of(registry, file, document: str = "", own: SelfReferences | None = None):
    config = configuration.parse(document) if document else Config()
    (candidate,) = gathered(Sources((file,), registry, own), config).candidates
    return candidate


@pytest.fixture
def own(tmp_path, registry):
    with Store.open(tmp_path / "home") as store:
        yield SelfReferences(store, tmp_path / "home", by_itself())


def test_a_model_without_a_profile_keeps_its_first_rows(registry, file, own):
    wish = wish_of(registry, file, own=own).wish
    assert (wish.rows, wish.names, list(wish.categories)) == (5000, {}, [])
    named = "models: {m: {feature_names: [a, b, c, d], categories: [b]}}"
    wish = wish_of(registry, file, named, own).wish
    assert (wish.names, list(wish.categories)) == ({"x": ["a", "b", "c", "d"]}, ["b"])


def test_names_that_a_model_brings_along_go_before_those_of_the_configuration(
    registry, tmp_path, own
):
    model = builders.linear()
    helper.set_model_props(model, {"feature_names": "p,q,r,s"})
    file = builders.save(tmp_path, model, "m.onnx")
    named = "models: {m: {feature_names: [a, b, c, d]}}"
    assert wish_of(registry, file, named, own).wish.names == {"x": ["p", "q", "r", "s"]}


@pytest.mark.parametrize("section", ["enabled: false", "reference_rows: 0"])
def test_nothing_is_kept_where_nothing_is_wanted(registry, file, own, section):
    assert wish_of(registry, file, f"monitoring: {{{section}}}", own).wish is None


def test_a_model_that_has_no_rows_keeps_none(registry, tmp_path, own):
    file = builders.save(tmp_path, builders.identity((2, 3)), "m.onnx")
    assert wish_of(registry, file, own=own).wish is None


def test_a_reference_of_own_rows_is_of_one_content_and_steps_back_behind_a_profile(
    registry, file, own, tmp_path
):
    found = wish_of(registry, file, own=own)
    profile = watching.profile_of(*watching.rows(np.random.default_rng(1), 50))
    assert own.freeze(SelfReference("m", 1, found.digest, 0), profile)
    mine = wish_of(registry, file, own=own)
    assert (mine.reference.digest, mine.wish) == (document.digest(profile), None)
    other = watching.profile_of(*watching.rows(np.random.default_rng(2), 60))
    beside.save(other, tmp_path / "given.json")
    given = f"models: {{m: {{profile: {tmp_path / 'given.json'}}}}}"
    assert wish_of(registry, file, given, own).reference.digest == document.digest(other)
    builders.save(tmp_path, builders.linear(seed=9), "m.onnx")
    changed = wish_of(registry, file, own=own)
    assert changed.reference is None
    assert changed.wish.key == layout.first_rows_key("m", 1, changed.digest, 0)


def test_what_was_made_of_a_versions_rows_goes_with_the_version(registry, file, own):
    registry.register(file, "m", 1)
    profile = watching.profile_of(*watching.rows(np.random.default_rng(1), 50))
    own.freeze(SelfReference("m", 1, "content", 0), profile)
    assert own.find("m", 1).file.exists()
    place = own.find("m", 1).file
    registry.remove_version("m", 1, force=True)
    assert own.find("m", 1) is None
    assert not place.exists()


def test_what_was_retired_serves_from_no_source_and_says_so(registry, file, tmp_path):
    registry.register(file, "m", 1)
    registry.register(file, "m", 2)
    left = Retirement("m", 1, 0.0, "ann", "", 2, {})
    gone = Retirement("removed", 4, 0.0, "ann", "", None, {})
    sources = Sources((), registry, retired=lambda: (left, gone))
    desired = gathered(sources, plan=serving("m", 1))
    assert versions(desired) == [2]
    assert [(one.name, one.version, one.retired, one.successor) for one in desired.faults] == [
        ("m", 1, True, 2),
        ("removed", 4, True, 0),
    ]
