"""A server whose one worker counts values, or does not, by turns of half a second while it lives.

python -m loadtest.toggled_sketches MODEL.onnx PROFILE.json HOME PORT
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from gateway.afterwards import NOTHING
from loadtest import toggled


def _turn(worker: Any, served: Any, on: bool) -> dict[str, Any]:
    whole, _ = worker._sketches._attached.get(served.held.id, (NOTHING, None))
    served.endpoint.watch(whole if on else NOTHING)
    return {"blocks": len(whole.takers)}


def main() -> int:
    model, profile, home = (Path(name) for name in sys.argv[1:4])
    models = {"gbt": {"path": model, "profile": profile}}
    return toggled.serve(home, int(sys.argv[4]), _turn, models=models)


if __name__ == "__main__":
    sys.exit(main())
