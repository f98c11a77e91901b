"""Keys of providers that are rotated while requests go on."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.llm.key_files import KeyFiles
from gateway.llm.models import targets_of
from tests.llm.journey_rig import chat, rig

pytestmark = pytest.mark.anyio

DOCUMENT = """
llm:
  providers: {{one: {{base_url: "http://one.example/v1", api_key_file: {file}}}}}
  models: {{m: {{upstreams: [{{provider: one, model: gpt-4o-mini}}]}}}}
"""


async def settled(files: KeyFiles, pool: ThreadPoolExecutor) -> None:
    files._look()
    files.stop()
    # The pool has one thread: what was asked of it before is done before this.
    await asyncio.get_running_loop().run_in_executor(pool, int)
    await asyncio.sleep(0)


async def test_a_key_that_was_rotated_goes_out_with_the_next_request(tmp_path):
    file = tmp_path / "key"
    file.write_text("sk-first\n")
    one = rig(DOCUMENT.format(file=file))
    with ThreadPoolExecutor(1) as pool:
        loop = asyncio.get_running_loop()
        files = KeyFiles(loop, pool, lambda: one.llm.deployments, lambda d: targets_of(d.settings))
        await settled(files, pool)
        one.ask(chat())
        assert b"authorization: Bearer sk-first\r\n" in one.last.head
        file.write_text("sk-second\n")
        await settled(files, pool)
        one.ask(chat())
        assert b"authorization: Bearer sk-second\r\n" in one.last.head
        file.unlink()
        await settled(files, pool)
        one.ask(chat())
        assert b"authorization: Bearer sk-second\r\n" in one.last.head
