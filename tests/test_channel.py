"""Messages arrive whole and in order; a full channel says so instead of waiting."""

from __future__ import annotations

import pytest

from gateway.channel import MAX_INLINE_BYTES, pair


@pytest.fixture
def ends():
    left, right = pair()
    yield left, right
    left.close()
    right.close()


def test_messages_arrive_in_order_in_both_directions(ends):
    left, right = ends
    assert left.send({"n": 1})
    assert left.send({"n": 2})
    assert right.send({"back": True})
    assert [right.receive(), right.receive(), right.receive()] == [{"n": 1}, {"n": 2}, None]
    assert left.receive() == {"back": True}


def test_a_message_of_any_size_arrives_whole(ends):
    left, right = ends
    for size in (MAX_INLINE_BYTES - 20, MAX_INLINE_BYTES, 5_000_000):
        assert left.send({"data": "x" * size})
        assert right.receive() == {"data": "x" * size}


def test_a_full_channel_refuses_and_delivers_what_it_took(ends):
    left, right = ends
    taken = 0
    while taken < 1_000_000 and left.send({"n": taken}):
        taken += 1
    assert 0 < taken < 1_000_000
    assert [right.receive() for _ in range(taken)] == [{"n": n} for n in range(taken)]
    assert right.receive() is None
    assert left.send({"n": "again"})


def test_a_closed_peer_is_a_refusal_and_not_an_exception(ends):
    left, right = ends
    right.close()
    assert not left.send({"n": 1})
    assert left.receive() is None
