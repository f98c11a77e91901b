"""Which word of an arena slot counts what.

Knows names and places, as plain ints so that hot code says `slot[OK] += n`. Knows nothing of where
blocks lie or who writes them.

A slot is a row of int64 words that one worker writes. Words only grow, but for gauges, which stand
together so that they can be zeroed when a worker is gone. Changing this file changes `VERSION`: a
process that maps an arena of another version refuses it.
"""

from __future__ import annotations

from typing import Final

from gateway.errors import CODES, GatewayError
from gateway.profiles.live import SKIPPED_WORD
from kernels import answers, budgets, contracts, generations, ring, timing

VERSION: Final = 14

# -- kinds of block --------------------------------------------------------------------------------
MODEL: Final = 1
WORKER: Final = 2
KEYS: Final = 3
SKETCH: Final = 4
FIRST_ROWS: Final = 5
CONTRACT: Final = 6
LEDGER: Final = 7
CAPTURE: Final = 8
PAIRS: Final = 9
LIMITS: Final = 10
LIMIT_ROWS: Final = 11
UPSTREAM: Final = 12

# -- MODEL: one loaded version of a model ----------------------------------------------------------
# Requests by result, each counted once, before its answer is written.
OK: Final = 0
FAILED: Final = 1  # the model or the gateway was at fault: 5xx that trying again does not help
REFUSED: Final = 2  # answered with any other error
LEFT: Final = 3  # the client was gone before its answer was written
ROWS: Final = 4  # of the requests that went well
EXECUTIONS: Final = 5
EXECUTED_ROWS: Final = 6
RERUNS: Final = 7  # riders of a failed batch that were run once more, alone
LOADS: Final = 8
FAIL_NS: Final = 9  # what failed and refused requests took
FAIL_TIMED: Final = 10  # how many of them FAIL_NS covers
PRUNED_RUNS: Final = 11  # executions that computed only the outputs asked for
PRUNED_BUILT: Final = 12  # sessions built for them
PRUNED_REFUSED: Final = 13  # sessions that could not be built
NAMED: Final = 14  # requests by paths that name the version, where no key is asked for
NON_FINITE: Final = 15  # of EXECUTED_ROWS those of which an output holds NaN or infinity

RELEASED: Final = 16  # batches by why they were launched
RELEASE_REASONS: Final = ("full", "preferred", "delay", "idle", "drain")

ERRORS: Final = 24  # by index in errors.CODES
MAX_CODES: Final = 64

MODEL_GAUGES: Final = ERRORS + MAX_CODES
QUEUED_ROWS: Final = MODEL_GAUGES
QUEUED_REQUESTS: Final = MODEL_GAUGES + 1
IN_FLIGHT: Final = MODEL_GAUGES + 2  # requests from their last byte to their answer
LOADED: Final = MODEL_GAUGES + 3  # deployments of it that are not closed: new beside old
LOAD_NS: Final = MODEL_GAUGES + 4  # what its latest load took, warm-up included
MODEL_GAUGES_END: Final = MODEL_GAUGES + 8

TIMING: Final = 96  # a section of kernels.timing, written by one kernel call per batch
MODEL_WORDS: Final = TIMING + timing.WORDS

# -- WORKER: what is no model's --------------------------------------------------------------------
ACCEPTED: Final = 0
CLOSED: Final = 1
HANDED_OVER: Final = 2  # connections given to another worker
ADOPTED: Final = 3  # connections taken from another worker
REFUSED_CONNECTIONS: Final = 4
CLIENTS_LEFT: Final = 5  # before their request was answered, its body still on its way included
PAUSES: Final = 6  # times that the worker stopped reading because its loop was late
MAILBOX_SENT: Final = 7
MAILBOX_DROPPED: Final = 8
FAILED_HANDSHAKES: Final = 9  # connections that ended before TLS was agreed upon
CUT: Final = 10  # connections ended without a word, by why
CUT_REASONS: Final = ("write_timeout", "header_timeout", "drain", "displaced")
ACCESS_DROPPED: Final = 14  # records of the access log that found no room
TRACES_DROPPED: Final = 15  # traced requests that found no room on their way to control

STATUS: Final = 16  # answers to requests that went to the ASGI side, 1xx to 5xx
STATUS_CLASSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx")

HTTP_ERRORS: Final = 24  # refused before any model was known, by index in errors.CODES

WORKER_GAUGES: Final = HTTP_ERRORS + MAX_CODES
OPEN_CONNECTIONS: Final = WORKER_GAUGES
LOOP_LAG_NS: Final = WORKER_GAUGES + 1
MAX_LOOP_LAG_NS: Final = WORKER_GAUGES + 2  # since the worker was born
READING_PAUSED: Final = WORKER_GAUGES + 3
BUFFERED_BYTES: Final = WORKER_GAUGES + 4
WORKER_GAUGES_END: Final = WORKER_GAUGES + 16
WORKER_WORDS: Final = WORKER_GAUGES_END

