"""Who called which version on which day, through restarts of control and of the server."""

from __future__ import annotations

import pytest

from gateway.control.store import Store
from gateway.control.version_use import VersionUse
from gateway.errors import StoreFailed
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from kernels import timing

pytestmark = pytest.mark.anyio
DAY = 86_400.0
START = 20_000 * DAY + 100.0  # 2024-10-04


class World:
    """A server: its arena, a clock, and the keys that callers have."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = START
        self.keys: dict[tuple[str, str, str], float] = {}
        self.seen: dict[tuple[str, str, str], float] = {}
        self.boot()

    def boot(self) -> None:
        self.arena = Arena.create(2)
        self.offset = self.arena.allocate(layout.MODEL, layout.model_key("m", 1))

    def use(self, keys: bool = False) -> VersionUse:
        """As a control process that has just started."""

        async def by_name():
            return sorted(self.keys.items()), sorted(self.seen.items())

        return VersionUse(self.arena, self.store, by_name if keys else None, lambda: self.now)

    def called(self, requests: int, worker: int = 0) -> None:
        slot = self.arena.slot(self.offset, worker)
        slot[layout.NAMED] += requests
        slot[layout.TIMING + timing.LAST_MS] = int(self.now * 1000)


@pytest.fixture
def world(tmp_path):
    with Store.open(tmp_path / "home") as store:
        made = World(store)
        yield made
        made.arena.close()


async def test_where_access_is_open_requests_are_told_by_day_and_when_the_last_was(world):
    use = world.use()
    world.called(3)
    await use.write()
    world.now += DAY
    world.called(4, worker=1)
    (line,) = await use.of("m", 1, 7)
    assert (line["caller"], line["requests"], line["last"]) == (None, 7, START + DAY)
    assert line["days"] == {"2024-10-04": 3, "2024-10-05": 4}
    assert (await use.of("m", 1, 1))[0]["days"] == {"2024-10-05": 4}
    world.now += 3 * DAY
    assert await use.of("m", 1, 2) == []
    assert await use.of("m", 2, 7) == []


async def test_callers_are_told_by_their_keys_the_latest_first(world):
    world.keys = {("till", "m", "1"): 5.0, ("app", "m", "1"): 2.0, ("app", "", ""): 9.0}
    world.seen = {("till", "m", "1"): START - 60.0, ("app", "m", "1"): START - 1.0}
    told = await world.use(keys=True).of("m", 1, 7)
    assert [(one["caller"], one["requests"], one["last"]) for one in told] == [
        ("app", 2, START - 1.0),
        ("till", 5, START - 60.0),
    ]


async def test_a_successor_of_control_counts_on_and_a_new_server_from_zero(world):
    world.called(3)
    await world.use().write()
    world.called(2)
    assert (await world.use().of("m", 1, 7))[0]["requests"] == 5
    world.arena.close()
    world.boot()
    world.called(1)
    assert (await world.use().of("m", 1, 7))[0]["requests"] == 6


async def test_a_version_whose_counts_were_forgotten_is_counted_from_zero_again(world):
    use = world.use()
    world.called(10)
    await use.write()
    world.arena.free(world.offset)
    world.offset = world.arena.allocate(layout.MODEL, layout.model_key("m", 1))
    world.called(4)
    assert (await use.of("m", 1, 7))[0]["requests"] == 14


async def test_what_cannot_be_written_is_written_the_next_time(world, tmp_path):
    use = world.use()
    world.called(3)
    world.store.close()
    with pytest.raises(StoreFailed):
        await use.write()
    await use.close()  # and keeps nobody from leaving


async def test_days_of_long_ago_are_forgotten(world):
    use = world.use()
    world.called(3)
    await use.write()
    world.now += 100 * DAY
    world.called(1)
    await use.write()
    with world.store.read() as db:
        assert [row["requests"] for row in db.execute("SELECT * FROM version_use")] == [1]
