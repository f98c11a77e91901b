"""What is erased is in no file of the home any more; the audit tells that it was, and not what."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.access.secret import SUBJECT, keyed_hash, server_secret
from gateway.capture import files
from gateway.config import parse
from gateway.control.audit import Audit, by_itself
from gateway.control.blocks import Blocks
from gateway.control.capture import Capture
from gateway.control.capture_wishes import CaptureWish
from gateway.control.erasures import Erasures, erase_offline
from gateway.control.outcomes import Outcomes
from gateway.control.recorder import Recorder
from gateway.control.self_references import SelfReferences
from gateway.control.store import Store
from gateway.control.troubles import Troubles
from gateway.errors import InvalidParameter, StoreFailed
from gateway.monitor.arena import Arena
from gateway.monitor.capture import CaptureWriter, Choice
from gateway.monitor.ledger import LedgerWriter
from gateway.monitor.scores import reading
from gateway.monitor.slot import Slot
from gateway.outcomes.arrivals import Arrival, of_list
from tests.capture.captured import NOON_MS, SIGNATURE, schema
from tests.control.test_outcomes import candidate

pytestmark = pytest.mark.anyio
CONFIG = parse("ledger: {enabled: true, client_ids: true}\nmodels: {m: {capture: {mode: full}}}")
MARK = 41.625  # of the rows that are to go
SCORES = reading(SIGNATURE, "auto", None, 1)


def stream(slot: int, epoch: int) -> str:
    return f"host-3-{slot}-{epoch}"


class World:
    """A worker and control, without a server."""

    def __init__(self, home: Path, pool: ThreadPoolExecutor) -> None:
        self.home = home
        self.store = Store.open(home)
        self.secret = server_secret(home)
        self.arena = Arena.create(1)
        self.arena.claim(0, 100, 1, 0)
        self.now = NOON_MS / 1000.0
        clock = lambda: self.now  # noqa: E731
        config = lambda: CONFIG  # noqa: E731
        blocks = Blocks(self.arena, clock)
        hashed = lambda text: keyed_hash(self.secret, "value", text)  # noqa: E731
        self.capture = Capture(self.arena, blocks, home, config, stream, hashed, clock, clock)
        self.outcomes = Outcomes(self.arena, home, config, stream, clock)
        self.own = SelfReferences(self.store, home)
        self.recorder = Recorder(self.store, Troubles())
        self.collecting = [("m", 1), ("n", 4)]
        self.followed = 0
        self.erasures = Erasures(
            self.secret,
            self.capture,
            self.outcomes,
            self.own,
            lambda: self.collecting,
            self.recorder.record,
            self._follow,
        )
        wish = CaptureWish(schema(), SCORES, CONFIG.capture_of("m"))
        (captured,) = self.capture.take("m", 1, wish)
        (recorded,) = self.outcomes.take(candidate())
        ring = Slot(self.arena.array(captured.block, 0), pool)
        self.keeps = CaptureWriter(schema(), SIGNATURE, SCORES, Choice(True), ring, 1, clock)
        ledger = Slot(self.arena.array(recorded.block, 0), pool)
        self.writes = LedgerWriter(
            SCORES, ledger, recorded.series, 1, wall=clock, client_ids=recorded.client_ids
        )

    async def _follow(self) -> None:
        self.followed += 1

    def answer(
        self,
        sequence: int,
        subject: str,
        value: float = 1.0,
        rows: int = 2,
        name: str | None = None,
    ) -> str:
        """Answers a request, which its client calls by a name; its id."""
        inputs = [np.full((rows, 2), value, np.float32)]
        outputs = [np.full((rows, 2), 0.5)]
        whose = keyed_hash(self.secret, SUBJECT, subject)
        self.keeps.record(inputs, outputs, [sequence], [rows], [whose])
        self.writes.record(outputs, [sequence], [rows], np.zeros(rows, np.int64), [name])
        return f"{stream(0, 1)}-{sequence:x}"

    async def label(self, *ids: str) -> None:
        some = [Arrival(one, row, 1.0, None) for one in ids for row in (0, 1)]
        found = await self.outcomes.receive(of_list(some), None)
        assert found.counts["accepted"] == len(some)

    async def labelled(self) -> int:
        return (await self.outcomes.performance("m", 1, None)).found.labelled

    def holding(self, *texts: bytes) -> list[str]:
        """Files of the home, their Parquet unpacked, that hold one of some texts."""
        found = []
        for path in self.home.rglob("*"):
            if path.is_file() and path.name != "secret":
                content = path.read_bytes()
                if path.suffix == ".parquet":
                    content += repr(files.read(path).to_pydict()).encode()
                found += [path.name for text in texts if text in content]
        return found


@pytest.fixture
async def world(tmp_path):
    with ThreadPoolExecutor(1) as pool:
        made = World(tmp_path, pool)
        running = asyncio.get_running_loop().create_task(made.recorder.run())
        yield made
        made.recorder.close()
        await running
        await made.capture.close()
        await made.outcomes.close()
        made.store.close()
        made.arena.close()


def audited(world: World) -> list[Any]:
    return [one.as_json() for one in Audit(world.store).page(0, 0.0, 100) if one.action == "erase"]


async def test_a_subject_is_in_no_file_afterwards_and_others_are(world):
    gone = [world.answer(0xABC1, "ann", MARK), world.answer(0xABC2, "ann", MARK)]
    stays = world.answer(0xABC3, "bob")
    await world.label(*gone, stays)
    await world.capture.flush()
    assert world.holding(b"abc1", b"41.625") != []
    report = await world.erasures.erase(by_itself(), [], ["ann"])
    assert (report.requests, report.rows, report.records) == (2, 4, 4)
    whose = keyed_hash(world.secret, SUBJECT, "ann").hex().encode()
    assert world.holding(b"abc1", b"abc2", b"41.625", b"ann", whose) == []
    assert await world.labelled() == 2
    assert len(world.holding(b"abc3")) == 1


async def test_a_request_is_erased_while_it_is_in_no_file_yet(world):
    gone, stays = world.answer(0xABC1, "ann"), world.answer(0xABC2, "ann")
    report = await world.erasures.erase(by_itself(), [gone], [])
    assert (report.requests, report.rows, report.records) == (1, 2, 2)
    await world.capture.flush()
    assert world.holding(b"abc1") == []
    found = await world.outcomes.receive(of_list([Arrival(gone, 0, 1.0, None)]), None)
    assert found.counts["unknown"] == 1
    await world.label(stays)


async def test_an_outcome_that_waits_goes_too(world):
    world.answer(1, "ann")
    early, other = f"{stream(0, 1)}-abc77", f"{stream(0, 1)}-abc78"
    some = [Arrival(one, 0, 1.0, None) for one in (early, other)]
    await world.outcomes.receive(of_list(some), None)
    assert world.holding(early.encode()) != []
    assert (await world.erasures.erase(by_itself(), [early], [])).waiting == 1
    assert (await world.outcomes.status())["waiting"] == 1
    assert (world.holding(early.encode()), world.holding(other.encode()) != []) == ([], True)


async def test_an_outcome_that_waits_by_its_clients_id_goes_too(world):
    some = [Arrival(one, 0, 1.0, client=True) for one in ("visit-of-ann", "visit-of-bob")]
    await world.outcomes.receive(of_list(some), None)
    gone = world.answer(0xABC1, "ann", name="visit-of-ann")
    world.answer(0xABC2, "bob", name="visit-of-bob")
    assert (await world.erasures.erase(by_itself(), [gone], [])).waiting == 1
    assert world.holding(b"visit-of-ann") == []
    await world.outcomes.look()
    assert (await world.outcomes.status())["waiting"] == 0
    assert await world.labelled() == 1  # bob's


async def test_the_audit_tells_what_was_erased_by_keyed_hash_alone(world):
    name = world.answer(0xABC1, "ann")
    await world.erasures.erase(by_itself(), [name], ["ann"])
    request, subject = audited(world)
    assert request["subject"].startswith("request/")
    assert subject["subject"].startswith("subject/")
    assert subject["after"] == {"requests": 1, "rows": 2}
    again = await world.erasures.erase(by_itself(), [], ["ann"])
    assert (again.rows, again.records) == (0, 0)
    assert audited(world)[2]["subject"] == subject["subject"]


async def test_what_was_interrupted_goes_on_when_it_is_asked_for_again(world):
    """A subject's requests are known from captured rows alone: these go after the ledger."""
    ids = [world.answer(1, "ann"), world.answer(2, "bob")]
    await world.label(*ids)
    await world.capture.flush()
    (file,) = files.files_in(world.home / files.FOLDER)
    in_the_way = file.path.with_suffix(".half")
    in_the_way.mkdir()
    with pytest.raises(StoreFailed):
        await world.erasures.erase(by_itself(), [], ["ann"])
    assert (await world.labelled(), files.read(file.path).num_rows) == (2, 4)
    in_the_way.rmdir()
    report = await world.erasures.erase(by_itself(), [], ["ann"])
    assert (report.rows, report.records) == (2, 0)
    (file,) = files.files_in(world.home / files.FOLDER)
    assert (file.rows, files.read(file.path).num_rows) == (2, 2)


