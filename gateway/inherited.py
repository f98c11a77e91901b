"""What the processes of one server get from their supervisor by being forked.

Knows nothing but the parts: who asked for what, the shared memory, the sockets, the channels,
the certificates.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.channel import Channel
from gateway.config import Config, Given
from gateway.handover import Board
from gateway.keepsake import Keepsake
from gateway.monitor.arena import Arena
from gateway.tls import Certificates


@dataclass(frozen=True, slots=True)
class Launch:
    """What `penstock serve` was asked to do.

    Attributes:
        config: what is in force at the start: document, environment and flags.
        revision: number of the document.
        config_path: the file that was named with `--config`.
        config_sha256: of what that file said.
        flags: fields that the command line set.
        secret: the server's; never printed.
        gpus: how many this machine has.
        start: how often a server was started on this home, this time included.
    """

    config: Config
    home: Path
    files: tuple[Path, ...] = ()
    revision: int = 0
    config_path: Path | None = None
    config_sha256: str = ""
    flags: tuple[Given, ...] = ()
    json: bool = False
    started: float = 0.0
    gpus: int = 0
    secret: bytes = field(default=b"", repr=False)
    start: int = 1

    def request_ids(self, process: str, epoch: int) -> bytes:
        """What the ids of a process's requests begin with; unlike anybody's before, on this home.

        Outcomes are joined to requests by their ids.
        """
        # The host's short name, as far as it is fit for a header.
        name = socket.gethostname().split(".")[0]
        host = "".join(c for c in name if c.isascii() and (c.isalnum() or c == "-"))[:32] or "host"
        return f"{host}-{self.start}-{process}-{epoch}-".encode()


@dataclass(frozen=True, slots=True)
class Inherited:
    """What every child gets from the supervisor by being forked.

    Attributes:
        links: per worker, control's end and the worker's end.
        supervisor_link: the supervisor's end and control's end.
        keepsake: what a control process leaves to the next.
        traces: the end of all workers and control's end, where requests are traced.
        certificates: the last good ones, by `data` and `control`, where the port is encrypted.
    """

    launch: Launch
    workers: int
    arena: Arena
    board: Board
    data_sockets: list[socket.socket]
    control_socket: socket.socket
    links: list[tuple[Channel, Channel]]
    supervisor_link: tuple[Channel, Channel]
    keepsake: Keepsake
    traces: tuple[Channel, Channel] | None = None
    certificates: Mapping[str, Certificates] = field(default_factory=dict)
