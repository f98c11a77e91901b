"""A server whose one worker keeps inputs and outputs, or does not, by turns of half a second.

python -m loadtest.toggled_capture MODEL.onnx HOME PORT
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.afterwards import NOTHING
from gateway.capture.ring import DROPPED
from loadtest import toggled


def _turn(worker: Any, served: Any, on: bool) -> dict[str, Any]:
    whole, _ = worker._sketches._attached.get(served.held.id, (NOTHING, None))
    served.endpoint.watch(whole if on else replace(whole, capture=None))
    writer = whole.capture
    dropped = 0 if writer is None else int(writer._ring.words[DROPPED])
    return {"writers": int(writer is not None), "dropped": dropped}


def main() -> int:
    model, home = (Path(name) for name in sys.argv[1:3])
    models = {"gbt": {"path": model, "capture": {"mode": "full"}}}
    document = {"monitoring": {"enabled": False}}
    return toggled.serve(home, int(sys.argv[3]), _turn, models=models, **document)


if __name__ == "__main__":
    sys.exit(main())
