"""A server whose one worker divides a model's requests by a key, or does not, by turns.

python -m loadtest.toggled_route MODEL.onnx HOME PORT
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from gateway.plan import Split, Variant
from gateway.routed import RoutedEndpoint, arms_of
from gateway.routing.assign import InTurn
from gateway.routing.table import Table
from loadtest import toggled

HEADER = "x-customer"
PATH = b"/v2/models/gbt/infer"


def _turn(worker: Any, served: Any, on: bool) -> dict[str, Any]:
    """Two variants, both of the one deployment: what batches of two cost is not routing's."""
    split = Split((Variant("stable", 1, 90.0), Variant("canary", 1, 10.0)), sticky_header=HEADER)
    table = Table("gbt", split, InTurn())
    routed = RoutedEndpoint(table, arms_of(split, {1: served}, 1))
    worker._services.endpoints[PATH] = routed.__call__ if on else served.endpoint.__call__
    return {}


def main() -> int:
    model, home, port = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    return toggled.serve(home, port, _turn, models={"gbt": {"path": model}})


if __name__ == "__main__":
    sys.exit(main())