# -- KEYS: requests by key and version; each worker names its entries itself -----------------------
KEY_SERIES: Final = 0  # how many entries of the first table were ever in use
KEY_OWN: Final = 1  # how many of the second
KEY_OTHER: Final = 4  # an entry without a name: what finds no room
KEY_FIRST: Final = 8
# Words of an entry: number of the key, hash of the version (second table: 0), requests, and when
# the last of them was seen, milliseconds since 1970.
KEY_WIDTH: Final = 4
MAX_KEY_SERIES: Final = 4096  # first table, told one by one
# Second table: keys whose requests found no room in the first, told together; more than there are
# to be, so that it is known of each key when it was used.
MAX_KEYS: Final = 131_072
KEY_OWN_FIRST: Final = KEY_FIRST + KEY_WIDTH * MAX_KEY_SERIES
KEYS_WORDS: Final = KEY_OWN_FIRST + KEY_WIDTH * MAX_KEYS
KEY_NOBODY: Final = -(1 << 63)  # in place of a number: the entry is free

# -- SKETCH: values of one version by the bins of one profile --------------------------------------
# All but these two words is kernels.columns'; how many there are, the profile says.
SKETCH_SKIPPED: Final = SKIPPED_WORD  # rows that were not counted, or not wholly
SKETCH_GAUGES: Final = 5
SKETCH_HELD: Final = SKETCH_GAUGES  # 1 while this worker counts here
SKETCH_GAUGES_END: Final = SKETCH_GAUGES + 1

COMMON: Final = "common"
"""In place of a slice: all rows, by another version's profile, so that the two compare."""

# -- FIRST_ROWS: what a version without a profile was asked first, until one is made of it ---------
# All but the two words that a sketch has, too, is profiles.first_rows'.

# -- LEDGER: a record for each row that was answered, until control has drained it -----------------
# All but these words and the two that a sketch has, too, is kernels.ring's. One for all models.
LEDGER_BLOCK: Final = "ledger"
LEDGER_UNSAMPLED: Final = 2  # rows of requests that are no part of the share that is written down
# Of one worker: what a full one answers in three seconds, and control looks every second.
LEDGER_RECORDS: Final = 131_072
LEDGER_WORDS: Final = ring.words_for(LEDGER_RECORDS)

# -- CAPTURE: inputs and outputs of one version, until control has taken them ----------------------
# All but the two words that a sketch has, too, is capture.ring's.

# -- CONTRACT: what the inputs of one version break of its contract --------------------------------
# It has the two words that a sketch has; rows that could not be examined count as skipped.
CONTRACT_ROWS: Final = 0  # that were examined
CONTRACT_FIRST: Final = 8  # from here on a word for each column and rule
CONTRACT_RULES: Final = contracts.RULES

# -- PAIRS: what one version answered, held against what its shadow says -----------------------
# All but the two words that a sketch has, too, is kernels.pairs', then kernels.answers'.

# -- LIMITS: what each worker has reserved and settled of each limited thing -----------------------
# All of it is kernels.budgets'. LIMIT_ROWS is the table of these things: it has no slots, but lies
# in the room of all of them, and control writes it.
LIMITS_BLOCK: Final = "limits"
# Keys, teams, tags and upstreams, and those that left while something of theirs was under way.
MAX_LIMITED: Final = 131_072
LIMITS_WORDS: Final = budgets.HELD_FIRST + (
    MAX_LIMITED * (budgets.HELD_WORDS + budgets.SPENT_WORDS) + budgets.JOURNAL_WORDS
)

# -- UPSTREAM: what one version of a language model had from one upstream --------------------------
# Requests that were sent there, repeated ones included.
SENT: Final = 0
SENT_FAILED: Final = 1
SENT_LIMITED: Final = 2  # it took no more for then
UPSTREAM_GAUGES: Final = 8
UPSTREAM_HELD: Final = 8  # 1 while this worker asks it
BREAKER: Final = 9  # by index in BREAKERS
BREAKER_MS: Final = 10  # until it may be asked again
UPSTREAM_IN_FLIGHT: Final = 11
FIRST_BYTE_NS: Final = 12  # how long its answers take to begin, slow ones weighing more; 0: unknown
UPSTREAM_OPEN: Final = 13  # connections to its provider, those of other upstreams there included
UPSTREAM_IDLE: Final = 14
TROUBLE: Final = 16  # what it lacks, or what its last failure was, as text
TROUBLE_WORDS: Final = 16
UPSTREAM_GAUGES_END: Final = TROUBLE + TROUBLE_WORDS
GENERATIONS: Final = UPSTREAM_GAUGES_END  # then a section of kernels.generations for each of these
OPERATIONS: Final = ("chat", "text_completion", "embeddings")
UPSTREAM_WORDS: Final = GENERATIONS + len(OPERATIONS) * generations.WORDS

