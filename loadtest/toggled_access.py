"""A server whose one worker asks for keys, or does not, by turns of half a second while it lives.

python -m loadtest.toggled_access MODEL.onnx HOME PORT
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from loadtest import toggled


def _turn(worker: Any, _: Any, on: bool) -> dict[str, Any]:
    guard = worker._guard
    worker._services.guard = guard if on else None
    doors = {path: door.enter for path, door in guard.doors.items()}
    worker._services.endpoints.update(doors if on else worker._direct)
    return {}


def main() -> int:
    model, home, port = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    models = {"gbt": {"path": model}}
    return toggled.serve(home, port, _turn, access={"data": "keys"}, models=models)


if __name__ == "__main__":
    sys.exit(main())
