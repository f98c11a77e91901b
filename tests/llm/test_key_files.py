"""Keys of providers that are rotated while requests go on."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor, Future
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.llm.key_files import KeyFiles
from gateway.llm.models import targets_of
from tests.llm.journey_rig import AtOnce, chat, rig

pytestmark = pytest.mark.anyio

DOCUMENT = """
llm:
  providers: {{one: {{base_url: "http://one.example/v1", api_key_file: {file}}}}}
  models: {{m: {{upstreams: [{{provider: one, model: gpt-4o-mini}}]}}}}
"""


class Held(Executor):
    """Does what it is asked to when a test says so."""

    def submit(self, function: Any, /, *args: Any, **_: Any) -> Any:
        self.work: Any = (Future(), function, args)
        return self.work[0]

    def end(self):
        future, function, args = self.work
        future.set_result(function(*args))


class Looking:
    """Keys of a rig's deployments, looked at when a test says so."""

    def __init__(self, one, pool):
        self.waits = 0
        loop = asyncio.get_running_loop()
        armed: Any = SimpleNamespace(call_later=self._armed, run_in_executor=loop.run_in_executor)
        self.files = KeyFiles(armed, pool, targets_of)
        for deployment, stamps in one.llm._key_files._seen.items():
            self.files.watch(deployment, stamps)

    def _armed(self, _, look):
        self.waits += 1
        self.look = look
        return SimpleNamespace(cancel=lambda: None)

    async def done(self):
        """What has been looked at is taken."""
        for _ in range(4):
            await asyncio.sleep(0)


async def test_a_key_that_was_rotated_goes_out_with_the_next_request(tmp_path):
    file = tmp_path / "key"
    file.write_text("sk-first\n")
    one = rig(DOCUMENT.format(file=file))
    looking = Looking(one, AtOnce())
    looking.files.start()
    one.ask(chat())
    assert b"authorization: Bearer sk-first\r\n" in one.last.head
    file.write_text("sk-second\n")
    looking.look()
    await looking.done()
    one.ask(chat())
    assert b"authorization: Bearer sk-second\r\n" in one.last.head
    file.unlink()
    looking.look()
    await looking.done()
    one.ask(chat())
    assert b"authorization: Bearer sk-second\r\n" in one.last.head


async def test_a_key_that_is_rotated_right_after_its_version_was_loaded_is_seen(tmp_path):
    file = tmp_path / "key"
    file.write_text("sk-first\n")
    one = rig(DOCUMENT.format(file=file))
    file.write_text("sk-second\n")
    looking = Looking(one, AtOnce())
    looking.files.start()
    looking.look()
    await looking.done()
    one.ask(chat())
    assert b"authorization: Bearer sk-second\r\n" in one.last.head


async def test_what_follows_from_upstreams_is_renewed_with_them(tmp_path):
    (tmp_path / "key").write_text("sk-first\n")
    one = rig(DOCUMENT.format(file=tmp_path / "key"))
    (deployment,) = one.llm.deployments
    (target,) = deployment.targets
    deployment.renew((replace(target, price=None, media_tokens=7),))
    assert (deployment.unpriced, deployment.media_tokens) == (True, 7)
    assert deployment.tariff("").tolist() == [1], "nobody knows what it costs"


async def test_nobody_looks_while_a_look_is_under_way(tmp_path):
    (tmp_path / "key").write_text("sk-first\n")
    held, one = Held(), rig(DOCUMENT.format(file=tmp_path / "key"))
    looking = Looking(one, held)
    looking.files.start()
    looking.look()
    await looking.done()
    assert looking.waits == 1, "the disk is slow"
    held.end()
    await looking.done()
    assert looking.waits == 2
    looking.look()
    looking.files.stop()
    held.end()
    await looking.done()
    assert looking.waits == 2, "nobody is to look any more"


async def test_a_version_that_left_while_it_was_looked_at_is_left_alone(tmp_path):
    file = tmp_path / "key"
    file.write_text("sk-first\n")
    held, one = Held(), rig(DOCUMENT.format(file=file))
    (deployment,) = one.llm.deployments
    before = deployment.targets
    looking = Looking(one, held)
    looking.files.start()
    file.write_text("sk-second\n")
    looking.look()
    looking.files.forget(deployment)
    held.end()
    await looking.done()
    assert deployment.targets is before
