"""Proxies of the environment, and connections through them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from gateway.errors import UpstreamFailed
from gateway.llm.upstream.proxies import proxy_for
from gateway.llm.upstream.words import Proxy
from tests.certificates import Authority
from tests.llm.scripted import Scripted, ok, scripted, showing
from tests.llm.upstream_rig import rig

SQUID = {"https_proxy": "http://squid:3128"}


@pytest.mark.parametrize(
    ("scheme", "environ", "wanted"),
    [
        ("https", {}, None),
        ("https", SQUID, Proxy("squid", 3128)),
        ("https", {"HTTPS_PROXY": "http://SQUID:3128"}, Proxy("squid", 3128)),
        ("https", {"https_proxy": "http://a:1", "HTTPS_PROXY": "http://b:2"}, Proxy("a", 1)),
        ("http", SQUID, None),
        ("http", {"http_proxy": "squid:3128"}, Proxy("squid", 3128)),
        ("http", {"http_proxy": "squid"}, Proxy("squid", 80)),
        ("http", {"HTTP_PROXY": "http://[::1]:3128"}, Proxy("::1", 3128)),
        ("http", {"HTTP_PROXY": "http://evil", "REQUEST_METHOD": "GET"}, None),
        ("http", {"ALL_PROXY": "http://all:1"}, Proxy("all", 1)),
        ("https", SQUID | {"all_proxy": "http://all:1"}, Proxy("squid", 3128)),
        ("https", {"https_proxy": "http://u%40x:p%3A@s:1"}, Proxy("s", 1, "Basic dUB4OnA6")),
        ("https", {"https_proxy": ""}, None),
    ],
)
def test_the_environment_says_which_proxy_stands_between(scheme, environ, wanted):
    assert proxy_for(scheme, "api.example", 443, environ) == wanted


@pytest.mark.parametrize(
    ("no_proxy", "host", "spared"),
    [
        ("*", "api.example", True),
        ("example", "api.example", True),
        (".example", "api.example", True),
        ("*.example", "api.example", True),
        ("api.example", "api.example", True),
        ("API.Example", "api.example.", True),
        ("other, api.example", "api.example", True),
        ("pi.example", "api.example", False),
        ("api.example:443", "api.example", True),
        ("api.example:80", "api.example", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("fd00::/8", "fd00::1", True),
        ("[::1]:443", "::1", True),
        ("::1", "::1", True),
        ("", "api.example", False),
        (",", "api.example", False),
    ],
)
def test_no_proxy_spares_whom_it_names(no_proxy, host, spared):
    found = proxy_for("https", host, 443, SQUID | {"NO_PROXY": no_proxy})
    assert (found is None) is spared


@pytest.mark.parametrize(
    "url",
    ["socks5://s:1080", "https://u:secret@s:1", "http://:1", "http://u:secret@s:0", "http://s:x"],
)
def test_a_proxy_that_cannot_be_used_is_refused_without_its_password(url):
    with pytest.raises(ValueError, match="https_proxy: expected http://") as refused:
        proxy_for("https", "api.example", 443, {"https_proxy": url})
    assert "secret" not in str(refused.value)


@asynccontextmanager
async def tunnelling(answer: bytes, to: int = 0) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A proxy that answers CONNECT with this, and passes on what follows to a port."""
    asked: list[bytes] = []
    tasks: list[asyncio.Task[None]] = []
    writers: list[asyncio.StreamWriter] = []

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        if not to:
            writer.close()
            return
        there, here = await asyncio.open_connection("127.0.0.1", to)
        writers.append(here)
        tasks.append(asyncio.ensure_future(pass_on(there, writer)))
        await pass_on(reader, here)

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1], asked
    finally:
        listener.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.gather(*tasks)


@pytest.mark.anyio
async def test_a_tunnel_is_asked_for_and_tls_goes_through_it(tmp_path):
    authority = Authority(tmp_path)
    context = showing(authority.ca.issue_cert("api.example"))
    opened = b"HTTP/1.1 200 Connection established\r\nvia: squid\r\n\r\n"
    async with rig() as to, scripted(context) as server, tunnelling(opened, server.port) as way:
        port, asked = way
        proxy = Proxy("127.0.0.1", port, "Basic eA==")
        origin = server.origin(scheme="https", host="api.example", ca_file=authority.file)
        # The name is the proxy's to look up: here nobody knows it.
        told, _ = to.send(origin=replace(origin, proxy=proxy, allow_private=False))
        peer = await server.accept()
        assert await peer.answer(ok(b"through")) == b"ask"
        await told.until("end")
        assert told.body == b"through"
        where = b"api.example:%d" % server.port
        assert asked == [
            b"CONNECT %s HTTP/1.1\r\nHost: %s\r\nProxy-Authorization: Basic eA==\r\n\r\n"
            % (where, where)
        ]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        pytest.param(b"HTTP/1.1 407 Who?\r\n\r\n", "407 Who", id="wants-a-password"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\nhello", "nobody asked", id="speaks-first"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 20_000, "endless", id="endless-head"),
        pytest.param(b"SSH-2.0-x\r\n\r\n", "SSH", id="garbage"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", "closed", id="half-a-head"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", "closed", id="provisional"),
    ],
)
async def test_a_proxy_that_opens_no_way_fails_the_request_unsent(answer, why):
    async with rig() as to, tunnelling(answer) as (port, _):
        to.origin = replace(
            to.origin, scheme="https", host="api.example", proxy=Proxy("127.0.0.1", port)
        )
        told, _ = to.send()
        await told.until("failure")
        assert isinstance(told.error, UpstreamFailed)
        assert why in str(told.error)
        assert (told.sent, told.answered) == (False, False)


@pytest.mark.anyio
async def test_a_plain_request_tells_the_proxy_its_whole_url():
    async with rig() as to:
        squid: Scripted = to.server
        proxy = Proxy("127.0.0.1", squid.port)
        told, _ = to.send(origin=replace(to.origin, host="api.example", port=80, proxy=proxy))
        peer = await squid.accept()
        head = await peer.head()
        assert head.startswith(b"POST http://api.example/v1/chat/completions HTTP/1.1\r\n")
        peer.send(ok())
        await told.until("end")


@pytest.mark.anyio
async def test_a_private_address_is_refused_by_way_of_a_proxy_too():
    async with rig() as to:
        proxy = Proxy("127.0.0.1", to.server.port)
        origin = replace(to.origin, host="169.254.169.254", proxy=proxy, allow_private=False)
        told, _ = to.send(origin=origin)
        await told.until("failure")
        assert "allow_private" in str(told.error)
        assert to.server.peers == []
