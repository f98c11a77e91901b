"""Which addresses are connected to, and in which order."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import UpstreamFailed
from gateway.llm.upstream.addresses import public
from gateway.llm.upstream.connecting import Connector
from gateway.llm.upstream.names import MAX_REMEMBERED, REMEMBERED_S, Names
from gateway.llm.upstream.words import Origin
from tests.llm.scripted import eventually, ok
from tests.llm.upstream_rig import rig

PRIVATE = {
    "loopback": "127.0.0.1",
    "loopback-elsewhere": "127.255.255.254",
    "this-network": "0.0.0.0",
    "this-network-elsewhere": "0.1.2.3",
    "private-10": "10.1.2.3",
    "private-172": "172.31.255.255",
    "private-192": "192.168.0.1",
    "shared": "100.64.0.1",
    "alibaba-metadata": "100.100.100.200",
    "link-local": "169.254.0.1",
    "metadata": "169.254.169.254",
    "azure-metadata": "168.63.129.16",
    "documentation": "192.0.2.1",
    "benchmarks": "198.18.0.1",
    "multicast": "224.0.0.1",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "loopback-6": "::1",
    "unspecified-6": "::",
    "link-local-6": "fe80::1",
    "link-local-6-zone": "fe80::1%eth0",
    "unique-local-6": "fc00::1",
    "metadata-6": "fd00:ec2::254",
    "site-local-6": "fec0::1",
    "multicast-6": "ff02::1",
    "documentation-6": "2001:db8::1",
    "mapped-loopback": "::ffff:127.0.0.1",
    "mapped-hexadecimal": "::ffff:7f00:1",
    "mapped-metadata": "::ffff:169.254.169.254",
    "compatible-loopback": "::127.0.0.1",
    "nat64-metadata": "64:ff9b::169.254.169.254",
    "nat64-local": "64:ff9b:1::10.0.0.1",
    "6to4-private": "2002:0a00:0001::1",
    "teredo-private": "2001:0:4136:e378:8000:63bf:f5ff:fffe",
}


@pytest.mark.parametrize("address", PRIVATE.values(), ids=PRIVATE.keys())
def test_an_address_that_is_not_of_the_open_internet_is_known(address):
    assert not public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "162.159.140.245", "2606:4700::6810:85e5", "::ffff:8.8.8.8"]
)
def test_an_address_of_the_open_internet_is_known(address):
    assert public(address)


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_judged_as_the_one_that_it_stands_for(address):
    assert public(f"::ffff:{address}") == public(str(address))


def look_up_of(*addresses: str):
    async def look_up(host, port):
        if not addresses:
            raise OSError("unknown")
        return addresses

    return look_up


def connector(*addresses: str) -> Connector:
    loop = asyncio.get_running_loop()
    return Connector(loop, Names(look_up_of(*addresses), loop, lambda: 0.0))


ORIGIN = Origin("https", "api.example", 443)


@pytest.mark.anyio
@pytest.mark.parametrize("private", [["127.0.0.1"], ["10.0.0.1", "::1"], ["::ffff:10.0.0.1"]])
async def test_a_name_that_stands_for_a_private_address_is_refused_before_a_connection(private):
    async with rig(look_up=look_up_of(*private)) as to:
        told, _ = to.send(origin=Origin("http", "api.example", to.server.port))
        await told.until("failure")
        assert isinstance(told.error, UpstreamFailed)
        assert "allow_private" in str(told.error)
        assert (told.sent, to.server.peers) == (False, [])


@pytest.mark.anyio
@pytest.mark.parametrize("written", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1"])
async def test_an_address_that_is_written_oddly_is_refused_for_what_it_is(written):
    loop = asyncio.get_running_loop()

    async def system(host, port):
        return [found[4][0] for found in await loop.getaddrinfo(host, port)]

    async with rig(look_up=system) as to:
        told, _ = to.send(origin=Origin("http", written, to.server.port))
        await told.until("failure")
        assert "allow_private" in str(told.error)
        assert to.server.peers == []


@pytest.mark.anyio
async def test_of_several_addresses_only_those_are_tried_that_may_be():
    assert await connector("10.0.0.1", "1.1.1.1", "::1").allowed(ORIGIN) == ["1.1.1.1"]


@pytest.mark.anyio
async def test_families_take_turns():
    found = await connector("2606::1", "2606::2", "2606::3", "1.1.1.1", "1.1.1.2").allowed(ORIGIN)
    assert found == ["2606::1", "1.1.1.1", "2606::2", "1.1.1.2", "2606::3"]


@pytest.mark.anyio
async def test_where_an_address_does_not_answer_the_next_is_tried():
    async with rig(look_up=look_up_of("127.0.0.2", "127.0.0.1")) as to:
        told, _ = to.send(origin=to.server.origin(host="api.example"))
        await (await to.server.accept()).answer(ok())
        await told.until("end")
        assert to.upstreams.counters.opened == 1


@pytest.mark.anyio
async def test_a_name_that_nobody_knows_fails_the_request_unsent():
    async with rig() as to:
        told, _ = to.send(origin=to.server.origin(host="api.example"))
        await told.until("failure")
        assert "api.example" in str(told.error)
        assert (told.sent, told.answered) == (False, False)


@pytest.mark.anyio
async def test_a_redirect_is_an_answer_like_any_other():
    async with rig() as to:
        told, _ = to.send()
        peer = await to.server.accept()
        head = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:%d/\r\ncontent-length: 0\r\n\r\n"
        await peer.answer(head % to.server.port)
        await told.until("end")
        assert (told.status, len(to.server.peers)) == (302, 1)


@pytest.mark.anyio
async def test_a_name_is_looked_up_once_for_all_who_ask_at_once_and_again_after_a_while():
    asked: list[str] = []
    may = asyncio.Event()
    now = 0.0

    async def look_up(host, port):
        asked.append(host)
        await may.wait()
        return ["1.1.1.1"]

    loop = asyncio.get_running_loop()
    names = Names(look_up, loop, lambda: now)
    waiting = [loop.create_task(names.addresses("a", 443)) for _ in range(5)]
    await eventually(lambda: asked)
    waiting.pop(0).cancel()  # who asked first does not take the others along
    may.set()
    assert await asyncio.gather(*waiting) == [["1.1.1.1"]] * 4
    assert await names.addresses("a", 443) == ["1.1.1.1"]
    assert asked == ["a"]
    now = REMEMBERED_S
    await names.addresses("a", 443)
    assert asked == ["a", "a"]
    names.forget("a")
    await names.addresses("a", 443)
    assert asked == ["a", "a", "a"]


@pytest.mark.anyio
async def test_what_names_stand_for_is_not_remembered_without_bound():
    names = Names(look_up_of("1.1.1.1"), asyncio.get_running_loop(), lambda: 0.0)
    for number in range(MAX_REMEMBERED + 10):
        await names.addresses(f"host-{number}", 443)
    assert len(names._known) == MAX_REMEMBERED
    assert not names._asked
