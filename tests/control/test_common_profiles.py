"""Versions that share a route are counted by one profile, whatever happens to their weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gateway.control.blocks import Blocks
from gateway.control.common_profiles import CommonProfiles
from gateway.control.references import Reference
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.plan import Plan, Route, Split, Variant
from gateway.profiles.live import block_words
from gateway.taken import Kept, Taken, Watched
from tests.monitor.watching import profile_of, rows

PROFILE = profile_of(*rows(np.random.default_rng(1), 500))
DIGESTS = {1: "a" * 64, 2: "b" * 64, 3: "c" * 64}


@pytest.fixture
def arena():
    made = Arena.create(1)
    yield made
    made.close()


@pytest.fixture
def watched():
    return []


@pytest.fixture
def common(arena, watched):
    made = CommonProfiles(Blocks(arena, lambda: 0.0), lambda key, profile: watched.append(key))
    for digest in DIGESTS.values():
        made.know(Reference(Path(f"/{digest[0]}"), digest, PROFILE, block_words(PROFILE)))
    return made


def plan(*weights: tuple[int, float], **taken: tuple[Taken, ...]) -> Plan:
    """Versions of one route with their weights, each counted by its own profile."""
    split = Split(tuple(Variant(f"v{version}", version, one) for version, one in weights))
    own = {
        f"m/{version}": (Watched(DIGESTS[version], f"/{version}", 4096 * version),)
        for version, _ in weights
    }
    route = Route("m", 1, {version: f"m/{version}" for version, _ in weights}, split)
    return Plan(
        1, (), (route,), watched=own | {name.replace("_", "/"): t for name, t in taken.items()}
    )


def test_all_others_are_counted_by_the_profile_of_the_oldest(common, arena, watched):
    found = common.take(plan((3, 1.0), (1, 9.0), (2, 5.0)))
    keys = [layout.sketch_key("m", version, DIGESTS[1], part=layout.COMMON) for version in (2, 3)]
    assert watched == keys
    blocks = [arena.find(layout.SKETCH, key) for key in keys]
    assert found == {
        f"m/{version}": (Watched(DIGESTS[1], "/a", block, common=True),)
        for version, block in zip((2, 3), blocks, strict=True)
    }


def test_weights_and_repetition_change_nothing(common):
    first = common.take(plan((1, 99.0), (2, 1.0)))
    assert common.take(plan((1, 0.0), (2, 100.0))) == first


def test_a_version_without_a_profile_leaves_it_to_the_next(common):
    first_rows = (Kept(512, 5000),)
    found = common.take(plan((1, 1.0), (2, 1.0), (3, 1.0), m_1=first_rows))
    assert {name: some[0].digest for name, some in found.items()} == {
        "m/1": DIGESTS[2],
        "m/3": DIGESTS[2],
    }


def test_nothing_more_is_counted_where_there_is_nothing_to_compare(common):
    assert common.take(plan((1, 1.0))) == {}
    assert common.take(Plan(1, (), (Route("m", 1, {1: "m/1"}),))) == {}
    same = (Watched(DIGESTS[1], "/1", 8192),)
    assert common.take(plan((1, 1.0), (2, 1.0), m_2=same)) == {}
    assert common.take(plan((1, 1.0), (2, 1.0), m_1=(), m_2=())) == {}


def test_a_profile_that_nobody_has_read_here_is_left_alone(arena):
    stranger = CommonProfiles(Blocks(arena, lambda: 0.0), lambda key, profile: None)
    assert stranger.take(plan((1, 1.0), (2, 1.0))) == {}
