"""The certificates of both ports, as control sees them: what expires when, and what went wrong.

Knows certificate files. Every process takes new ones by itself; this one also says what became of
them, in the log and to the audit: once, however many processes take them. It keeps a copy of what
clients are shown, for commands on this machine: between the two files of a renewal, the one at the
configured place is not what the server serves.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Mapping
from pathlib import Path

from gateway.control.recorder import Note
from gateway.control.replacing import replace
from gateway.tls import Certificates

log = logging.getLogger("penstock.control")


class PortCertificates:
    """Those of the ports that have any."""

    def __init__(self, ports: Mapping[str, Certificates], run: Path, note: Note) -> None:
        """Writes down what is shown.

        Args:
            ports: the certificates, by `data` and `control`.
            run: folder for what clients are shown.
            note: is told when new ones take over.
        """
        self._ports = ports
        self._run = run
        self._note = note
        for port, found in self._ports.items():
            self._keep(port, found.shown)

    def control(self) -> ssl.SSLContext | None:
        """What the control port is encrypted with, now and after every renewal; None: it is not."""
        found = self._ports.get("control")
        return None if found is None else found.following()

    def facts(self) -> Mapping[str, tuple[float, bool]]:
        """By port: when its certificate expires, and whether the files that lie there are good."""
        return {port: (found.expires, not found.fault) for port, found in self._ports.items()}

    async def look(self) -> None:
        """Takes new files into force; says so, or why not."""
        for port, found in self._ports.items():
            fault, before, shown = found.fault, found.facts, found.shown
            if await asyncio.to_thread(found.refresh):
                # Workers take new files by themselves, and may be a second behind.
                await asyncio.to_thread(self._keep, port, found.shown + shown)
                log.warning("%s port: new certificate files are in force", port)
                self._note("certificate renew", f"{port} port", before, found.facts)
            if found.fault not in ("", fault):
                log.error("%s; the last good certificate serves on", found.fault)

    def _keep(self, port: str, shown: str) -> None:
        # Where the disk takes it not, commands have the configured file.
        with contextlib.suppress(OSError):
            replace(shown_at(self._run, port), shown.encode())


def shown_at(run: Path, port: str) -> Path:
    """Where the certificates lie that clients of a port, `data` or `control`, may be shown."""
    return run / f"{port}.pem"
