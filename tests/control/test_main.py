"""A control process that cannot start leaves nothing of what it had started."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from gateway.channel import pair
from gateway.config import Config
from gateway.control.main import Control
from gateway.control.store import Store
from gateway.handover import Board
from gateway.inherited import Inherited, Launch
from gateway.keepsake import Keepsake
from gateway.monitor.arena import Arena
from gateway.sockets import control_socket

pytestmark = pytest.mark.anyio


@pytest.fixture
def inherited(tmp_path):
    """What a supervisor hands on, with a control port that is not there any more."""
    home = tmp_path / "home"
    Store.open(home).close()
    (home / "run").mkdir(exist_ok=True)
    config = Config.model_validate({"control": {"port": 0}})
    launch = Launch(config, home, secret=b"s" * 32)
    with ExitStack() as stack:
        listener = stack.enter_context(control_socket("127.0.0.1", 0))
        link, supervisor = pair(), pair()
        board, keepsake = Board(1), Keepsake()
        listener.close()
        for one in (*link, *supervisor, board, keepsake):
            stack.callback(one.close)
        yield Inherited(
            launch, 1, Arena.create(1), board, [], listener, [link], supervisor, keepsake
        )


async def test_what_was_started_before_something_fails_is_stopped_and_the_reason_told(inherited):
    before = asyncio.all_tasks()
    with pytest.raises(ValueError, match="file descriptor"):
        await Control(inherited, 1).run()
    loop = asyncio.get_running_loop()
    assert not loop.remove_reader(inherited.supervisor_link[1].fileno())
    assert not loop.remove_reader(inherited.links[0][0].fileno())
    assert {task for task in asyncio.all_tasks() - before if not task.done()} == set()