async def test_first_rows_that_may_hold_it_are_thrown_away(world):
    name = world.answer(1, "ann")
    report = await world.erasures.erase(by_itself(), [name], [])
    assert report.begun_anew == ["m/1"]
    assert (world.own.all()["m", 1].resets, world.followed) == (1, 1)
    nobodys = await world.erasures.erase(by_itself(), ["host-1-0-1-5"], [])
    assert nobodys.begun_anew == ["m/1", "n/4"]
    assert world.own.all()["m", 1].resets == 2


async def test_who_asks_for_nothing_changes_nothing(world):
    assert (await world.erasures.erase(by_itself(), [], [])).begun_anew == []
    assert audited(world) == []


async def test_an_id_that_is_none_of_ours_is_refused_and_nothing_is_done(world):
    with pytest.raises(InvalidParameter, match="'customer-7'"):
        await world.erasures.erase(by_itself(), ["customer-7"], [])
    assert audited(world) == []


async def test_a_home_without_a_server_is_erased_from_as_well(world):
    gone, stays = world.answer(0xABC1, "ann", MARK), world.answer(0xABC2, "bob")
    await world.label(gone, stays)
    await world.capture.flush()
    report = erase_offline(world.home, world.store, world.secret, by_itself(), [], ["ann"])
    assert (report.requests, report.rows, report.records) == (1, 2, 2)
    assert world.holding(b"abc1", b"41.625") == []
    assert len(audited(world)) == 1


