"""The identity provider's public keys: read from a file or fetched, again and again.

Knows where they are and how often to look: also soon after somebody met a token of a key that is
not among them. Knows nothing of tokens. Only control fetches; workers get the keys as a table.
While the provider cannot be reached, the last keys stand. Who may sign is told to the audit.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx

from gateway.access.tokens import MAX_JWKS_BYTES, TokenVerifier, read_jwks
from gateway.config import Jwt
from gateway.control.recorder import Note
from gateway.control.replacing import replace
from gateway.control.tables import Tables
from gateway.errors import ConfigInvalid, ControlUnavailable, GatewayError

log = logging.getLogger("penstock.control")


# Providers announce a key long before they use it; a file is cheap to look at.
FETCH_S = 300.0
FILE_S = 1.0
RETRY_S = 10.0
# Between fetches that are asked for: anybody can send tokens of keys that nobody has.
ASKED_S = 10.0
# Of all pieces together: workers wait for the first answer.
LONGEST_S = 20.0
TIMEOUT_S = 10.0


class Jwks:
    """Keeps one verifier, and those of the workers, at the provider's newest keys."""

    def __init__(
        self,
        where: Jwt,
        verifier: TokenVerifier,
        tables: Tables | None,
        kept: Path,
        note: Note,
        fetch_s: float = FETCH_S,
        retry_s: float = RETRY_S,
        asked_s: float = ASKED_S,
    ) -> None:
        """Has nothing yet.

        Args:
            where: a file or a URL.
            verifier: of this process.
            tables: carries keys to the workers; None where they ask for none.
            kept: where the last keys are written down for a successor of this process.
            note: is told when other keys take over.
            fetch_s: between two fetches from a URL.
            retry_s: after one that failed.
            asked_s: at least, between two of which the second was asked for.
        """
        self._kept = kept
        self._note = note
        self._asked_s = asked_s
        self._looked_at = 0.0
        self._fetch_s = fetch_s
        self._retry_s = retry_s
        self._where = where
        self._verifier = verifier
        self._tables = tables
        self._rows: dict[str, dict[str, str]] | None = None
        self._due = 0.0

    def ask(self) -> None:
        """Somebody met a token of a key that is not here: it may be the provider's newest."""
        if self._where.jwks_url is not None:
            self._due = min(self._due, self._looked_at + self._asked_s)

    async def look(self) -> None:
        """Looks again if it is time to.

        Raises:
            ControlUnavailable, ConfigInvalid: the keys could not be had; it is tried again.
        """
        now = time.monotonic()
        if now < self._due:
            return
        self._due, self._looked_at = now + self._retry_s, now
        try:
            async with asyncio.timeout(LONGEST_S):
                found = await self._read()
        except Exception as error:  # a bad proxy variable, a provider that trickles
            if self._rows is None:
                await self._follow(await asyncio.to_thread(self._last))
            if isinstance(error, GatewayError):
                raise
            raise ControlUnavailable(f"access.jwt: no keys to be had: {error!r}") from error
        await self._follow(found)
        self._due = now + (self._fetch_s if self._where.jwks_url else FILE_S)

    async def _read(self) -> dict[str, dict[str, str]]:
        if self._where.jwks_file is not None:
            return await asyncio.to_thread(read_file, self._where.jwks_file)
        url = self._where.jwks_url or ""
        try:
            async with (
                httpx.AsyncClient(timeout=TIMEOUT_S) as client,
                client.stream("GET", url) as answer,
            ):
                answer.raise_for_status()
                body = bytearray()
                async for piece in answer.aiter_bytes():
                    body += piece
                    if len(body) > MAX_JWKS_BYTES:
                        break
        except httpx.HTTPError as error:
            raise ControlUnavailable(f"access.jwt.jwks_url: {type(error).__name__}") from error
        return read_jwks(bytes(body))

    def _last(self) -> dict[str, dict[str, str]]:
        """The last keys that a predecessor had; none: no token is good until there are some."""
        try:
            return read_file(self._kept)
        except ConfigInvalid:
            return {}

    def _keep(self, rows: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):
            replace(self._kept, json.dumps({"keys": list(rows.values())}).encode())

    async def _follow(self, rows: dict[str, dict[str, str]]) -> None:
        if rows == self._rows:
            return
        before = self._rows
        if before is None:
            before = await asyncio.to_thread(self._last)
        self._rows = rows
        if rows != before:
            self._tell(before, rows)
        self._verifier.replace(rows)
        if self._tables is not None:
            # By content, so that a successor of this process names the same keys the same.
            version = int.from_bytes(sha256(repr(sorted(rows.items())).encode()).digest()[:6])
            self._tables.publish("jwks", version, rows, [kid for kid in before if kid not in rows])
        if rows:
            await asyncio.to_thread(self._keep, rows)

    def _tell(self, before: Mapping[str, Any], rows: Mapping[str, Any]) -> None:
        was, now = _thumbprints(before), _thumbprints(rows)
        log.warning("access.jwt: keys that sign tokens: %s, before: %s", _ids(now), _ids(was))
        place = self._where.jwks_url or self._where.jwks_file
        self._note("jwks change", str(place), {"keys": was}, {"keys": now})


def _thumbprints(rows: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """By key id, a digest of the public key: the same id may name another key."""
    return {
        kid: sha256(repr(sorted(row.items())).encode()).hexdigest() for kid, row in rows.items()
    }


def _ids(keys: Mapping[str, str]) -> str:
    return ", ".join(f"{kid!r} ({digest[:12]})" for kid, digest in keys.items()) or "none"


def read_file(path: Path) -> dict[str, dict[str, str]]:
    """The keys in a file.

    Raises:
        ConfigInvalid: it cannot be read, or is no key set.
    """
    try:
        return read_jwks(path.read_bytes())
    except OSError as error:
        raise ConfigInvalid(f"access.jwt.jwks_file: {path}: {error.strerror}") from error
