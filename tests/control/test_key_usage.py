"""Which keys are used, from workers' counts to the store."""

from __future__ import annotations

import asyncio
import time

import pytest

from gateway.control.key_usage import Usage
from gateway.control.keys import Keys
from gateway.control.store import Store
from gateway.errors import StoreFailed
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.keys import KeyCounts
from tests.control.auditing import ANN

pytestmark = pytest.mark.anyio

NOW = 1_700_000_000.0
CROWD = range(1000, 1000 + layout.MAX_KEY_SERIES)


@pytest.fixture
def arena():
    made = Arena.create(1)
    made.allocate(layout.MODEL, "m/1")
    return made


@pytest.fixture
def counts(arena):
    versions = {("m", 1), ("", 0)}
    return KeyCounts(arena, 0, lambda _: True, lambda: versions, wall=lambda: NOW)


@pytest.fixture
def keys(tmp_path):
    with Store.open(tmp_path / "home") as store:
        made = Keys(store, b"s" * 32)
        for name in ("ann", "bob"):
            made.create(ANN, name, "client")
        yield made


def last_used(keys):
    return {key.name: key.last_used_at for key in keys.all()}


def use(counts, key):
    counts.series(key, "m", 1)[0] += 1
    counts.mark()


async def test_a_key_that_was_used_is_written_down_however_many_others_there_are(
    arena, counts, keys
):
    for key in CROWD:
        use(counts, key)
    use(counts, 2)
    usage = Usage(arena, keys)
    usage.count()
    await usage.write()
    assert last_used(keys) == {"ann": None, "bob": NOW}
    requests, seen = await usage.by_name()
    assert (("other", "other", "other"), 1.0) in requests
    assert "bob" not in {labels[0] for labels, _ in requests + seen}


async def test_a_successor_of_control_loses_no_use(arena, counts, keys):
    use(counts, 1)
    Usage(arena, keys).count()  # and ended before it wrote
    usage = Usage(arena, keys)
    usage.count()
    await usage.write()
    assert last_used(keys) == {"ann": NOW, "bob": None}


async def test_an_older_use_takes_nothing_back(arena, counts, keys):
    usage = Usage(arena, keys)
    usage.note(1)  # on the control port, now
    use(counts, 1)
    usage.count()
    await usage.write()
    assert time.time() - (last_used(keys)["ann"] or 0.0) < 60


async def test_a_use_that_cannot_be_written_is_written_the_next_time(arena, counts, keys, tmp_path):
    usage = Usage(arena, keys)
    use(counts, 1)
    usage.count()
    (tmp_path / "home").rename(tmp_path / "away")
    with pytest.raises(StoreFailed):
        await usage.write()
    (tmp_path / "away").rename(tmp_path / "home")
    await usage.write()
    assert last_used(keys)["ann"] == NOW


async def test_each_series_is_told_by_the_name_of_its_key(arena, counts, keys):
    use(counts, 1)
    use(counts, 0)
    counts.series(2, "", 0)[0] += 3
    counts.mark()
    requests, seen = await Usage(arena, keys).by_name()
    assert requests == [
        (("ann", "m", "1"), 1.0),
        (("bob", "", ""), 3.0),
        (("token", "m", "1"), 1.0),
    ]
    assert seen == [(labels, NOW) for labels, _ in requests]


async def test_a_use_that_comes_while_others_are_written_is_written_the_next_time(
    arena, counts, keys
):
    usage = Usage(arena, keys)
    usage.note(1)
    writing = asyncio.create_task(usage.write())
    await asyncio.sleep(0)  # it has begun, and waits for its thread
    usage.note(2)
    await writing
    assert last_used(keys)["bob"] is None
    await usage.write()
    assert last_used(keys)["bob"] is not None