async def test_without_a_server_an_outcome_that_waits_goes_too(world):
    world.answer(1, "ann")
    early = f"{stream(0, 1)}-abc77"
    await world.outcomes.receive(of_list([Arrival(early, 0, 1.0, None)]), None)
    report = erase_offline(world.home, world.store, world.secret, by_itself(), [early], [])
    assert (report.waiting, world.holding(early.encode())) == (1, [])


async def test_without_a_server_one_by_its_clients_id_goes_too(world):
    gone = world.answer(0xABC1, "ann", name="visit-of-ann")
    of_no_row = of_list([Arrival("visit-of-ann", 7, 1.0, client=True)])
    assert (await world.outcomes.receive(of_no_row, None)).counts["early"] == 1
    assert world.holding(b"visit-of-ann") != []
    report = erase_offline(world.home, world.store, world.secret, by_itself(), [gone], [])
    assert (report.waiting, world.holding(b"visit-of-ann")) == (1, [])


async def test_a_home_that_keeps_nothing_has_nothing_to_erase(tmp_path):
    with Store.open(tmp_path) as store:
        secret = server_secret(tmp_path)
        report = erase_offline(tmp_path, store, secret, by_itself(), ["host-1-0-1-5"], ["ann"])
    assert (report.requests, report.rows, report.records) == (1, 0, 0)
    assert not (tmp_path / "ledger").exists()


async def test_what_a_worker_keeps_only_after_the_erasure_goes_too(world):
    gone = f"{stream(0, 1)}-abc1"
    world.answer(0xABC2, "ann")
    await world.erasures.erase(by_itself(), [gone], [])
    await world.erasures.erase(by_itself(), [], ["bob"])
    world.answer(0xABC1, "ann")
    world.answer(0xABC3, "bob")
    await world.capture.flush()
    assert world.holding(b"abc1") == []
    assert world.holding(b"abc3") == []
    assert len(world.holding(b"abc2")) == 1
    await world.outcomes.look()
    world.now += 6
    await world.outcomes.look()
    found = await world.outcomes.receive(of_list([Arrival(gone, 0, 1.0, None)]), None)
    assert found.counts["unknown"] == 1
