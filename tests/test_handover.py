"""Connections end up even, counted at their receiver while they travel."""

from __future__ import annotations

import socket

import pytest

from gateway.handover import Board


@pytest.fixture
def sockets():
    made = [socket.socket() for _ in range(8)]
    yield made
    for sock in made:
        sock.close()


@pytest.fixture
def ready():
    made: list[Board] = []

    def build(workers: int, ready: bool = True) -> Board:
        board = Board(workers)
        made.append(board)
        for slot in range(workers):
            board.ready(slot, ready)
        return board

    yield build
    for board in made:
        board.close()


def test_a_worker_with_the_fewest_keeps_its_connection(ready, sockets):
    board = ready(2)
    assert not board.offer(0, sockets[0])


def test_eight_connections_accepted_by_one_worker_end_as_two_each(ready, sockets):
    board = ready(4)
    kept = 0
    for sock in sockets:
        if not board.offer(0, sock):
            kept += 1
            board.open(0, kept)
    assert [board.load(slot) for slot in range(4)] == [2, 2, 2, 2]


def test_a_handed_connection_is_the_same_connection(ready, sockets):
    board = ready(2)
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    accepted, _ = server.accept()
    board.open(0, 1)
    assert board.offer(0, accepted)
    accepted.close()
    taken = board.take(1)
    assert taken is not None
    client.sendall(b"hello")
    taken.setblocking(True)
    assert taken.recv(5) == b"hello"
    assert board.take(1) is None
    for sock in (client, taken, server):
        sock.close()


def test_nothing_is_handed_to_a_worker_that_is_not_ready(ready, sockets):
    board = ready(2, ready=False)
    board.open(0, 50)
    assert not board.offer(0, sockets[0])


def test_taking_moves_the_count_from_the_way_to_the_taker(ready, sockets):
    board = ready(2)
    board.open(0, 3)
    assert board.offer(0, sockets[0])
    assert board.load(1) == 1
    board.take(1).close()
    assert board.load(1) == 0  # until the taker says what it has open
    board.open(1, 1)
    assert board.load(1) == 1


def test_what_waits_behind_ones_own_door_counts_as_ones_own(ready, sockets):
    board = ready(2)
    board.open(0, 1)
    assert board.offer(0, sockets[0])  # on its way to 1
    assert not board.offer(1, sockets[1])
    board.open(1, 1)
    assert board.offer(1, sockets[2])  # 1 has one open and one waiting, 0 has one
