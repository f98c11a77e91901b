"""Whoever shows a certificate is the caller that it stands for, and no header makes anybody one."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator

import pytest
from cryptography.x509 import DNSName, UniformResourceIdentifier

from gateway.access.certificates import number_of
from gateway.tls import Certificates
from gateway.wire.guard import SMALL_BODY_BYTES
from gateway.wire.services import MAX_OWN_HEADS
from tests.certificates import Authority
from tests.wire.http_rig import Rig, post, request, rig
from tests.wire.test_guard import ANN, AS_ANN, AS_EVE, World

BODY = b"x"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("tls"))
    made.issue()
    return made


@pytest.fixture
def world() -> World:
    made = World()
    made.certificates.replace(
        {
            "cn:shop": ["shop", "client", ["*"]],
            "dns:till.example": ["till", "client", ["held"]],
            "uri:spiffe://prod/desk": ["desk", "viewer", ["*"]],
        }
    )
    return made


@pytest.fixture
def server(authority: Authority, world: World) -> Iterator[Rig]:
    options = {"client_ca": authority.file, "client_certificates": "optional"}
    context = Certificates(authority.settings(**options), "server.tls").context
    with rig(guard=world.guard, tls=lambda: context) as running:
        yield running


@pytest.fixture(scope="module")
def shop(authority):
    return authority.issue_client("shop")


@pytest.fixture(scope="module")
def till(authority):
    return authority.issue_client("t-1", DNSName("Till.example"))


@pytest.fixture(scope="module")
def desk(authority):
    return authority.issue_client("d-1", UniformResourceIdentifier("spiffe://prod/desk"))


def statuses(server, trust, *requests):
    client = server.connect(trust)
    found = [client.send(one).answer().status for one in requests]
    client.close()
    return found


def test_each_certificate_may_what_its_role_and_models_say(server, shop, till, desk, world):
    ask = post("/echo", BODY), post("/echo", BODY), post("/app", BODY)
    assert statuses(server, shop, *ask) == [200, 200, 200]
    assert statuses(server, till, *ask) == [403, 403, 200]
    assert statuses(server, desk, *ask) == [403, 403, 200]
    assert world.counts == {(number_of("shop"), "echo", 1): 2}


def test_nobody_strangers_and_unlisted_certificates_get_401(server, authority):
    for trust in (authority.client(), authority.issue_client("unlisted")):
        assert statuses(server, trust, post("/echo", BODY), post("/echo", BODY)) == [401, 401]
    assert server.seen.empty()


def test_a_certificate_of_another_issuer_or_past_its_end_is_no_handshake(server, authority):
    stranger = Authority(authority.folder / "stranger")
    forged = stranger.issue_client("shop")
    forged.load_verify_locations(authority.file)
    for trust in (forged, authority.issue_client("shop", days=-1)):
        # In TLS 1.3 a client learns of the refusal when it first reads.
        with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
            server.connect(trust).send(post("/echo", BODY)).answer()
    assert server.reached(lambda: server.counters.numbers["handshake_failed"] == 2)
    assert server.seen.empty()


def test_the_same_bytes_are_another_callers_on_another_connection(server, authority, shop, till):
    """A head that was seen before is not parsed again: not even then."""
    nobody = authority.client()
    first, second, third = (server.connect(trust) for trust in (shop, till, nobody))
    for _ in range(3):
        found = [one.send(post("/echo", BODY)).answer().status for one in (first, second, third)]
        assert found == [200, 403, 401]


PRETENSIONS = [
    "X-Forwarded-Client-Cert: Subject=CN=shop;URI=spiffe://prod/desk",
    "X-SSL-Client-S-DN: CN=shop",
    "X-SSL-Client-Verify: SUCCESS",
    "X-Client-Cert: cn:shop",
    "Client-Cert: :c2hvcA==:",
    "penstock_certificate: cn:shop",
    "penstock-certificate: cn:shop",
]


def test_no_header_is_a_certificate(server, authority, till, world):
    asks = [post("/echo", BODY, header) for header in (*PRETENSIONS, "\r\n".join(PRETENSIONS))]
    assert set(statuses(server, authority.client(), *asks)) == {401}
    assert set(statuses(server, till, *asks)) == {403}
    assert not world.counts


def test_a_key_says_more_than_the_certificate_under_it(server, till, shop, world):
    assert statuses(server, till, post("/echo", BODY, AS_ANN)) == [200]
    assert statuses(server, shop, post("/echo", BODY, AS_EVE)) == [401]
    assert statuses(server, shop, post("/echo", BODY, f"X-Api-Key: {ANN}", AS_EVE)) == [401]
    assert world.counts == {(1, "echo", 1): 1}


def test_a_certificate_taken_back_stops_on_a_connection_that_has_used_it(server, shop, world):
    client = server.connect(shop)
    for _ in range(2):
        assert client.send(post("/echo", BODY)).answer().status == 200
    server.call(world.certificates.change, {}, ["cn:shop"])
    assert client.send(post("/echo", BODY)).answer().status == 401
    server.call(world.certificates.change, {"cn:shop": ["shop", "client", ["*"]]}, [])
    assert client.send(post("/echo", BODY)).answer().status == 200


def test_a_certificate_that_ends_stops_on_its_open_connection(server, shop, world):
    client = server.connect(shop)
    assert client.send(post("/echo", BODY)).answer().status == 200

    def it_ends():
        (lane,) = server.services.connections
        lane.shown.until = lane.shown.principal.until = time.time() - 1

    server.call(it_ends)
    assert client.send(post("/echo", BODY)).answer().status == 401


def test_a_large_body_is_refused_before_it_is_sent(server, authority, till, shop):
    length = f"Content-Length: {60 << 20}"
    for trust, wanted in ((authority.client(), 401), (till, 403)):
        client = server.connect(trust).send(request("POST", "/echo", None, length))
        assert client.answer().status == wanted
    body = b"x" * (SMALL_BODY_BYTES + 1)
    assert server.connect(shop).send(post("/echo", body)).answer().body == body


def test_what_is_kept_of_a_connections_heads_is_bounded(server, shop):
    client = server.connect(shop)
    for number in range(3 * MAX_OWN_HEADS):
        assert client.send(post("/echo", BODY, f"X-N: {number}")).answer().status == 200
    (lane,) = server.call(lambda: list(server.services.connections))
    for kept in (lane._heads, lane._alike):
        assert 0 < server.call(lambda kept=kept: len(kept)) <= MAX_OWN_HEADS
    assert server.call(lambda: (server.services.heads, server.services.alike)) == ({}, {})
