"""A worker counts each deployment's values as the plan says, and says where it cannot."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gateway.afterwards import Afterwards
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.parts import Parts
from gateway.plan import Plan
from gateway.profiles import beside, document
from gateway.profiles.live import ROWS, SKIPPED, block_words, places
from gateway.sketches import Sketches
from gateway.taken import Kept, Part, Recorded, Sliced, Slicing, Watched
from tests.monitor.watching import SIGNATURE, profile_of, rows

PROFILE = profile_of(*rows(np.random.default_rng(1), 500))
OTHER = replace(PROFILE, frames=PROFILE.frames[:1] + PROFILE.frames[2:])
WRONG = replace(PROFILE, frames=(replace(PROFILE.frames[0], shape=(-1, 3)), *PROFILE.frames[1:]))


class Endpoint:
    """Of a deployment, what sketches see."""

    def __init__(self) -> None:
        self.takers: tuple[Any, ...] = ()
        self.parts: list[Parts | None] = []
        self.watched = asyncio.Event()

    def watch(self, afterwards: Afterwards) -> None:
        self.takers = afterwards.takers
        self.parts.append(afterwards.parts)
        assert afterwards.capture is None
        self.watched.set()

    def agree(self, door) -> None:
        assert door is None


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("profile", "wanted"),
    [
        pytest.param(PROFILE, (40, 0), id="its-own"),
        pytest.param(OTHER, (40, 0), id="one-input-left-out"),
        pytest.param(WRONG, (0, 40), id="another-models"),
        pytest.param(None, (0, 40), id="gone"),
    ],
)
async def test_rows_of_a_model_whose_profile_cannot_be_used_count_as_skipped(
    tmp_path, profile, wanted
):
    """Reports and the default rules tell of it: the log alone is read by nobody."""
    arena, given = Arena.create(1), profile or PROFILE
    file = tmp_path / "profile.json"
    if profile is not None:
        beside.save(profile, file)
    digest = document.digest(given)
    key = layout.sketch_key("m", 1, digest)
    block = arena.allocate(layout.SKETCH, key, block_words(given))
    endpoint = Endpoint()
    served: Any = SimpleNamespace(
        held=SimpleNamespace(id="m/1", name="m"),
        deployment=SimpleNamespace(signature=SIGNATURE),
        endpoint=endpoint,
    )
    with ThreadPoolExecutor(1) as pool:
        sketches = Sketches(arena, 0, 1, pool)
        plan = Plan(1, watched={"m/1": (Watched(digest, str(file), block),)})
        sketches.follow(plan, [served])
        async with asyncio.timeout(60):
            await endpoint.watched.wait()
        inputs, outputs = rows(np.random.default_rng(2), 40)
        for taker in endpoint.takers:
            taker.count(inputs, outputs, 40)
        counts = arena.array(block, 0)[places(given).counts]
        assert (counts[ROWS], counts[SKIPPED]) == wanted
        sketches.release(served)
        assert endpoint.takers == ()
    arena.close()


@pytest.mark.anyio
async def test_a_block_that_is_not_there_leaves_its_deployment_unwatched_and_others_alone(
    caplog,
):
    """An error would leave the worker with half a plan."""
    arena, endpoint = Arena.create(1), Endpoint()
    served: Any = SimpleNamespace(
        held=SimpleNamespace(id="m/1", name="m"),
        deployment=SimpleNamespace(signature=SIGNATURE),
        endpoint=endpoint,
    )
    with ThreadPoolExecutor(1) as pool:
        sketches = Sketches(arena, 0, 1, pool)
        sketches.follow(Plan(1, watched={"m/1": (Kept(1 << 20, 5000, {}, ()),)}), [])
        sketches.prepare("m/1", SIGNATURE)
        sketches.follow(Plan(1, watched={"m/1": (Kept(1 << 20, 5000, {}, ()),)}), [served])
    assert "model 'm' is not watched" in caplog.text
    assert endpoint.takers == ()
    arena.close()


SLICES = (
    Slicing("age", ["..0", "0.."], "age", None, [0.0], []),
    Slicing("gone", ["a"], "hat size", None, [], [["a"]]),
    Slicing("odd", ["a"], "income", None, [], [["a"]]),
    Slicing("work", ["desk", "shop"], "job", None, [], [["clerk"], ["smith", "baker"]]),
    Slicing("tier", ["gold"], None, "tier", [], [["gold"]]),
)


@pytest.mark.anyio
@pytest.mark.parametrize("watched", [True, False], ids=["by-its-profile", "by-the-document"])
async def test_rows_are_told_apart_by_the_names_that_columns_have(tmp_path, caplog, watched):
    """What a model does not have is told of, and the model serves on."""
    file, arena, endpoint = tmp_path / "profile.json", Arena.create(1), Endpoint()
    beside.save(PROFILE, file)
    digest = document.digest(PROFILE)
    block = arena.allocate(layout.SKETCH, layout.sketch_key("m", 1, digest), block_words(PROFILE))
    ring = arena.allocate(layout.LEDGER, layout.LEDGER_BLOCK)
    names = {} if watched else {"x": ["age", "income"]}
    recorded = Recorded(ring, 1, "auto", "score", 1)
    young = arena.allocate(layout.SKETCH, "m/1//young/d", block_words(PROFILE))
    sliced = Sliced(SLICES, names, (Part(0, 1, young),))
    served: Any = SimpleNamespace(
        held=SimpleNamespace(id="m/1", name="m"),
        deployment=SimpleNamespace(signature=SIGNATURE),
        endpoint=endpoint,
    )
    taken: Any = (recorded, sliced)
    if watched:
        taken = (Watched(digest, str(file), block), recorded, sliced)
    with ThreadPoolExecutor(1) as pool:
        sketches = Sketches(arena, 0, 1, pool)
        sketches.follow(Plan(1, watched={"m/1": taken}), [])
        sketches.prepare("m/1", SIGNATURE)
        sketches.follow(Plan(1, watched={"m/1": taken}), [served])
        (parts,) = endpoint.parts
        assert parts is not None
        inputs = [np.array([[-1, 0], [1, 0]], "f4"), np.array([[b"baker"], [b"clerk"]], object)]
        outputs = [np.array([0, 1]), np.array([[0.5], [0.25]], "f4")]
        marking = parts.marking(inputs, [1, 1], [{"tier": "gold"}, {}])
        assert marking().tolist() == [1 | 2 << 15 | 1 << 20, 2 | 1 << 15]
        parts.count(inputs, outputs, 2, marking)
        sketches.release(served)
    counts = arena.array(young, 0)[places(PROFILE).counts]
    assert (counts[ROWS], counts[SKIPPED]) == ((1, 0) if watched else (0, 0))
    assert "models.m.slices.gone: feature 'hat size': it is none of 'age', 'income', 'job'" in (
        caplog.text
    )
    assert "models.m.slices.odd: feature 'income': it holds numbers, and no 'a'" in caplog.text
    assert endpoint.parts[-1] is None
    arena.close()


@pytest.mark.anyio
@pytest.mark.parametrize("fits", [True, False])
async def test_another_versions_profile_counts_beside_its_own_or_is_left_out(
    tmp_path, caplog, fits
):
    file, other, arena = tmp_path / "own.json", tmp_path / "other.json", Arena.create(1)
    endpoint = Endpoint()
    beside.save(PROFILE, file)
    if fits:
        beside.save(PROFILE, other)
    keys = [layout.sketch_key("m", 2, "a"), layout.sketch_key("m", 2, "b", part=layout.COMMON)]
    blocks = [arena.allocate(layout.SKETCH, key, block_words(PROFILE)) for key in keys]
    taken = (
        Watched("a", str(file), blocks[0]),
        Watched("b", str(other), blocks[1], common=True),
    )
    served: Any = SimpleNamespace(
        held=SimpleNamespace(id="m/2", name="m"),
        deployment=SimpleNamespace(signature=SIGNATURE),
        endpoint=endpoint,
    )
    with ThreadPoolExecutor(1) as pool:
        sketches = Sketches(arena, 0, 1, pool)
        sketches.follow(Plan(1, watched={"m/2": taken}), [served])
        async with asyncio.timeout(60):
            await endpoint.watched.wait()
        inputs, outputs = rows(np.random.default_rng(2), 40)
        for taker in endpoint.takers:
            taker.count(inputs, outputs, 40)
    counts = [arena.array(block, 0)[places(PROFILE).counts] for block in blocks]
    assert (counts[0][ROWS], counts[0][SKIPPED]) == (40, 0)
    assert (counts[1][ROWS], counts[1][SKIPPED]) == ((40, 0) if fits else (0, 40))
    assert ("another version's profile" in caplog.text) is not fits
    arena.close()
