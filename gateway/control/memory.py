"""Keeps control's memory on disk, so that a successor takes up where a killed one stopped.

Knows one small file. Knows nothing of what the memory means. The arena's boot id stands in it: the
memory of an earlier server names counters that are gone and is not taken up.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import orjson

from gateway.control.planner import Memory
from gateway.plan import Plan

log = logging.getLogger("penstock.control")


def write(path: Path, boot_id: int, memory: Memory) -> None:
    """Replaces the file in one step. A full disk is logged: the plan itself still goes out."""
    data = orjson.dumps(
        {
            "boot": boot_id,
            "number": memory.plan.number,
            "parts": memory.plan.parts(),
            "crashes": memory.crashes,
            "refused": memory.refused,
            "unloaded": sorted(memory.unloaded),
            "loads": memory.loads,
        }
    )
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        log.error("%s: the plan cannot be stored: %s", path, error)


def read(path: Path, boot_id: int) -> Memory | None:
    """What an earlier control process of this server left, or None."""
    try:
        found = orjson.loads(path.read_bytes())
        if found["boot"] != boot_id:
            return None
        return Memory(
            Plan.from_parts(found["number"], found["parts"]),
            found["crashes"],
            found["refused"],
            set(found["unloaded"]),
            found["loads"],
        )
    except FileNotFoundError:
        return None
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        log.error("%s: the stored plan cannot be read: %s", path, error)
        return None
