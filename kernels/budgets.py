"""Reserves money, tokens and a place in the line of several limited things at once, or none of it.

Knows words of shared memory: a table with a row for each limited thing, and a slot for each process
that reserves. Knows nothing of keys, requests, or what money is worth.

What is committed of a row is the sum, over all slots, of what was settled and what is held. Each of
these words has one writer. To reserve, a process first writes what it wants to hold, and then adds
up all slots: of several that do so at once, the last to write sees all others, so that what is
granted never adds up to more than the ceiling. Who finds too much takes its own back, and if
somebody else was in the middle of the same, tries again, as that one may also take its own back.
Nobody is refused because of what others are about to take back, but for the bound `TRIES`.

A process that is killed leaves nothing half done in words that others write: what it held stands in
its own slot, and is given back by zeroing that (`HELD_FIRST` and on, and TRYING). A settlement goes
over several words; it stands in a journal first, from which a successor completes it (`complete`).
Settled sums only grow, so that a budget's window is nothing but a ceiling that is moved.

Rates are the generic cell rate algorithm: a minute's worth may come at once, and what was taken
comes back continuously. The theoretical arrival time is one word per rate that all processes change
by compare-and-swap; it needs nobody's care when one dies, as a minute later it is full anyway.

What a request takes at most follows from prices, from what it asks for and, where it names no
maximum, from what is left. All of that is one call (`cover`): worked out outside it took longer
than everything else that is done for limits.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from kernels._atomics import add, fence, load, store, swap
from kernels._jit import kernel

Words = np.ndarray[Any, np.dtype[np.int64]]

# -- words of a row, all written by one process but for the two arrival times ----------------------
OWNER: Final = 0  # 0: the row is nobody's
KIND: Final = 1
CEILINGS: Final = 2  # of money, then of tokens; each of a day, a month, and for ever
WINDOWS: Final = 3
MAX_PARALLEL: Final = 8
REQUESTS_PER_MINUTE: Final = 9
TOKENS_PER_MINUTE: Final = 10
REQUESTS_DUE: Final = 11  # theoretical arrival times, monotonic ns
TOKENS_DUE: Final = 12
BASES: Final = 13  # what a slot counts of a row, of all slots, when the row got its owner
ROW_WORDS: Final = 24  # whole lines of a cache: no two rows' arrival times share one
UNLIMITED: Final = 1 << 62

# -- words of a slot; how many rows there are follows from the table -------------------------------
TRYING: Final = 0  # odd: in the middle of reserving
HELD_FIRST: Final = 512  # on a page of their own: for each row money, tokens, requests under way
HELD_WORDS: Final = 4
JOURNAL_WORDS: Final = 512  # behind them: how many rows are being settled, and their sums to be
SPENT_WORDS: Final = 4  # behind these: for each row money, tokens, requests, refusals
MONEY, TOKENS, REQUESTS, REFUSALS = range(SPENT_WORDS)

# -- words of a grant ------------------------------------------------------------------------------
COUNT: Final = 0  # of rows
WANTED_MONEY: Final = 1
WANTED_TOKENS: Final = 2
OUTPUT: Final = 3  # what each answer must be held to, of tokens; -1: to nothing
FIRST: Final = 4  # for each row its number, and where its two rates stood after this
EACH: Final = 3
MAX_ROWS: Final = 8  # of one grant
ROW: Final = 28  # of a refusal: the row that refuses, what was wanted, what is left, and for how
ASKED: Final = 29  # many ns nothing will change
LEFT: Final = 30
WAIT_NS: Final = 31
LEFT_MONEY: Final = 32  # of the tightest row for each, before the request
LEFT_TOKENS: Final = 33
REQUESTS_LIMIT: Final = 34  # the same of rates, after it was granted; UNLIMITED: none has one
REQUESTS_LEFT: Final = 35
REQUESTS_FULL_NS: Final = 36  # until all of it is back
TOKENS_LIMIT: Final = 37
TOKENS_LEFT: Final = 38
TOKENS_FULL_NS: Final = 39
WANTED_OF_RATES: Final = 40  # tokens, where rates take a prompt for less than budgets do
GRANT_WORDS: Final = 48

# -- what `reserve` answers: 0, or 1 + what refuses, below zero where only others are in the way --
GRANTED: Final = 0
PARALLEL: Final = 2 * WINDOWS  # after the ceilings, which are counted as they stand in a row
REQUEST_RATE: Final = PARALLEL + 1
TOKEN_RATE: Final = PARALLEL + 2
NO_ROW: Final = PARALLEL + 3
UNPRICED: Final = 1 << 32  # what `cover` answers where a budget of money is to be held, and cannot

TRIES: Final = 64
PAUSE: Final = 64  # looks at a word for each place in the line of processes
MINUTE_NS: Final = 60_000_000_000

MOST: Final = UNLIMITED >> 2
"""Of money or tokens, what one request is taken for at the most: above any budget, and so far below
what a word holds that sums of it stay there. A caller may ask for more, a provider say so."""

# -- words of a tariff: whether some price is not known, and then one price after the other --------
FEE: Final = 0  # of a request, whatever its tokens
STEPS: Final = 1  # how many there are, highest first
FIRST_STEP: Final = 2  # for each: above how many tokens read, and what one read and written cost
STEP_WORDS: Final = 3

# Of what is left, one request that names no maximum may reserve this part: several can run beside
# each other, and the last is not refused before next to nothing is left.
SHARE: Final = 4
# Most answers are longer than a smaller number would let them be.
LEAST_OUTPUT: Final = 256


@kernel("int64(int64)")
def held_end(rows: int) -> int:
    """The word of a slot behind all that is given back when its process ends."""
    return HELD_FIRST + HELD_WORDS * rows


@kernel("int64(int64)")
def spent_first(rows: int) -> int:
    """The first word of a slot that says what was settled."""
    return held_end(rows) + JOURNAL_WORDS


def slot_words(rows: int) -> int:
    """Words of a slot for a table of so many rows."""
    return spent_first(rows) + SPENT_WORDS * rows


@kernel("int64(int64[::1], int64, int64, int64)")
def summed(slots: Words, workers: int, first: int, second: int) -> int:
    """Two words of each slot, all added up; of each slot the first is read first."""
    stride = len(slots) // workers
    total = 0
    for worker in range(workers):
        total += load(slots, worker * stride + first) + load(slots, worker * stride + second)
    return total


@kernel("int64(int64[::1], int64, int64)")
def quiet(slots: Words, workers: int, me: int) -> int:
    """A number that differs whenever another process reserved in between; -1: one is at it."""
    stride = len(slots) // workers
    total = 0
    for worker in range(workers):
        if worker != me:
            trying = load(slots, worker * stride + TRYING)
            if trying & 1:
                return -1
            total += trying
    return total


@kernel("int64(int64, int64)")
def cost_ns(amount: int, per_minute: int) -> int:
    """How long so much takes to come back, rounded up; at most 150 million per minute."""
    whole = amount // per_minute * MINUTE_NS
    return whole + (amount % per_minute * MINUTE_NS + per_minute - 1) // per_minute


@kernel("int64(int64[::1], int64, int64, int64, int64, int64)")
def refused(grants: Words, at: int, row: int, wanted: int, left: int, wait_ns: int) -> int:
    """Notes who refuses, and why."""
    grants[at + ROW] = row
    grants[at + ASKED] = wanted
    grants[at + LEFT] = left
    grants[at + WAIT_NS] = wait_ns
    return 0


@kernel("int64(int64[::1], int64[::1], int64[::1], int64, int64, int64)")
def ceilings_hold(
    rows: Words, slots: Words, grants: Words, at: int, workers: int, more: int
) -> int:
    """0, or which ceiling of which row is passed.

    Args:
        rows: the table.
        slots: all of them, one after the other.
        grants: the grant at `at` is asked about.
        at: its first word.
        workers: how many slots there are.
        more: 1: what is wanted is not held yet, and would come on top; 0: it is held.
    """
    count = len(rows) // ROW_WORDS
    spent = spent_first(count)
    for one in range(grants[at + COUNT]):
        number = grants[at + FIRST + one * EACH]
        if number < 0 or number >= count or load(rows, number * ROW_WORDS + OWNER) == 0:
            refused(grants, at, number, 0, 0, 0)
            return 1 + NO_ROW
        row = number * ROW_WORDS
        held = HELD_FIRST + number * HELD_WORDS
        for unit in range(2):
            wanted = grants[at + WANTED_MONEY + unit]
            ceiling = rows[row + CEILINGS + unit * WINDOWS]
            place = 0
            for window in range(1, WINDOWS):
                other = rows[row + CEILINGS + unit * WINDOWS + window]
                if other < ceiling:
                    ceiling, place = other, window
            if ceiling < UNLIMITED:
                settled = spent + number * SPENT_WORDS + unit
                taken = summed(slots, workers, held + unit, settled) - wanted * (1 - more)
                if taken + wanted > ceiling:
                    refused(grants, at, number, wanted, ceiling - taken, 0)
                    return 1 + unit * WINDOWS + place
        most = rows[row + MAX_PARALLEL]
        if most < UNLIMITED:
            under_way = 0
            for worker in range(workers):
                under_way += load(slots, worker * (len(slots) // workers) + held + REQUESTS)
            if under_way + more > most:
                refused(grants, at, number, 1, most - under_way + 1 - more, 0)
                return 1 + PARALLEL
    return 0


@kernel("int64(int64[::1], int64, int64, int64, int64)")
def take_rate(rows: Words, due: int, cost: int, now: int, take: int) -> int:
    """When a rate will stand after so much more; as a negative number how long that is too soon.

    Args:
        rows: the table.
        due: the word with the arrival time.
        cost: ns.
        now: monotonic ns.
        take: 1: take it; 0: only look.
    """
    while True:
        before = load(rows, due)
        after = max(before, now) + cost
        if after - now > MINUTE_NS:
            return now + MINUTE_NS - after
        if take == 0 or swap(rows, due, before, after) == before:
            return after


@kernel("int64(int64[::1], int64, int64, int64, int64)")
def rate_left(rows: Words, row: int, rate: int, now: int, what: int) -> int:
    """Of one rate: what may come at once (0), or after how many ns all of it is back (1)."""
    limit = int(rows[row + REQUESTS_PER_MINUTE + rate])
    level = max(load(rows, row + REQUESTS_DUE + rate) - now, 0)
    if what:
        return level
    taken = (min(level, MINUTE_NS) * limit + MINUTE_NS - 1) // MINUTE_NS
    return max(limit - taken, 0)


@kernel("int64(int64[::1], int64[::1], int64, int64, int64)")
def rates_hold(rows: Words, grants: Words, at: int, now: int, take: int) -> int:
    """0, or which rate of which row is passed; what was taken until then is given back.

    Args:
        rows: the table.
        grants: the grant at `at` is asked about; where its rates stand then is noted there.
        at: its first word.
        now: monotonic ns.
        take: 1: take it; 0: only look.
    """
    wanted = grants[at + WANTED_OF_RATES]
    for one in range(grants[at + COUNT]):
        entry = at + FIRST + one * EACH
        row = grants[entry] * ROW_WORDS
        for rate in range(2):
            amount = wanted if rate else 1
            limit = rows[row + REQUESTS_PER_MINUTE + rate]
            grants[entry + 1 + rate] = 0
            if limit >= UNLIMITED or amount == 0:
                continue
            if limit > 0 and amount <= limit:
                after = take_rate(
                    rows, row + REQUESTS_DUE + rate, cost_ns(amount, limit), now, take
                )
                if after >= 0:
                    grants[entry + 1 + rate] = after
                    continue
                free = rate_left(rows, row, rate, now, 0)
                refused(grants, at, grants[entry], amount, free, -after)
            else:
                refused(grants, at, grants[entry], amount, limit, -1)
            if take:
                for earlier in range(one + 1):
                    other = at + FIRST + earlier * EACH
                    for kind in range(2):
                        if grants[other + 1 + kind] and (earlier < one or kind < rate):
                            place = grants[other] * ROW_WORDS
                            given = wanted if kind else 1
                            back = cost_ns(given, rows[place + REQUESTS_PER_MINUTE + kind])
                            add(rows, place + REQUESTS_DUE + kind, -back)
            return 1 + REQUEST_RATE + rate
    return 0


@kernel("int64(int64[::1], int64[::1], int64, int64, int64, int64)")
def hold(slots: Words, grants: Words, at: int, mine: int, sign: int, trying: int) -> int:
    """Writes what is wanted into this process's own slot, or takes it out again."""
    for one in range(grants[at + COUNT]):
        held = mine + HELD_FIRST + grants[at + FIRST + one * EACH] * HELD_WORDS
        for unit in range(2):
            slots[held + unit] += sign * grants[at + WANTED_MONEY + unit]
        slots[held + REQUESTS] += sign
    store(slots, mine + TRYING, trying)
    return 0


