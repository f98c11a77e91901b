"""A server whose one worker writes down what it answers, or does not, by turns of half a second.

python -m loadtest.toggled_ledger MODEL.onnx HOME PORT
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.afterwards import NOTHING
from loadtest import toggled


def _turn(worker: Any, served: Any, on: bool) -> dict[str, Any]:
    whole, _ = worker._sketches._attached.get(served.held.id, (NOTHING, None))
    served.endpoint.watch(whole if on else replace(whole, ledger=None))
    return {"writers": int(whole.ledger is not None)}


def main() -> int:
    model, home = (Path(name) for name in sys.argv[1:3])
    document = {"monitoring": {"enabled": False}, "ledger": {"enabled": True}}
    models = {"gbt": {"path": model}}
    return toggled.serve(home, int(sys.argv[3]), _turn, models=models, **document)


if __name__ == "__main__":
    sys.exit(main())
