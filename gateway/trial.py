"""Tries a model out in a process that may die: loads it, warms it up, says how it went.

Knows nothing of plans or workers. A native crash here costs one process and refuses one model.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from gateway import logs
from gateway.errors import GatewayError
from gateway.plan import Held
from gateway.serving import deployment


def try_out(held: Mapping[str, Any]) -> dict[str, Any]:
    """Loads and warms a version up, in the calling process.

    Returns:
        `ok`; then `notes` for its owner and `load_s`, or else the `reason`.
    """
    logs.rename("trial")
    logging.disable(logging.WARNING)  # the workers will say the same when they load it
    try:
        loaded = deployment.load(Held(**held))
    except GatewayError as error:
        return {"ok": False, "reason": str(error)}
    except MemoryError:
        return {"ok": False, "reason": "not enough memory to load it"}
    return {"ok": True, "notes": list(loaded.notes), "load_s": loaded.load_s}
