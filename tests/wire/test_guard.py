"""Only those who may call an endpoint reach it, whoever carries the request."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from gateway.access.certificates import CertificateRing, number_of
from gateway.access.credentials import Credentials
from gateway.access.keyring import Keyring
from gateway.access.keys import digest
from gateway.access.principal import TOKENS
from gateway.wire.guard import SMALL_BODY_BYTES, Door, Guard
from gateway.wire.head import Head
from tests.wire.http_rig import chunked, post, request, rig

SECRET = b"s" * 32
ANN, BOB, EVE = (f"psk_{name}".ljust(36, "0") for name in ("ann", "bob", "eve"))
AS_ANN, AS_BOB, AS_EVE = (f"Authorization: Bearer {key}" for key in (ANN, BOB, EVE))


def row(number, name, models=None, role="client", until=None):
    return [number, name, role, models, until]


def digest_of(key):
    return digest(SECRET, key.encode())


class World:
    """A keyring that knows ann (everything) and bob (`held` alone), and counts."""

    def __init__(self):
        self.ring = Keyring(SECRET)
        self.ring.replace({digest_of(ANN): row(1, "ann"), digest_of(BOB): row(2, "bob", ["held"])})
        self.certificates = CertificateRing()
        self.words: dict[tuple[int, str, int], memoryview] = {}
        self.guard = Guard(Credentials(self.ring, self.certificates), self.series)

    def series(self, *name):
        return self.words.setdefault(name, memoryview(bytearray(8)).cast("q"))

    @property
    def counts(self):
        return Counter({name: word[0] for name, word in self.words.items()})


@pytest.fixture
def world():
    return World()


@pytest.fixture(params=["lane", "asgi"])
def server(request, world):
    with rig(request.param, guard=world.guard) as running:
        yield running


def status(server, data):
    client = server.connect().send(data)
    answer = client.answer()
    client.close()
    return answer.status


def test_a_known_caller_is_served_and_counted(server, world):
    client = server.connect()
    for _ in range(3):  # the second and third by the head that is remembered
        client.send(post("/echo", b"x", AS_ANN))
        assert client.answer().body == b"x"
    assert status(server, post("/echo", b"x", f"X-Api-Key: {ANN}")) == 200
    assert world.counts == {(1, "echo", 1): 4}


def test_nobody_and_strangers_get_401_and_keep_their_connection(server, world):
    client = server.connect()
    for headers in ((), (AS_EVE,), (AS_ANN, AS_ANN), ("Authorization: Basic eA==",)):
        client.send(post("/echo", b"x", *headers))
        answer = client.answer()
        assert (answer.status, answer.headers["www-authenticate"]) == (
            401,
            'Bearer realm="penstock"',
        )
        assert EVE.encode() not in answer.body
    client.send(post("/echo", b"x", AS_ANN))
    assert client.answer().status == 200
    assert server.seen.qsize() == 1
    assert server.counters.numbers["unauthenticated"] == 4
    assert world.counts == {(1, "echo", 1): 1}


def test_a_known_caller_may_only_what_its_key_says(server, world):
    assert status(server, post("/echo", b"x", AS_BOB)) == 403
    assert status(server, post("/echo", b"x", AS_ANN)) == 200
    assert server.seen.qsize() == 1
    assert world.counts == {(1, "echo", 1): 1}


def test_a_revoked_key_stops_on_a_connection_that_it_has_used(server, world):
    client = server.connect()
    for _ in range(2):
        client.send(post("/echo", b"x", AS_ANN))
        assert client.answer().status == 200
    server.call(world.ring.change, {}, [digest_of(ANN)])
    client.send(post("/echo", b"x", AS_ANN))
    assert client.answer().status == 401


def test_a_key_stops_when_it_expires(server, world):
    until = time.time() + 3600
    server.call(world.ring.change, {digest_of(ANN): row(1, "ann", until=until)}, [])
    client = server.connect()
    for _ in range(2):
        assert client.send(post("/echo", b"x", AS_ANN)).answer().status == 200

    def an_hour_passes():
        world.ring.find(ANN.encode()).until = time.time() - 1

    server.call(an_hour_passes)
    assert client.send(post("/echo", b"x", AS_ANN)).answer().status == 401


def test_narrowing_a_key_counts_at_once(server, world):
    client = server.connect().send(post("/echo", b"x", AS_ANN))
    assert client.answer().status == 200
    server.call(world.ring.change, {digest_of(ANN): row(1, "ann", ["held"])}, [])
    assert client.send(post("/echo", b"x", AS_ANN)).answer().status == 403


def test_what_asks_for_no_inference_is_counted_without_a_model(world):
    head = Head(b"GET", b"/v2", b"", [(b"authorization", f"Bearer {ANN}".encode())])
    for _ in range(2):
        assert world.guard.calling(head).name == "ann"
    assert world.counts == {(1, "", 0): 2}


def test_a_head_whose_bodies_name_models_is_counted_for_each_of_them(world):
    head = Head(b"POST", b"/v1/embeddings", b"", [(b"authorization", b"Bearer " + ANN.encode())])
    door = Door(world.guard, lambda exchange: None, None, None)
    door.judge(head)
    for model in ("small", "large", "small"):
        world.guard.count(head, model, 1)
    assert world.counts == {(1, "small", 1): 2, (1, "large", 1): 1}


def test_whoever_may_be_counted_is_known_by_number(world):
    world.certificates.replace({"cn:till": ["till", "client", ["*"]]})
    everybody = [TOKENS, 1, 2, number_of("till")]
    assert [world.guard.counts(number) for number in [*everybody, 3]] == [True] * 4 + [False]
    world.ring.change({digest_of(EVE): row(3, "eve")}, [digest_of(BOB)])
    world.certificates.change({}, ["cn:till"])
    assert [number for number in [*everybody, 3] if world.guard.counts(number)] == [TOKENS, 1, 3]


# What the lane alone can promise: it sees the head before the body.


@pytest.fixture
def lane(world):
    with rig("lane", guard=world.guard) as running:
        yield running


@pytest.mark.parametrize(
    ("headers", "wanted"), [((), 401), ((AS_EVE,), 401), ((AS_BOB,), 403)], ids=str
)
def test_a_large_body_is_refused_before_it_is_sent(lane, headers, wanted):
    length = f"Content-Length: {60 << 20}"
    client = lane.connect().send(request("POST", "/echo", None, *headers, length))
    answer = client.answer()
    assert (answer.status, answer.headers["connection"]) == (wanted, "close")
    assert lane.call(lambda: lane.services.buffered_bytes) == 0


def test_a_body_in_chunks_is_refused_before_it_is_read(lane):
    client = lane.connect().send(chunked("/echo", b"x" * 100, last=False))
    assert client.answer().status == 401


def test_who_asks_first_is_told_before_sending(lane):
    head = ("Expect: 100-continue", "Content-Length: 3")
    client = lane.connect().send(request("POST", "/echo", None, *head))
    assert client.answer().status == 401
    client = lane.connect().send(request("POST", "/echo", None, AS_ANN, *head))
    assert client.answer().status == 100


def test_large_bodies_of_those_who_may_are_read(lane):
    body = b"x" * (SMALL_BODY_BYTES + 1)
    assert lane.connect().send(post("/echo", body, AS_ANN)).answer().body == body


def test_a_large_body_is_refused_before_it_is_sent_though_its_head_was_seen_before(lane, world):
    body = b"x" * (SMALL_BODY_BYTES + 1)
    whole = post("/echo", body, AS_ANN)
    client = lane.connect()
    for piece in (whole, whole[:100_000], whole[100_000:], whole[: -len(body)], body):
        client.send(piece)
    assert [client.answer().body for _ in range(3)] == [body] * 3
    assert world.counts == {(1, "echo", 1): 3}
    lane.call(world.ring.change, {}, [digest_of(ANN)])
    for other in (whole[: -len(body)], post("/echo", body + b"x", AS_ANN)[: -len(body)]):
        answer = lane.connect().send(other).answer()
        assert (answer.status, answer.headers["connection"]) == (401, "close")


def test_health_needs_no_key_even_with_a_body(lane):
    data = request("GET", "/v2/health/ready", b"x" * (SMALL_BODY_BYTES + 1))
    assert lane.connect().send(data).answer().status == 200


def test_a_refusal_takes_its_turn_behind_earlier_requests(lane):
    client = lane.connect()
    client.send(post("/held", b"1", AS_ANN) + post("/held", b"2"))
    held = lane.next_held()
    lane.call(held.reply, 200, b"first")
    assert [client.answer().status, client.answer().status] == [200, 401]
