"""A server whose one worker keeps inputs and outputs, or does not, by turns of half a second.

python -m loadtest.toggled_capture MODEL.onnx HOME PORT
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from gateway.capture.ring import DROPPED
from gateway.monitor.capture import CaptureWriter
from loadtest import toggled


def _turn(worker: Any, served: Any, on: bool) -> dict[str, Any]:
    users = worker._sketches._takers.get(served.held.id, ())
    writer = next((one for one in users if isinstance(one, CaptureWriter)), None)
    served.endpoint.keep(writer if on else None)
    dropped = 0 if writer is None else int(writer._ring.words[DROPPED])
    return {"writers": int(writer is not None), "dropped": dropped}


def main() -> int:
    model, home = (Path(name) for name in sys.argv[1:3])
    models = {"gbt": {"path": model, "capture": {"mode": "full"}}}
    document = {"monitoring": {"enabled": False}}
    return toggled.serve(home, int(sys.argv[3]), _turn, models=models, **document)


if __name__ == "__main__":
    sys.exit(main())
