"""Requests to upstreams over TLS."""

from __future__ import annotations

import ssl

import pytest

from gateway.errors import UpstreamFailed
from gateway.llm.upstream.connecting import client_context
from tests.certificates import Authority
from tests.llm.scripted import CHUNKED, LAST_CHUNK, chunk, eventually, ok, scripted, showing
from tests.llm.upstream_rig import rig

pytestmark = pytest.mark.anyio


async def here(host, port):
    return ["127.0.0.1"]


@pytest.fixture
def authority(tmp_path) -> Authority:
    return Authority(tmp_path)


async def test_a_server_of_a_named_authority_is_trusted_and_connections_are_used_again(authority):
    asked: list[str | None] = []
    context = showing(authority.ca.issue_cert("api.example"))
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.sni_callback = lambda _, name, __: asked.append(name)
    async with scripted(context) as server, rig(look_up=here) as to:
        to.origin = server.origin(scheme="https", host="api.example", ca_file=authority.file)
        first, _ = to.send(b"1")
        peer = await server.accept()
        await peer.answer(ok(b"one"))
        await first.until("end")
        second, _ = to.send(b"2")
        assert await peer.request() == b"2"
        peer.send(CHUNKED + chunk(b"tw"))
        await second.until_body(2)
        peer.send(chunk(b"o") + LAST_CHUNK)
        await second.until("end")
        assert (first.body, second.body) == (b"one", b"two")
        shown = peer.writer.get_extra_info("ssl_object")
        assert shown.selected_alpn_protocol() == "http/1.1"
        assert shown.version() in ("TLSv1.2", "TLSv1.3")
        assert asked == ["api.example"]
        assert (to.upstreams.counters.opened, to.upstreams.counters.reused) == (1, 1)


async def test_a_server_is_known_by_its_address_too(authority):
    async with scripted(showing(authority.ca.issue_cert("127.0.0.1"))) as server, rig() as to:
        told, _ = to.send(origin=server.origin(scheme="https", ca_file=authority.file))
        await (await server.accept()).answer(ok())
        await told.until("end")


@pytest.mark.parametrize(
    ("issued", "trusts", "why"),
    [
        pytest.param("api.example", "the-machine", "certificate", id="unknown-authority"),
        pytest.param("other.example", "it", "mismatch", id="another-name"),
    ],
)
async def test_a_certificate_that_does_not_fit_fails_the_request_unsent(
    authority, issued, trusts, why
):
    context = showing(authority.ca.issue_cert(issued))
    async with scripted(context) as server, rig(look_up=here) as to:
        ca_file = authority.file if trusts == "it" else None
        origin = server.origin(scheme="https", host="api.example", ca_file=ca_file)
        told, _ = to.send(origin=origin)
        await told.until("failure")
        assert isinstance(told.error, UpstreamFailed)
        assert why in str(told.error)
        assert (told.sent, told.answered) == (False, False)
        await eventually(lambda: to.upstreams.open == 0)


async def test_a_server_that_speaks_no_tls_fails_the_request_unsent(authority):
    async with rig() as to:
        told, _ = to.send(origin=to.server.origin(scheme="https", ca_file=authority.file))
        peer = await to.server.accept()
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await told.until("failure")
        assert "TLS" in str(told.error)
        assert told.sent is False


async def test_a_server_that_closes_where_tls_should_begin_is_said_to(authority):
    async with rig() as to:
        origin = to.server.origin(scheme="https", ca_file=authority.file)
        told, _ = to.send(origin=origin)
        (await to.server.accept()).writer.close()
        await told.until("failure")
        assert str(told.error) == f"{origin}: it closed the connection before one stood"


async def test_an_authority_file_that_cannot_be_read_fails_the_request_unsent(tmp_path):
    async with rig() as to:
        (tmp_path / "empty.pem").write_text("")
        for name in ("missing.pem", "empty.pem"):
            origin = to.server.origin(scheme="https", ca_file=tmp_path / name)
            told, _ = to.send(origin=origin)
            await told.until("failure")
            assert (told.sent, to.server.peers) == (False, [])


async def test_old_versions_are_not_spoken_and_certificates_are_looked_at(authority):
    for context in (client_context(authority.file), client_context(None)):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


async def test_whoever_leaves_closes_an_encrypted_connection_too(authority):
    async with scripted(showing(authority.ca.issue_cert("127.0.0.1"))) as server, rig() as to:
        told, sending = to.send(origin=server.origin(scheme="https", ca_file=authority.file))
        peer = await server.accept()
        await peer.answer(CHUNKED + chunk(b"one"))
        await told.until_body(3)
        sending.cancel()
        assert await peer.left() == b""
        await eventually(lambda: to.upstreams.open == 0)


async def test_a_stale_encrypted_connection_is_replaced(authority):
    async with scripted(showing(authority.ca.issue_cert("127.0.0.1"))) as server, rig() as to:
        to.origin = server.origin(scheme="https", ca_file=authority.file)
        told, _ = to.send(b"1")
        stale = await server.accept()
        await stale.answer(ok())
        await told.until("end")
        again, _ = to.send(b"2")
        await stale.request()
        stale.reset()
        fresh = await server.accept()
        assert await fresh.answer(ok()) == b"2"
        await again.until("end")
        assert to.upstreams.counters.resent == 1


async def test_a_paused_encrypted_answer_goes_on_where_it_stopped(authority):
    body = bytes(range(256)) * 50_000
    async with scripted(showing(authority.ca.issue_cert("127.0.0.1"))) as server, rig() as to:
        to.origin = server.origin(scheme="https", ca_file=authority.file)
        told, sending = to.send()
        told.on_head = lambda *_: sending.pause()  # type: ignore[method-assign]
        peer = await server.accept()
        await peer.answer(ok(body))
        other, _ = to.send(b"2")
        await (await server.accept()).answer(ok())
        await other.until("end")
        held = told.length
        assert held < len(body)
        sending.resume()
        await told.until("end")
        assert told.body == body
