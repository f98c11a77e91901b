"""Contracts in control: out of the newest release into the plan, and what was counted of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from gateway.config import Config, ModelConfig
from gateway.contracts.inference import infer
from gateway.contracts.values import Contract, Range, names_of
from gateway.control import contract_metrics
from gateway.control.blocks import Blocks
from gateway.control.contracts import Breaches, Contracts
from gateway.control.references import Reference
from gateway.control.releases import Releases
from gateway.control.store import Store
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.plan import Held, Plan
from gateway.profiles import document
from gateway.profiles.live import block_words
from gateway.taken import Watched
from tests.monitor.watching import profile_of, rows

PROFILE = profile_of(*rows(np.random.default_rng(1), 200))
NAMES = names_of(infer(PROFILE))
FOUND = Reference(Path("profile.json"), document.digest(PROFILE), PROFILE, block_words(PROFILE))


class World:
    def __init__(self, home, store):
        self.arena = Arena.create(2)
        self.releases = Releases(store, home)
        self.blocks = Blocks(self.arena, lambda: 0.0)
        self.contracts = Contracts(self.arena, self.blocks, self.releases)

    def agreed(self, found=FOUND, config=None):
        _, agreement = self.contracts.released("m", 1, found, config or Config())
        return self.contracts.take("m", 1, agreement)

    def plan(self, agreed) -> Plan:
        held = Held("m", 1, "/", "m.onnx", "content", {}, {}, 0)
        return Plan(1, (held,), watched={held.id: (Watched("p", "/p", 0, agreed),)})


@pytest.fixture
def store(home):
    with Store.open(home) as made:
        yield made


@pytest.fixture
def world(home, store):
    made = World(home, store)
    yield made
    made.arena.close()


def test_the_policy_of_the_document_goes_into_the_plan(world):
    assert world.agreed().policy == "observe"
    config = Config(models={"m": ModelConfig(contract="reject")})
    assert world.agreed(config=config).policy == "reject"


def test_what_a_rollback_put_in_force_replaces_what_is_found(world):
    other = profile_of(*rows(np.random.default_rng(2), 200))
    newer = Reference(Path("other.json"), document.digest(other), other, block_words(other))
    assert world.contracts.released("m", 1, FOUND, Config())[0] is FOUND
    assert world.contracts.released("m", 1, newer, Config())[0] is newer
    world.releases.rollback("m", 1)
    reference, agreement = world.contracts.released("m", 1, newer, Config())
    assert (reference.digest, agreement.contract) == (FOUND.digest, infer(PROFILE))
    assert reference.path == world.releases.profile_file(world.releases.newest("m", 1))


def test_where_no_new_release_can_be_kept_the_newest_goes_on(world, store):
    before = world.agreed()
    with store.write() as db:
        db.execute(
            "CREATE TRIGGER full BEFORE INSERT ON monitoring_releases"
            " BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
    other = profile_of(*rows(np.random.default_rng(2), 200))
    newer = Reference(Path("other.json"), document.digest(other), other, block_words(other))
    reference, agreement = world.contracts.released("m", 1, newer, Config())
    assert (reference.digest, agreement.digest) == (FOUND.digest, before.digest)


def test_a_disk_that_refuses_leaves_values_counted_and_nothing_agreed(world, home):
    (home / "models").write_text("in the way of the folder")
    assert world.contracts.released("m", 1, FOUND, Config()) == (FOUND, None)
    assert world.contracts.take("m", 1, None) is None


def test_breaches_of_all_workers_add_up_by_feature_and_rule(world):
    agreed = world.agreed()
    for worker in range(2):
        words = world.arena.array(agreed.block, worker)
        words[layout.CONTRACT_ROWS], words[layout.SKETCH_SKIPPED] = 10, 1
        words[layout.CONTRACT_FIRST + 3] = 4  # the first column's fourth rule
    (found,) = world.contracts.breaches(world.plan(agreed))
    assert (found.model, found.version, found.policy, found.rows, found.skipped_rows) == (
        *("m", 1, "observe"),
        *(20, 2),
    )
    assert list(found.lines()) == [(NAMES[0], "below", 8)]


def test_another_range_counts_on_where_the_last_one_stopped(world):
    before = world.agreed()
    first, *others = infer(PROFILE).tensors
    anything = tuple(Range(column.name) for column in first.columns)
    world.releases.set_contract("m", 1, Contract((replace(first, columns=anything), *others)))
    after = world.agreed()
    assert after.digest != before.digest
    assert after.block == before.block


def test_a_contract_file_that_is_lost_has_no_figures(world):
    agreed = world.agreed()
    Path(agreed.path).unlink()
    successor = Contracts(world.arena, world.blocks, world.releases)
    assert successor.breaches(world.plan(agreed)) == ()


def test_series_are_bounded_and_keep_what_they_are_about():
    names = [f"f{place}" for place in range(5)]
    counts = np.zeros((5, layout.CONTRACT_RULES), np.int64)
    counts[1, 3], counts[3, 3], counts[4, 3], counts[4, 0] = 1, 2, 4, 8
    found = Breaches("m", 1, "warn", "d", 100, 7, names, counts)

    class Once:
        def collect(self):
            yield from contract_metrics.families([found], max_features=2)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Once())
    text = generate_latest(registry).decode()
    lines = sorted(line for line in text.splitlines() if not line.startswith("#"))
    broken = 'penstock_contract_violations_total{feature="%s",model="m",rule="%s",version="1"} %s'
    assert lines == [
        'penstock_contract_rows_total{model="m",version="1"} 100.0',
        'penstock_contract_skipped_rows_total{model="m",version="1"} 7.0',
        broken % ("f1", "below", 1.0),
        broken % ("other", "below", 6.0),
        broken % ("other", "missing", 8.0),
    ]