@kernel("int64(int64[::1], int64[::1], int64[::1], int64, int64, int64, int64)")
def reserve(
    rows: Words, slots: Words, grants: Words, at: int, workers: int, me: int, now: int
) -> int:
    """Reserves for all rows of a grant, or for none.

    Never takes a row above a ceiling. Refuses only what does not fit; what did not for `TRIES`
    looks in all of which another process was in the middle of reserving is told apart.

    Args:
        rows: the table, (rows * ROW_WORDS,).
        slots: (workers * words of a slot,) that of each process, one after the other.
        grants: (grants * GRANT_WORDS,) of this process alone. COUNT, what is wanted and the rows'
            numbers are set.
        at: the first word of the grant.
        workers: how many slots there are.
        me: the slot of this process, in which nobody else writes.
        now: monotonic ns.

    Returns:
        GRANTED; or 1 + what refuses, with the refusal in the grant; or the same below zero, where
        others were in the way and asking again is better.
    """
    mine = me * (len(slots) // workers)
    code = 0
    for tries in range(TRIES):
        before = quiet(slots, workers, me)
        code = ceilings_hold(rows, slots, grants, at, workers, 1)
        if code == 0:
            code = rates_hold(rows, grants, at, now, 0)
        if code == 1 + NO_ROW:
            return code
        if code == 0:
            # Before anything is held: whoever sees that sees this, too.
            trying = add(slots, mine + TRYING, 1)
            hold(slots, grants, at, mine, 1, trying + 1)
            fence()
            code = ceilings_hold(rows, slots, grants, at, workers, 0)
            if code == 0:
                code = rates_hold(rows, grants, at, now, 1)
            if code == 0:
                store(slots, mine + TRYING, trying + 2)
                return GRANTED
            hold(slots, grants, at, mine, -1, trying + 2)
        if before >= 0 and quiet(slots, workers, me) == before:
            break
        # The first in line tries again at once, and the others leave it the time to.
        for _ in range(me * PAUSE):
            if load(slots, mine + TRYING) < 0:
                break
        if tries == TRIES - 1:
            code = -code
    return code


@kernel("int64(int64[::1], int64[::1], int64, int64, int64)")
def count_refusal(slots: Words, grants: Words, at: int, mine: int, rows: int) -> int:
    """Counts that a request was told no: once, however often it was reserved for.

    Args:
        slots: all of them, one after the other.
        grants: the one at `at` says which row refused.
        at: its first word.
        mine: the first word of the slot of this process.
        rows: of the table.
    """
    slots[mine + spent_first(rows) + grants[at + ROW] * SPENT_WORDS + REFUSALS] += 1
    return 0


@kernel("int64(int64[::1], int64, int64)")
def complete(slots: Words, mine: int, rows: int) -> int:
    """Writes the sums that stand in a slot's journal; gives how many rows they are of.

    Args:
        slots: all of them, one after the other.
        mine: the first word of the slot.
        rows: of the table.
    """
    journal = mine + HELD_FIRST + HELD_WORDS * rows
    spent = journal + JOURNAL_WORDS
    count = load(slots, journal)
    for one in range(count):
        entry = journal + 4 + one * 4
        place = spent + slots[entry] * SPENT_WORDS
        for unit in range(3):
            store(slots, place + unit, slots[entry + 1 + unit])
    store(slots, journal, 0)
    return count


@kernel("int64(int64[::1], int64, int64, int64, int64, int64)")
def move_rate(rows: Words, due: int, limit: int, change: int, after: int, now: int) -> int:
    """Gives back to a rate what was not used, or takes what was used on top.

    What has come back by itself since is not given back once more: of a reservation that ends its
    line at `after`, that is what lies before `now`.

    Args:
        rows: the table.
        due: the word with the arrival time.
        limit: per minute.
        change: what was used, less what was reserved.
        after: where the rate stood after the reservation; 0: nothing was taken.
        now: monotonic ns.
    """
    if after == 0 or change == 0 or limit <= 0 or limit >= UNLIMITED:
        return 0
    if change > 0:
        return add(rows, due, cost_ns(change, limit))
    return add(rows, due, -min(cost_ns(-change, limit), max(after - now, 0)))


@kernel(
    "int64(int64[::1], int64[::1], int64[::1], int64, int64, int64, int64, int64, int64, boolean)"
)
def settle(
    rows: Words,
    slots: Words,
    grants: Words,
    at: int,
    workers: int,
    me: int,
    now: int,
    money: int,
    tokens: int,
    used: bool,
) -> int:
    """Ends a grant: what was used is settled, what was reserved is held no longer.

    Args:
        rows: the table.
        slots: of all processes.
        grants: of this process.
        at: the first word of the grant.
        workers: how many slots there are.
        me: the slot of this process.
        now: monotonic ns.
        money: that was used.
        tokens: that were used.
        used: whether there was a request at all; if not, nothing of it counts.
    """
    mine = me * (len(slots) // workers)
    count = len(rows) // ROW_WORDS
    journal = mine + held_end(count)
    spent = journal + JOURNAL_WORDS
    if used:
        for one in range(grants[at + COUNT]):
            number = grants[at + FIRST + one * EACH]
            entry = journal + 4 + one * 4
            place = spent + number * SPENT_WORDS
            slots[entry] = number
            slots[entry + 1] = slots[place] + money
            slots[entry + 2] = slots[place + 1] + tokens
            slots[entry + 3] = slots[place + 2] + 1
        store(slots, journal, grants[at + COUNT])
        complete(slots, mine, count)
    # A reader takes what is held first: it may see a settlement twice, but never not at all.
    fence()
    hold(slots, grants, at, mine, -1, slots[mine + TRYING])
    for one in range(grants[at + COUNT]):
        entry = at + FIRST + one * EACH
        row = grants[entry] * ROW_WORDS
        for rate in range(2):
            change = tokens - grants[at + WANTED_OF_RATES] if rate else int(used) - 1
            limit = rows[row + REQUESTS_PER_MINUTE + rate]
            move_rate(rows, row + REQUESTS_DUE + rate, limit, change, grants[entry + 1 + rate], now)
    return 0


@kernel("int64(int64[::1], int64[::1], int64[::1], int64, int64)")
def budgets_left(rows: Words, slots: Words, grants: Words, at: int, workers: int) -> int:
    """Tells what the budgets of a grant's rows leave, of the tightest; changes nothing else.

    Returns:
        0, or 1 + NO_ROW where one of the rows is nobody's.
    """
    spent = spent_first(len(rows) // ROW_WORDS)
    grants[at + LEFT_MONEY] = grants[at + LEFT_TOKENS] = UNLIMITED
    for one in range(grants[at + COUNT]):
        number = grants[at + FIRST + one * EACH]
        row = number * ROW_WORDS
        if number < 0 or row >= len(rows) or load(rows, row + OWNER) == 0:
            refused(grants, at, number, 0, 0, 0)
            return 1 + NO_ROW
        held = HELD_FIRST + number * HELD_WORDS
        for unit in range(2):
            first = row + CEILINGS + unit * WINDOWS
            ceiling = min(rows[first], rows[first + 1], rows[first + 2])
            if ceiling < UNLIMITED:
                settled = spent + number * SPENT_WORDS + unit
                free = max(ceiling - summed(slots, workers, held + unit, settled), 0)
                told = at + LEFT_MONEY + unit
                grants[told] = min(grants[told], free)
    return 0


@kernel("int64(int64[::1], int64[::1], int64, int64)")
def rates_left(rows: Words, grants: Words, at: int, now: int) -> int:
    """Tells how the rates of a grant's rows stand, which are there, of the tightest."""
    for rate in range(2):
        told = at + REQUESTS_LIMIT + rate * (TOKENS_LIMIT - REQUESTS_LIMIT)
        grants[told] = grants[told + 1] = UNLIMITED
        grants[told + 2] = 0
        for one in range(grants[at + COUNT]):
            row = grants[at + FIRST + one * EACH] * ROW_WORDS
            limit = rows[row + REQUESTS_PER_MINUTE + rate]
            if limit < UNLIMITED:
                free = rate_left(rows, row, rate, now, 0)
                if free < grants[told + 1]:
                    grants[told] = limit
                    grants[told + 1] = free
                    grants[told + 2] = rate_left(rows, row, rate, now, 1)
    return 0


@kernel("int64(int64, int64)")
def times(amount: int, each: int) -> int:
    """So much of each, both >= 0; MOST where it were more."""
    if amount > 0 and each > MOST // amount:
        return MOST
    return amount * each


@kernel("int64(int64[::1], int64, int64)")
def dearest(tariff: Words, read: int, written: int) -> int:
    """What so many tokens cost at the dearest of a tariff's prices."""
    most = 0
    at = 1
    while at < len(tariff):
        for step in range(tariff[at + STEPS]):
            place = at + FIRST_STEP + step * STEP_WORDS
            if read > tariff[place]:
                tokens = times(read, tariff[place + 1]) + times(written, tariff[place + 2])
                most = max(most, tariff[at + FEE] + tokens)
                break
        at += FIRST_STEP + tariff[at + STEPS] * STEP_WORDS
    return min(most, MOST)


@kernel("int64(int64[::1], int64, int64, int64, int64)")
def affordable(tariff: Words, money: int, read: int, choices: int, most: int) -> int:
    """How many tokens so much money pays for, at every price; below 0: it pays not for the prompt.

    Args:
        tariff: the prices.
        money: that is left.
        read: tokens of the prompt.
        choices: how many answers are written, each of so many tokens.
        most: what is told of more than that.
    """
    found = most
    at = 1
    while at < len(tariff):
        for step in range(tariff[at + STEPS]):
            place = at + FIRST_STEP + step * STEP_WORDS
            if read > tariff[place]:
                left = money - tariff[at + FEE] - times(read, tariff[place + 1])
                each = times(choices, tariff[place + 2])
                if left < 0:
                    found = -1
                elif each > 0:
                    found = min(found, left // each)
                break
        at += FIRST_STEP + tariff[at + STEPS] * STEP_WORDS
    return found


@kernel("int64(int64[::1], int64, int64[::1], int64, int64, int64, int64)")
def output_share(
    grants: Words, at: int, tariff: Words, read: int, estimated: int, most: int, choices: int
) -> int:
    """How many tokens of output to reserve for each answer to a request that names no maximum.

    The rule: what the model can write at most, where a quarter of what is left covers that; else a
    quarter of what is left, but 256 tokens where what is left covers these, and else all of it.

    Args:
        grants: the grant at `at` says what is left.
        at: its first word.
        tariff: what tokens cost.
        read: tokens of the prompt, at most, as budgets take it.
        estimated: the same, as rates take it.
        most: that the model can write.
        choices: answers.

    Returns:
        At least 1, so that a request which nothing is left for is refused when it reserves.
    """
    covered = most * SHARE
    if grants[at + LEFT_MONEY] < UNLIMITED:
        covered = affordable(tariff, grants[at + LEFT_MONEY], read, choices, covered)
    if grants[at + LEFT_TOKENS] < UNLIMITED:
        covered = min(covered, (grants[at + LEFT_TOKENS] - read) // choices)
    if grants[at + TOKENS_LIMIT] < UNLIMITED:
        covered = min(covered, (grants[at + TOKENS_LEFT] - estimated) // choices)
    share = most if covered == most * SHARE else max(covered // SHARE, min(covered, LEAST_OUTPUT))
    return max(1, min(most, share))


@kernel(
    "int64(int64[::1], int64[::1], int64[::1], int64, int64, int64, int64,"
    " int64[::1], int64, int64, int64, int64, int64)"
)
def cover(
    rows: Words,
    slots: Words,
    grants: Words,
    at: int,
    workers: int,
    me: int,
    now: int,
    tariff: Words,
    read: int,
    estimated: int,
    asked: int,
    most: int,
    choices: int,
) -> int:
    """Works out what a request takes at most, and reserves that.

    Most keys have no budget, nor a limit of tokens: nothing is worked out for them.

    Args:
        rows: the table.
        slots: of all processes.
        grants: of this process. COUNT and the rows' numbers are set; what is wanted is written
            there, what an answer must be held to, and what is left.
        at: the first word of the grant.
        workers: how many slots there are.
        me: the slot of this process.
        now: monotonic ns.
        tariff: what tokens cost, pico-dollars.
        read: tokens of the prompt, at most, as budgets take it.
        estimated: the same, as rates take it.
        asked: tokens of output for each answer, at most; -1: the request does not say.
        most: that the model can write.
        choices: answers, 1 at least.

    Returns:
        UNPRICED, or what `reserve` does.
    """
    grants[at + WANTED_MONEY] = grants[at + WANTED_TOKENS] = grants[at + WANTED_OF_RATES] = 0
    grants[at + OUTPUT] = -1
    grants[at + REQUESTS_LIMIT] = grants[at + TOKENS_LIMIT] = UNLIMITED
    code = budgets_left(rows, slots, grants, at, workers)
    if code != 0:
        return code
    rates_left(rows, grants, at, now)
    money, tokens = grants[at + LEFT_MONEY], grants[at + LEFT_TOKENS]
    if money < UNLIMITED and tariff[0] != 0:
        return UNPRICED
    if money < UNLIMITED or tokens < UNLIMITED or grants[at + TOKENS_LIMIT] < UNLIMITED:
        output = asked
        if asked < 0:
            output = output_share(grants, at, tariff, read, estimated, most, choices)
            grants[at + OUTPUT] = output
        written = times(output, choices)
        # A budget of tokens is never passed; a limit per minute may be, by a guess.
        grants[at + WANTED_OF_RATES] = min(written + estimated, MOST)
        grants[at + WANTED_TOKENS] = min(
            written + (estimated if tokens == UNLIMITED else read), MOST
        )
        grants[at + WANTED_MONEY] = dearest(tariff, read, written)
    code = reserve(rows, slots, grants, at, workers, me, now)
    if code == GRANTED:
        rates_left(rows, grants, at, now)
    return code
