"""Versions that share a route are counted by one profile, whatever happens to their weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gateway.control.blocks import Blocks
from gateway.control.common_profiles import CommonProfiles
from gateway.control.references import Reference
from gateway.monitor import layout
from gateway.monitor.arena import DEFAULT_BYTES, Arena
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
    before = plan((3, 1.0), (1, 9.0), (2, 5.0))
    found = common.place(before)
    keys = [layout.sketch_key("m", version, DIGESTS[1], part=layout.COMMON) for version in (2, 3)]
    assert watched == keys
    blocks = [arena.find(layout.SKETCH, key) for key in keys]
    common_ones = [Watched(DIGESTS[1], "/a", block, common=True) for block in blocks]
    assert found.watched == {
        "m/1": before.watched["m/1"],
        "m/2": (*before.watched["m/2"], common_ones[0]),
        "m/3": (*before.watched["m/3"], common_ones[1]),
    }


def test_weights_and_repetition_change_nothing(common):
    first = common.place(plan((1, 99.0), (2, 1.0)))
    assert common.place(plan((1, 0.0), (2, 100.0))).watched == first.watched


def test_a_version_without_a_profile_leaves_it_to_the_next(common):
    found = common.place(plan((1, 1.0), (2, 1.0), (3, 1.0), m_1=(Kept(512, 5000),)))
    digests = {
        name: [one.digest for one in some if isinstance(one, Watched)]
        for name, some in found.watched.items()
    }
    assert digests == {"m/1": [DIGESTS[2]], "m/2": [DIGESTS[2]], "m/3": [DIGESTS[3], DIGESTS[2]]}


def test_nothing_more_is_counted_where_there_is_nothing_to_compare(common):
    same = (Watched(DIGESTS[1], "/1", 8192),)
    for alone in (
        plan((1, 1.0)),
        Plan(1, (), (Route("m", 1, {1: "m/1"}),)),
        plan((1, 1.0), (2, 1.0), m_2=same),
        plan((1, 1.0), (2, 1.0), m_1=(), m_2=()),
    ):
        assert common.place(alone) is alone


def test_a_profile_that_nobody_has_read_here_is_left_alone(arena):
    stranger = CommonProfiles(Blocks(arena, lambda: 0.0), lambda key, profile: None)
    both = plan((1, 1.0), (2, 1.0))
    assert stranger.place(both) is both


def test_what_finds_no_room_is_told_once_however_many_plans_there_are(arena, caplog):
    made = CommonProfiles(Blocks(arena, lambda: 0.0), lambda key, profile: None)
    made.know(Reference(Path("/a"), DIGESTS[1], PROFILE, DEFAULT_BYTES))
    both = plan((1, 9.0), (2, 1.0))
    for _ in range(3):
        assert made.place(both) is both
    (line,) = caplog.messages
    assert line.startswith("model 'm' version 2: ")