# -- all -----------------------------------------------------------------------------------------
WORDS: Final = {
    MODEL: MODEL_WORDS,
    WORKER: WORKER_WORDS,
    KEYS: KEYS_WORDS,
    LEDGER: LEDGER_WORDS,
    PAIRS: answers.WORDS,
    LIMITS: LIMITS_WORDS,
    UPSTREAM: UPSTREAM_WORDS,
}
GAUGES: Final = {
    MODEL: (MODEL_GAUGES, MODEL_GAUGES_END),
    WORKER: (WORKER_GAUGES, WORKER_GAUGES_END),
    SKETCH: (SKETCH_GAUGES, SKETCH_GAUGES_END),
    FIRST_ROWS: (SKETCH_GAUGES, SKETCH_GAUGES_END),
    LEDGER: (SKETCH_GAUGES, SKETCH_GAUGES_END),
    CONTRACT: (SKETCH_GAUGES, SKETCH_GAUGES_END),
    CAPTURE: (SKETCH_GAUGES, SKETCH_GAUGES_END),
    PAIRS: (SKETCH_GAUGES, SKETCH_GAUGES_END),
    UPSTREAM: (UPSTREAM_GAUGES, UPSTREAM_GAUGES_END),
    # A page of its own, and rows of which most were never touched.
    LIMITS: (0, budgets.HELD_FIRST + budgets.HELD_WORDS * MAX_LIMITED),
}

CODE_PLACE: Final = {code: place for place, code in enumerate(CODES)}
REASON_PLACE: Final = {reason: RELEASED + place for place, reason in enumerate(RELEASE_REASONS)}

if len(CODES) > MAX_CODES:
    raise GatewayError(f"arena layout: expected at most {MAX_CODES} error codes, got {len(CODES)}")


def model_key(name: str, version: int) -> str:
    """The name of a model's block. `model_of` is its inverse, whatever the name holds."""
    return f"{name}/{version}"


def model_of(key: str) -> tuple[str, str]:
    """Name and version of a model from the name of its block."""
    name, _, version = key.rpartition("/")
    return name, version


def sketch_key(name: str, version: int, digest: str, variant: str = "", part: str = "all") -> str:
    """The name of a block of counts. `sketch_of` is its inverse.

    Args:
        name: of the model.
        version: of the model.
        digest: of the profile whose bins they are.
        variant: of a route; empty where there is none.
        part: the slice of the traffic.
    """
    return f"{name}/{version}/{variant}/{part}/{digest}"


def sketch_of(key: str) -> tuple[str, int, str, str, str]:
    """Name, version, variant, slice and digest from the name of a block of counts."""
    name, version, variant, part, digest = key.rsplit("/", 4)
    return name, int(version), variant, part, digest


def contract_key(name: str, version: int, columns: str) -> str:
    """The name of a block of breaches.

    Args:
        name: of the model.
        version: of the model.
        columns: tells contracts of other columns apart; one whose bounds change counts on.
    """
    return f"{name}/{version}/{columns}"


def capture_key(name: str, version: int, digest: str) -> str:
    """The name of a ring of inputs and outputs. `capture_of` is its inverse.

    Args:
        name: of the model.
        version: of the model.
        digest: of what is kept of them.
    """
    return f"{name}/{version}/{digest}"


def capture_of(key: str) -> tuple[str, int, str]:
    """Name, version and digest from the name of a ring of inputs and outputs."""
    name, version, digest = key.rsplit("/", 2)
    return name, int(version), digest


def pairs_key(name: str, answered: int, shadow: int) -> str:
    """The name of a block of pairs. `pairs_of` is its inverse.

    Args:
        name: of the model.
        answered: the version that did.
        shadow: the version whose answers nobody got.
    """
    return f"{name}/{answered}/{shadow}"


def pairs_of(key: str) -> tuple[str, int, int]:
    """Name and both versions from the name of a block of pairs."""
    name, answered, shadow = key.rsplit("/", 2)
    return name, int(answered), int(shadow)


def first_rows_key(name: str, version: int, content: str, resets: int) -> str:
    """The name of a block of first rows.

    Args:
        name: of the model.
        version: of the model.
        content: digest of the model's files.
        resets: how often a reference made of such rows was forgotten: each time others are taken.
    """
    return f"{name}/{version}/{content}/{resets}"


def resets_of(key: str) -> int:
    """The resets from the name of a block of first rows."""
    return int(key.rpartition("/")[2])
