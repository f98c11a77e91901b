"""Control writes what workers keep into files, through kills and dead disks; drops are counted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from gateway.capture import files
from gateway.capture.erasure import Wanted
from gateway.capture.files import FOLDER
from gateway.capture.ring import ALARM
from gateway.config import Config, parse
from gateway.control.blocks import CAPTURE_SHARE, Blocks
from gateway.control.capture import Capture
from gateway.control.capture_wishes import CaptureWish
from gateway.control.captured_rows import MAX_WAITING_FILES, Facts
from gateway.errors import StoreFailed
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.capture import CaptureWriter, Choice
from gateway.monitor.scores import reading
from gateway.monitor.slot import Slot
from gateway.outcomes.address import Address
from tests.capture.captured import NOON_MS, SIGNATURE, hashed, schema
from tests.end_to_end.disks import disk

pytestmark = pytest.mark.anyio
FULL = "models: {m: {capture: {mode: full}}}"
SMALL = f"capture: {{file_bytes: 65536, ring_bytes: 131072}}\n{FULL}"


class World:
    """Two workers and control, without a server."""

    def __init__(self, home: Path, pool: ThreadPoolExecutor) -> None:
        self.home = home
        self.pool = pool
        self.arena = Arena.create(2)
        self.config: Config = parse(FULL)
        self.now = NOON_MS / 1000.0
        self.writers: dict[tuple[int, int], CaptureWriter] = {}
        for slot in range(2):
            self.arena.claim(slot, 100 + slot, 1, 0)
        self.capture = self.new_control()

    def new_control(self) -> Capture:
        made = Capture(
            self.arena,
            Blocks(self.arena, lambda: self.now),
            self.home,
            lambda: self.config,
            stream,
            hashed,
            lambda: self.now,
            lambda: self.now,
        )
        (self.taken,) = made.take("m", 1, self.wish())
        return made

    def wish(self) -> CaptureWish:
        scores = reading(SIGNATURE, "auto", None, 1)
        return CaptureWish(schema(), scores, self.config.capture_of("m"))

    def answer(self, sequence: int, rows: int = 1, slot: int = 0, epoch: int = 1) -> str:
        """A worker answers a request and keeps it; its id."""
        writer = self.writers.get((slot, epoch))
        if writer is None:
            words = self.arena.array(self.taken.block, slot)
            writer = CaptureWriter(
                schema(),
                SIGNATURE,
                None,
                Choice(everything=True),
                Slot(words, self.pool),
                epoch,
                lambda: self.now,
            )
            self.writers[slot, epoch] = writer
        values = np.full((rows, 2), float(sequence), np.float32)
        writer.record([values], [np.full((rows, 2), 0.5)], [sequence], [rows], [hashed("ann")])
        return f"{stream(slot, epoch)}-{sequence:x}"

    async def facts(self) -> Facts:
        (found,) = await self.capture.facts()
        return found

    def kept(self) -> list[str]:
        """Ids of the rows in files."""
        found = files.files_in(self.home / FOLDER)
        return [one for file in found for one in files.read(file.path)["request_id"].to_pylist()]


def stream(slot: int, epoch: int) -> str:
    return f"host-3-{slot}-{epoch}"


@pytest.fixture
async def world(tmp_path):
    with ThreadPoolExecutor(1) as pool:
        made = World(tmp_path, pool)
        yield made
        await made.capture.close()
        made.arena.close()


async def test_a_home_where_nothing_is_captured_is_left_alone(tmp_path):
    arena = Arena.create(1)
    blocks = Blocks(arena, lambda: 0.0)
    clock = lambda: 0.0  # noqa: E731
    capture = Capture(arena, blocks, tmp_path, Config, stream, hashed, clock, clock)
    assert capture.take("m", 1, None) == ()
    await capture.look()
    await capture.close()
    assert list(tmp_path.iterdir()) == []


async def test_rows_of_all_workers_come_into_one_file_once_a_minute_is_over(world):
    ids = [world.answer(5, slot=0), world.answer(6, slot=1)]
    await world.capture.look()
    assert world.kept() == []
    assert (await world.facts()).waiting == 2
    world.now += 61
    await world.capture.look()
    await world.capture.look()
    assert sorted(world.kept()) == sorted(ids)
    found = await world.facts()
    assert (found.captured, found.waiting, found.rows) == (2, 0, 2)
    assert found.oldest_ms == NOON_MS
    assert found.dropped == {"ring": 0, "error": 0, "lost": 0}


async def test_what_was_predicted_is_told_by_the_threshold_in_force(world):
    for threshold, predicted in ((0.5, 0.0), (0.4, 1.0)):
        world.config = parse(
            f"models: {{m: {{capture: {{mode: full}}, scores: {{threshold: {threshold}}}}}}}"
        )
        name = world.answer(int(threshold * 10))
        await world.capture.flush()
        (file,) = [
            table
            for one in files.files_in(world.home / FOLDER)
            if (table := files.read(one.path))["request_id"].to_pylist() == [name]
        ]
        assert file["score"].to_pylist() == [0.5]
        assert file["prediction"].to_pylist() == [predicted]


async def test_rows_of_two_hours_are_in_two_files(world):
    world.answer(1)
    world.now += 3600
    world.answer(2)
    await world.capture.flush()
    assert len(files.files_in(world.home / FOLDER)) == 2


async def test_what_a_worker_keeps_before_it_dies_is_under_its_own_epoch(world):
    world.answer(1, epoch=1)
    world.arena.claim(0, 200, 2, 0)
    world.answer(1, epoch=2)
    await world.capture.flush()
    assert sorted(world.kept()) == ["host-3-0-1-1", "host-3-0-2-1"]


async def test_a_killed_control_loses_what_was_in_no_file_and_that_is_counted(world):
    world.answer(1, rows=3)
    await world.capture.look()
    killed, world.capture = world.capture, world.new_control()
    world.answer(2)
    world.now += 61
    await world.capture.look()  # takes it
    world.now += 61
    await world.capture.look()
    assert world.kept() == ["host-3-0-1-2"]
    assert (await world.facts()).dropped["lost"] == 3
    killed._rows._waiting.clear()  # it died
    await killed.close()


async def test_the_end_of_a_server_loses_nothing(world):
    name = world.answer(1)
    await world.capture.close()
    assert world.kept() == [name]
    world.capture = world.new_control()


async def test_while_a_disk_is_dead_rows_wait_then_drop_and_requests_never_notice(world):
    world.config = parse(SMALL)
    world.writers.clear()
    await world.capture.close()
    world.arena.free(world.taken.block)
    world.capture = world.new_control()
    (world.home / FOLDER).write_text("in the way")
    sent = 0
    for sequence in range(400):
        world.answer(sequence, rows=50)
        sent += 50
        world.now += 2
        if sequence % 4 == 0:
            try:
                await world.capture.look()
            except StoreFailed:
                continue
    found = await world.facts()
    room = (MAX_WAITING_FILES + 2) * 65_536 // 24
    assert 0 < found.waiting < room
    assert found.captured + found.dropped["ring"] == sent
    assert found.dropped["ring"] > 0
    (world.home / FOLDER).unlink()
    await world.capture.flush()
    assert len(world.kept()) == found.captured


async def test_a_full_disk_loses_nothing_that_still_waits(world, tmp_path):
    with disk(tmp_path / FOLDER, megabytes=1) as small:
        small.fill()
        name = world.answer(1)
        for _ in range(2):
            with pytest.raises(StoreFailed, match="No space left"):
                await world.capture.flush()
        assert (await world.facts()).waiting == 1
        small.make_room()
        await world.capture.flush()
        assert world.kept() == [name]


async def test_rows_that_make_no_table_are_counted_and_in_nobodys_way(world, caplog):
    world.answer(1, rows=2)
    await world.capture.look()
    (waiting,) = world.capture._rows._waiting.values()
    waiting.frames[0] = (0, waiting.frames[0][1][:-8])
    world.answer(2)
    await world.capture.flush()
    name = world.answer(3)
    await world.capture.flush()
    assert world.kept() == [name]
    assert (await world.facts()).dropped["lost"] == 3
    assert "3 captured rows are lost" in caplog.text


async def test_files_are_bounded_by_age_and_bytes(world):
    world.config = parse("capture: {max_age_s: 100}\n" + FULL)
    world.answer(1)
    await world.capture.flush()
    world.now += 101
    world.answer(2)
    await world.capture.flush()
    await world.capture.look()
    assert world.kept() == ["host-3-0-1-2"]


async def test_workers_are_told_whether_an_alarm_fires(world):
    words = [world.arena.array(world.taken.block, slot) for slot in range(2)]
    world.capture.alarm({("m", 1), ("n", 2)})
    assert [one[ALARM] for one in words] == [1, 1]
    world.capture.alarm({("m", 2)})
    assert [one[ALARM] for one in words] == [0, 0]


async def test_what_was_erased_is_in_no_file_and_the_rest_is(world):
    for sequence in range(4):
        world.answer(sequence)
    await world.capture.flush()
    wanted = Wanted(requests=frozenset({Address(stream(0, 1), 2)}))
    assert (await world.capture.find(wanted)).rows == 1
    found = await world.capture.erase(wanted)
    assert (found.rows, found.versions) == (1, {("m", 1)})
    assert sorted(world.kept()) == ["host-3-0-1-0", "host-3-0-1-1", "host-3-0-1-3"]
    assert (await world.facts()).rows == 3
    assert (await world.capture.erase(wanted)).rows == 0


async def test_a_subject_is_erased_with_all_its_requests(world):
    world.answer(1)
    world.answer(7, slot=1)
    await world.capture.flush()
    found = await world.capture.erase(Wanted(subjects=frozenset({hashed("ann").hex()})))
    assert found.requests == {Address(stream(0, 1), 1), Address(stream(1, 1), 7)}
    assert list((world.home / FOLDER).rglob("*")) == []


async def test_eight_versions_find_room_and_what_is_counted_is_left_more(world):
    taken = [world.capture.take("n", version, world.wish()) for version in range(12)]
    assert 7 <= sum(map(len, taken)) < 10
    blocks = list(world.arena.blocks(layout.CAPTURE))
    room = sum(block.words * 8 * world.arena.workers for block in blocks)
    assert room < CAPTURE_SHARE * world.arena.size_bytes < world.arena.size_bytes / 2
    assert world.capture.take("n", 0, world.wish()) == taken[0]
