"""Each group of a slicing has a block of its own, as far as there is room for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest

from gateway.config import parse
from gateway.control.blocks import Blocks
from gateway.control.parts import MAX_PARTS, Parts
from gateway.control.references import Reference
from gateway.control.slices import part_asked, slicings
from gateway.errors import InvalidParameter, NotFound
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.plan import Plan
from gateway.profiles.live import block_words
from gateway.taken import Sliced
from tests.monitor.watching import profile_of, rows

PROFILE = profile_of(*rows(np.random.default_rng(1), 500))
REFERENCE = Reference(Path("p"), "d" * 64, PROFILE, block_words(PROFILE))
TIER = "tier: {parameter: tier, groups: [gold, a/b]}"
AGE = "age: {feature: age, edges: [18, 65]}"


def configured(*slices: str):
    return parse(f"models: {{m: {{slices: {{{', '.join(slices)}}}}}}}").slices_of("m")


@pytest.fixture
def arena():
    made = Arena.create(1)
    yield made
    made.close()


@pytest.fixture
def watched():
    return []


@pytest.fixture
def parts(arena, watched):
    return Parts(Blocks(arena, lambda: 0.0), lambda key, profile: watched.append(key))


def test_every_group_is_counted_in_a_block_that_is_found_by_its_name(parts, arena, watched):
    some = configured(TIER, AGE)
    taken = parts.take("m", 1, some, REFERENCE)
    assert [(one.grouping, one.group) for one in taken] == [(0, 1), (0, 2), (1, 1), (1, 2), (1, 3)]
    asked = ["tier:gold", "tier:a/b", "age:..18", "age:18..65", "age:65.."]
    names = [part_asked(slicings(some), one) for one in asked]
    assert [layout.sketch_of(key)[3] for key in watched] == names
    assert [arena.find(layout.SKETCH, key) for key in watched] == [one.block for one in taken]
    assert parts.take("m", 1, some, REFERENCE) == taken
    text = orjson.dumps(Plan(3, watched={"m/1": (Sliced(slicings(some), {}, taken),)}).parts())
    assert orjson.dumps(Plan.from_parts(3, orjson.loads(text)).parts()) == text


def test_a_group_of_another_meaning_is_counted_elsewhere(parts):
    (before, _) = parts.take("m", 1, configured(TIER), REFERENCE)
    (after, _) = parts.take("m", 1, configured(TIER.replace("gold", "lead")), REFERENCE)
    assert before.block != after.block


def test_slicings_beyond_the_bound_have_no_drift_and_the_log_says_so_once(parts, caplog):
    wide = [f"s{n}: {{feature: a, edges: {list(range(9))}}}" for n in range(2)]
    for _ in range(2):
        taken = parts.take("m", 1, configured(*wide, TIER), REFERENCE)
        assert {one.grouping for one in taken} == {0, 2}
        assert len(taken) <= MAX_PARTS
    assert caplog.text.count("slices s1 have no drift") == 1


def test_a_slicing_may_go_without_drift(parts, caplog):
    taken = parts.take("m", 1, configured(TIER.replace("}", ", drift: false}"), AGE), REFERENCE)
    assert {one.grouping for one in taken} == {1}
    assert not caplog.records


@pytest.mark.parametrize(
    ("asked", "error"), [("tier", InvalidParameter), ("tier:x", NotFound), ("x:gold", NotFound)]
)
def test_what_is_no_slice_is_refused(asked, error):
    with pytest.raises(error):
        part_asked(slicings(configured(TIER)), asked)
