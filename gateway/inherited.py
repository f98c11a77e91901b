"""What the processes of one server get from their supervisor by being forked.

Knows nothing but the parts: who asked for what, the shared memory, the sockets, the channels.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from gateway.channel import Channel
from gateway.config import Config
from gateway.handover import Board
from gateway.monitor.arena import Arena


@dataclass(frozen=True, slots=True)
class Launch:
    """What `penstock serve` was asked to do, on how many GPUs, and how often on this home."""

    config: Config
    home: Path
    files: tuple[Path, ...] = ()
    config_path: Path | None = None
    json: bool = False
    started: float = 0.0
    gpus: int = 0
    start: int = 1


@dataclass(frozen=True, slots=True)
class Inherited:
    """What every child gets from the supervisor by being forked.

    Attributes:
        links: per worker, control's end and the worker's end.
        supervisor_link: the supervisor's end and control's end.
    """

    launch: Launch
    workers: int
    arena: Arena
    board: Board
    data_sockets: list[socket.socket]
    control_socket: socket.socket
    links: list[tuple[Channel, Channel]]
    supervisor_link: tuple[Channel, Channel]
