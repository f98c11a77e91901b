"""A server whose one worker writes down what it answers, or does not, by turns of half a second.

python -m loadtest.toggled_ledger MODEL.onnx HOME PORT
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from gateway.monitor.ledger import LedgerWriter
from loadtest import toggled


def _turn(worker: Any, served: Any, on: bool) -> dict[str, Any]:
    users = worker._sketches._takers.get(served.held.id, ())
    writer = next((one for one in users if isinstance(one, LedgerWriter)), None)
    takers = tuple(one for one in users if one is not writer)
    served.endpoint.watch(takers, writer if on else None)
    return {"writers": int(writer is not None)}


def main() -> int:
    model, home = (Path(name) for name in sys.argv[1:3])
    document = {"monitoring": {"enabled": False}, "ledger": {"enabled": True}}
    models = {"gbt": {"path": model}}
    return toggled.serve(home, int(sys.argv[3]), _turn, models=models, **document)


if __name__ == "__main__":
    sys.exit(main())
