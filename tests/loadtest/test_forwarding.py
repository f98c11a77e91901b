"""The bare forwarder, between a streaming upstream and clients that count what they read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from loadtest import streams
from loadtest.forwarder import serve
from loadtest.servers import free_port
from loadtest.streams import CHUNK, HEAD, LAST_CHUNK, Reader, Tally


async def listening(port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.001)
            else:
                writer.close()
                return


@pytest.mark.anyio
async def test_streams_come_through_the_forwarder_whole():
    upstream, port = free_port(), free_port()
    tasks = [
        asyncio.ensure_future(streams.serve(upstream, every_s=0)),
        asyncio.ensure_future(serve(upstream, port)),
    ]
    await listening(upstream)
    await listening(port)
    tally = await streams.reading(port, 0.0, 4)
    assert (tally.answers, tally.faults) == (4, 0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Nowhere:
    def write(self, data: bytes) -> None:
        pass

    def abort(self) -> None:
        pass


@pytest.mark.parametrize(("chunks", "faults"), [(200, 0), (199, 1), (201, 1)])
def test_an_answer_that_lacks_a_chunk_is_a_fault(chunks, faults):
    reader = Reader(Tally(), b"", asyncio.Event())
    transport: Any = Nowhere()
    reader.connection_made(transport)
    for data in (HEAD, *[CHUNK] * chunks, LAST_CHUNK):
        reader.data_received(data)
    assert (reader.tally.answers, reader.tally.faults) == (1, faults)
