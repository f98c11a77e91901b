"""Real processes that reserve of the same rows at the same time: run by itself, it tells in JSON.

python -m tests.llm.limits.hammering race|kill|callers
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from contextlib import suppress
from functools import partial

from gateway import processes
from gateway.errors import BudgetExceeded, RequestTooExpensive
from gateway.llm.limits.shared import SharedLimits
from gateway.llm.limits.table import Table
from gateway.monitor.arena import Arena
from kernels import budgets
from kernels._jit import compile_all

WORKERS = 3
KEY, TEAM = 0, 1
DAY, TOKENS_DAY = 0, 3
RACED = 20_000
KILLS = 40
CALLERS = 100  # of each of two processes
BUDGET = 1_000_000


def prepare(workers):
    compile_all()
    arena = Arena.create(workers)
    table = Table.make(arena)
    for row in (KEY, TEAM):
        words = table.row(row)
        words[budgets.CEILINGS : budgets.REQUESTS_DUE] = budgets.UNLIMITED
        words[budgets.OWNER] = 1 + row
    return arena, table


def sums(arena, table):
    spent = table.spent(arena.workers)[:, :2, :3].sum(axis=0).tolist()
    held = table.held(arena.workers)[:, :2, :3].sum(axis=0).tolist()
    return {"spent": spent, "held": held}


# ---- all take the same budget, a coin at a time ------------------------------------------------


def race():
    arena, table = prepare(WORKERS)
    table.row(KEY)[budgets.CEILINGS + DAY] = RACED
    start = time.monotonic() + 0.2
    pids = [processes.fork(partial(run_out, arena, table, slot, start)) for slot in range(WORKERS)]
    statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    return {"statuses": statuses, **sums(arena, table)}


def run_out(arena, table, slot, start):
    """0: it was refused only when nothing was left."""
    limits = SharedLimits(arena, slot)
    while time.monotonic() < start:
        pass
    with suppress(BudgetExceeded):
        while True:
            limits.reserve([KEY, TEAM], 1, 0, 1).settle(1, 0)
    # Nothing is ever given back here, so that what was granted by now was not much more then.
    while budgets.quiet(table.slots, WORKERS, slot) < 0:
        pass
    taken = sums(arena, table)
    return 0 if taken["spent"][KEY][0] + taken["held"][KEY][0] == RACED else 1


# ---- some are killed, whatever they are in the middle of ---------------------------------------


def kill():
    chance = random.Random(7)
    arena, table = prepare(WORKERS)
    most = 10**15
    table.row(TEAM)[budgets.CEILINGS + DAY] = most
    table.row(KEY)[budgets.MAX_PARALLEL] = 200

    def born(slot):
        arena.claim(slot, 1, 1, 1)
        return processes.fork(lambda: spend_for_ever(arena, slot, chance.random()))

    pids = [born(slot) for slot in range(WORKERS)]
    longest = 0
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.001, 0.02))
        slot = chance.randrange(WORKERS)
        longest = max(longest, bury(arena, pids, slot))
        pids[slot] = born(slot)
    for slot in range(WORKERS):
        bury(arena, pids, slot)
    # A successor completes what the last ones were in the middle of.
    heirs = [SharedLimits(arena, slot) for slot in range(WORKERS)]
    for heir in heirs:
        heir.reserve([KEY], 0, 0, 1).release()
    found = sums(arena, table)
    rest = most - found["spent"][TEAM][0]
    heirs[0].reserve([KEY, TEAM], rest, 0, 1)
    refused = False
    try:
        heirs[1].reserve([TEAM], 1, 0, 1)
    except BudgetExceeded:
        refused = True
    return {"held_by_killed": longest, "refused_at_the_end": refused, **found}


def bury(arena, pids, slot):
    """Kills a worker; says how much it held."""
    os.kill(pids[slot], signal.SIGKILL)
    os.waitpid(pids[slot], 0)
    held = int(Table.make(arena).held(WORKERS)[slot, TEAM, 0])
    arena.bury(slot, -signal.SIGKILL)
    return held


def spend_for_ever(arena, slot, seed):
    chance = random.Random(seed)
    limits = SharedLimits(arena, slot)
    open_ones = []
    while True:
        amount = chance.randrange(1, 1000)
        open_ones.append((limits.reserve([KEY, TEAM], amount, amount, 1), amount))
        if len(open_ones) > 20:
            grant, amount = open_ones.pop(chance.randrange(len(open_ones)))
            used = chance.randrange(amount + 1)
            grant.settle(used, used)


# ---- many callers, who use less than they reserve -----------------------------------------------


def callers():
    arena, table = prepare(2)
    table.row(KEY)[budgets.CEILINGS + DAY] = BUDGET
    table.row(TEAM)[budgets.CEILINGS + TOKENS_DAY] = 10 * BUDGET
    pids = [processes.fork(partial(call_all, arena, slot)) for slot in range(2)]
    statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    return {"statuses": statuses, **sums(arena, table)}


def call_all(arena, slot):
    asyncio.run(call(arena, slot))
    return 0


async def call(arena, slot):
    limits = SharedLimits(arena, slot)
    await asyncio.gather(*(caller(limits, slot * CALLERS + one) for one in range(CALLERS)))


async def caller(limits, number):
    """Asks until what is left does not cover its smallest request, whoever is under way."""
    chance = random.Random(number)
    while True:
        used = chance.randrange(200, 2000)
        try:
            grant = limits.reserve([KEY, TEAM], 4 * used, 4 * used, time.monotonic_ns())
        except (BudgetExceeded, RequestTooExpensive) as error:
            if "under way" not in str(error):
                return
            await asyncio.sleep(0.001)
            continue
        for _ in range(chance.randrange(1, 10)):
            await asyncio.sleep(0)
        grant.settle(used, used)


if __name__ == "__main__":
    print(json.dumps({"race": race, "kill": kill, "callers": callers}[sys.argv[1]]()))  # noqa: T201
