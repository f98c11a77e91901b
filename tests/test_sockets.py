"""Listening sockets: bound once, shut without losing anybody, opened again."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from gateway import sockets
from gateway.errors import ConfigInvalid

HOST = "127.0.0.1"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    (made,) = sockets.data_sockets(HOST, 0, 1)
    with made:
        yield made


def port_of(sock: socket.socket) -> int:
    return sock.getsockname()[1]


def connect(port: int, timeout_s: float = 1.0) -> socket.socket:
    return socket.create_connection((HOST, port), timeout=timeout_s)


def accepted(listener: socket.socket) -> int:
    count = 0
    while True:
        try:
            sock, _ = listener.accept()
        except BlockingIOError:
            return count
        sock.close()
        count += 1


def test_workers_share_one_address_each_with_a_queue_of_its_own():
    made = sockets.data_sockets(HOST, 0, 3)
    assert len({sock.getsockname() for sock in made}) == 1
    clients = [connect(port_of(made[0])) for _ in range(30)]
    assert sum(accepted(sock) for sock in made) == 30
    for sock in (*made, *clients):
        sock.close()


def test_a_port_that_somebody_listens_on_is_refused_even_if_it_could_be_shared(listener):
    with pytest.raises(ConfigInvalid, match=f"port {port_of(listener)} on {HOST} is in use"):
        sockets.data_sockets(HOST, port_of(listener), 2)


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(ConfigInvalid, match=r"cannot listen on 203\.0\.113\.1:0"):
        sockets.control_socket("203.0.113.1", 0)
    with pytest.raises(ConfigInvalid, match="not an address of this machine"):
        sockets.control_socket("127.0.0.1.1", 0)


def test_who_is_queued_when_others_are_turned_away_is_still_let_in(listener):
    early = connect(port_of(listener))
    sockets.turn_away(listener)
    with pytest.raises(TimeoutError):
        connect(port_of(listener), timeout_s=0.1)
    assert accepted(listener) == 1
    early.close()


def test_a_shut_socket_refuses_at_once_and_listens_again_when_reopened(listener):
    port = port_of(listener)
    sockets.turn_away(listener)
    sockets.shut(listener)
    with pytest.raises(ConnectionRefusedError):
        connect(port)
    sockets.reopen(listener)
    assert port_of(listener) == port
    connect(port).close()
    assert accepted(listener) == 1


def test_connections_go_to_the_others_while_one_is_shut():
    made = sockets.data_sockets(HOST, 0, 2)
    sockets.shut(made[0])
    clients = [connect(port_of(made[1])) for _ in range(20)]
    assert accepted(made[1]) == 20
    for sock in (*made, *clients):
        sock.close()
