"""Messages between the processes of one server, over Unix sockets that the supervisor keeps.

Knows framing, bounds and that a full channel refuses. Knows nothing of what the messages mean.

SOCK_SEQPACKET keeps message borders: a message arrives whole or not at all, also when its sender is
killed halfway or its receiver is replaced. What is larger than one packet travels as the descriptor
of a sealed memory file.
"""

from __future__ import annotations

import fcntl
import os
import socket
from typing import Any

import orjson

# A packet must fit the socket's buffer with room for others; larger messages go by descriptor.
MAX_INLINE_BYTES = 32_768
BUFFER_BYTES = 1 << 20
_BY_FD = b"F"
_INLINE = b"I"


def pair() -> tuple[Channel, Channel]:
    """Two ends of a new channel, both non-blocking and inherited over fork."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    return Channel(ends[0]), Channel(ends[1])


class Channel:
    """One end. Sending never waits: a full channel says so."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def fileno(self) -> int:
        """For pollers."""
        return self._sock.fileno()

    def send(self, message: dict[str, Any]) -> bool:
        """Sends one message. False: full, or nobody holds the other end; nothing was sent."""
        data = orjson.dumps(message)
        try:
            if len(data) <= MAX_INLINE_BYTES:
                self._sock.send(_INLINE + data)
            else:
                self._send_file(data)
        except OSError:  # full, gone, or no descriptor or memory to be had now
            return False
        return True

    def receive(self) -> dict[str, Any] | None:
        """The next message, or None where there is none now.

        One that could not be taken is `{"type": "lost"}`: its receiver asks for everything anew.
        """
        try:
            data, descriptors, _, _ = socket.recv_fds(self._sock, MAX_INLINE_BYTES + 1, 1)
        except (BlockingIOError, ConnectionError):
            return None
        if not data:
            return None
        payload = data[1:]
        if data[:1] == _BY_FD and not descriptors:
            return {"type": "lost"}  # this process had no descriptor left to take it by
        if data[:1] == _BY_FD:
            with os.fdopen(descriptors[0], "rb") as file:
                file.seek(0)
                payload = file.read()
        message: dict[str, Any] = orjson.loads(payload)
        return message

    def close(self) -> None:
        """Closes this end in this process."""
        self._sock.close()

    def _send_file(self, data: bytes) -> None:
        descriptor = os.memfd_create("message", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(data)
            seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
            socket.send_fds(self._sock, [_BY_FD], [descriptor])
        finally:
            os.close(descriptor)
