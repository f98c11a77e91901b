"""Binds the listening sockets that outlive the processes which accept on them.

Knows addresses and socket options. Knows nothing of HTTP or of processes.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import struct

from gateway.errors import ConfigInvalid

BACKLOG = 2048
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
# The kernel's packet filter, over TCP's header: whatever acknowledges something passes. The rest is
# dropped, and that is how every connection begins. A line: code, jumps if true, if false, operand.
_FLAGS, _ACK = 13, 0x10
_NO_NEWCOMERS = b"".join(
    struct.pack("=HBBI", *line)
    for line in (
        (0x30, 0, 0, _FLAGS),  # load the byte of flags
        (0x45, 1, 0, _ACK),  # skip a line where the bit is set
        (0x06, 0, 0, 0),  # take nothing
        (0x06, 0, 0, 0xFFFF_FFFF),  # take everything
    )
)


def data_sockets(host: str, port: int, count: int) -> list[socket.socket]:
    """One SO_REUSEPORT socket per worker on the same address, listening and non-blocking.

    Each keeps its own queue of connections, which waits while the worker behind it is replaced.

    Raises:
        ConfigInvalid: the address cannot be bound; the message says whose fault and what to do.
    """
    # SO_REUSEPORT would let a second server of the same user share the port unseen: ask first.
    port = _free(host, port)
    return [_listen(host, port, share=True) for _ in range(count)]


def control_socket(host: str, port: int) -> socket.socket:
    """The control plane's one socket, listening and non-blocking."""
    return _listen(host, port, share=False)


def turn_away(sock: socket.socket) -> None:
    """Lets nobody begin to connect to a listening socket; what is queued, or on its way, stays.

    Without it a client that connects between the last accept and `shut` would be reset, although it
    was let in. A client that is turned away asks again by itself, and is then refused for good. One
    whose handshake had begun believes itself connected already: its last packet still passes.
    """
    program = ctypes.create_string_buffer(_NO_NEWCOMERS, len(_NO_NEWCOMERS))
    with contextlib.suppress(OSError):  # not Linux: a very small chance of a reset remains
        sock.setsockopt(
            socket.SOL_SOCKET,
            _SO_ATTACH_FILTER,
            struct.pack("@HP", len(_NO_NEWCOMERS) // 8, ctypes.addressof(program)),
        )


def shut(sock: socket.socket) -> None:
    """Listens no more, in whatever process the socket is open: clients are refused."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def reopen(sock: socket.socket) -> None:
    """Listens, though a process before this one may have turned away or shut."""
    with contextlib.suppress(OSError):  # there was nothing to take off
        sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
    sock.listen(BACKLOG)


def _free(host: str, port: int) -> int:
    probe = _bind(host, port, share=False)
    found: int = probe.getsockname()[1]
    probe.close()
    return found


def _listen(host: str, port: int, share: bool) -> socket.socket:
    sock = _bind(host, port, share)
    sock.listen(BACKLOG)
    sock.setblocking(False)
    return sock


def _bind(host: str, port: int, share: bool) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise ConfigInvalid(f"host '{host}': not an address of this machine: {error}") from error
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise ConfigInvalid(_why(host, port, error)) from error
    return sock


def _why(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use: stop what listens there, or choose another port"
    if error.errno == errno.EACCES:
        return f"port {port} on {host}: ports under 1024 need privileges: choose a higher one"
    return f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}"
