"""`penstock` in the terminal of a page: has the nursery run the command, and ends as that does.

Knows where the nursery listens. Knows nothing of commands, and imports next to nothing: a page has
dozens of them.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys

NURSERY = "PENSTOCK_TESTS_NURSERY"
"""A variable: the descriptor of its socket."""


def main() -> int:
    environment = dict(os.environ)
    nursery = socket.socket(fileno=int(environment.pop(NURSERY)))
    ours, theirs = os.pipe()
    order = {"words": sys.argv[1:], "folder": os.getcwd(), "environment": environment}
    socket.send_fds(nursery, [json.dumps(order).encode()], [0, 1, 2, theirs])
    os.close(theirs)
    command = _told(ours)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os.kill(command, number))
    status = _told(ours)
    return status if status >= 0 else 128 - status  # as a shell tells of a signal


def _told(report: int) -> int:
    said = os.read(report, 8)
    if not said:
        raise EOFError("the nursery has ended")
    return int.from_bytes(said, sys.byteorder, signed=True)


if __name__ == "__main__":
    sys.exit(main())
