"""What can be asked of captured rows, and of erasing, through the control port.

Knows parameters and answers. Knows nothing of how rows are kept or erased.
"""

from __future__ import annotations

from typing import Any

from gateway.access.roles import Permission
from gateway.control.capture import Capture
from gateway.control.capture_documents import CaptureStatus, ErasureReport, ErasureWanted
from gateway.control.erasures import Erasures
from gateway.control.operations import Asked, Operation
from gateway.errors import StoreFailed


def operations(capture: Capture, erasures: Erasures) -> tuple[Operation, ...]:
    """The table."""

    async def capture_status(_: Asked) -> Any:
        return await status()

    async def flush_captures(_: Asked) -> Any:
        await capture.flush()
        return await status()

    async def status() -> dict[str, Any]:
        versions = [
            {
                "model": one.model,
                "version": one.version,
                "captured": one.captured,
                "waiting": one.waiting,
                "dropped": one.dropped,
                "rows": one.rows,
                "bytes": one.nbytes,
                "oldest": None if one.oldest_ms is None else one.oldest_ms / 1000.0,
            }
            for one in await capture.facts()
        ]
        return {"versions": versions}

    async def erase(asked: Asked) -> Any:
        wanted: ErasureWanted = asked.body
        report = await erasures.erase(asked.actor, wanted.request_ids, wanted.subjects)
        return report.as_json()

    return (
        Operation(
            "GET",
            "/api/captures",
            capture_status,
            "What is captured of each version, and what was dropped",
            Permission.READ,
            answer=CaptureStatus,
        ),
        Operation(
            "POST",
            "/api/captures/flush",
            flush_captures,
            "Write what was captured until now to files",
            Permission.OPERATE,
            answer=CaptureStatus,
            errors=(StoreFailed,),
        ),
        Operation(
            "POST",
            "/api/erasures",
            erase,
            "Erase what is kept of requests, or of whom they are about",
            Permission.OPERATE,
            answer=ErasureReport,
            body=ErasureWanted,
            errors=(StoreFailed,),
        ),
    )
