"""A server that another program starts."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress

import psutil

STARTS_AND_IS_KILLED = """
import os, pathlib, signal, sys
from gateway.cli.child import ServerProcess
print(ServerProcess(pathlib.Path(sys.argv[1])).process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_server_does_not_outlive_the_one_that_started_it(home):
    command = [sys.executable, "-c", STARTS_AND_IS_KILLED, str(home)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL
    with suppress(psutil.NoSuchProcess):  # it may be gone already
        psutil.Process(int(done.stdout)).wait(timeout=60)
