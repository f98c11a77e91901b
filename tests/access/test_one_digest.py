"""What a refusal costs tells nothing of the key: one digest for every kind, and the same time.

Both ports ask the same keyring, behind their own door: the guard of a worker, the callers of the
control port. Either is asked here in process, where a microsecond can be seen.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import pytest

from gateway.access import keys
from gateway.access.certificates import CertificateRing
from gateway.access.credentials import Credentials
from gateway.access.keyring import Keyring
from gateway.access.keys import MAX_KEY_BYTES, digest, new_key
from gateway.control.callers import Known
from gateway.errors import Unauthenticated
from gateway.wire.guard import Guard
from gateway.wire.head import Head

SECRET = b"s" * 32
NOW = 1000.0
GOOD, EXPIRED, REVOKED = new_key(), new_key(), new_key()
WRONG = GOOD[:-1] + ("a" if GOOD[-1] != "a" else "b")
UNKNOWN = {
    "unknown": "psk_" + "x" * 32,
    "wrong at the end": WRONG,
    "wrong at the start": "psk_" + ("a" if GOOD[4] != "a" else "b") + GOOD[5:],
    "revoked": REVOKED,
}
"""Of one length, which is no secret."""
Find = Callable[[str], object]


def ring() -> Keyring:
    made = Keyring(SECRET, clock=lambda: NOW)
    rows = {digest(SECRET, k.encode()): [n, "ann", "client", None, None] for n, k in _known()}
    made.replace(rows | {digest(SECRET, EXPIRED.encode()): [9, "old", "client", None, NOW - 1]})
    made.change({}, [digest(SECRET, REVOKED.encode())])
    return made


def _known() -> Iterator[tuple[int, str]]:
    yield 1, GOOD
    yield 2, REVOKED
    yield from ((number, new_key()) for number in range(10, 1000))


def through_the_guard() -> Find:
    guard = Guard(Credentials(ring(), CertificateRing()), lambda *_: memoryview(bytearray(8)))
    return lambda key: guard.principal(Head(b"POST", b"/", b"", _headers(key)))


def through_the_control_port() -> Find:
    known = Known(
        True, Credentials(ring(), CertificateRing()), SECRET, lambda _: None, lambda _: None
    )
    return lambda key: known.find({"headers": _headers(key)})


def _headers(key: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"localhost"), (b"authorization", b"Bearer " + key.encode())]


DOORS = pytest.mark.parametrize(
    "door", [through_the_guard, through_the_control_port], ids=["data", "control"]
)


@contextmanager
def counted() -> Iterator[list[int]]:
    """How often a digest is made in the block, seen from outside."""
    calls = [0]

    def see(frame: FrameType, event: str, _: Any) -> None:
        calls[0] += event == "call" and frame.f_code is keys.digest.__code__

    sys.setprofile(see)
    try:
        yield calls
    finally:
        sys.setprofile(None)


@DOORS
def test_every_key_costs_one_digest_whatever_is_wrong_with_it(door):
    find = door()
    for key in [*UNKNOWN.values(), EXPIRED, GOOD[:-1], GOOD + "x"]:
        with counted() as digests, pytest.raises(Unauthenticated):
            find(key)
        assert digests == [1], key
    for _ in range(2):  # known for the first time, and remembered
        with counted() as digests:
            find(GOOD)
        assert digests == [1]


@DOORS
def test_what_is_too_long_for_a_key_costs_none(door):
    find = door()
    for size in (MAX_KEY_BYTES + 1, 4000, 20_000):
        with counted() as digests, pytest.raises(Unauthenticated):
            find("k" * size)
        assert digests == [0]


# ---- time ---------------------------------------------------------------------------------------

ROUNDS, CALLS = 400, 10
# Of the few microseconds that a refusal takes: far below what a digest more or less is.
TOLERANCE = 0.05
TRIES = 5


def taken(find: Find, kinds: dict[str, str]) -> dict[str, float]:
    """Seconds that a refusal takes, by kind; measured in turns, so that all meet the same noise."""
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    order = list(kinds)
    for number in range(ROUNDS):
        first = number % len(order)
        for kind in order[first:] + order[:first]:  # nobody always follows the same one
            key = kinds[kind]
            start = time.perf_counter()
            for _ in range(CALLS):
                with suppress(Unauthenticated):
                    find(key)
            times[kind].append((time.perf_counter() - start) / CALLS)
    # What is slower than the quickest quarter was interrupted by somebody else.
    return {kind: statistics.median(sorted(each)[: ROUNDS // 4]) for kind, each in times.items()}


@pytest.mark.quiet
@DOORS
def test_a_wrong_key_takes_no_other_time_than_an_unknown_one(door):
    find = door()
    # The same once more, under another name: what two of the same kind differ by is noise.
    kinds = {**UNKNOWN, "unknown again": UNKNOWN["unknown"]}
    spreads = []
    for _ in range(TRIES):
        times = taken(find, kinds)
        noise = abs(times["unknown again"] / times["unknown"] - 1)
        apart = max(abs(times[kind] / times["unknown"] - 1) for kind in UNKNOWN)
        spreads.append((apart, noise))
        if apart <= TOLERANCE:
            return
    pytest.fail(f"kinds differ by, and a kind from itself: {spreads}")


@pytest.mark.quiet
@DOORS
def test_a_refusal_takes_little_more_than_its_digest(door):
    """A refusal that waits, or computes beside its digest, is seen whatever kind it is for."""
    find, key = door(), UNKNOWN["unknown"]

    def digests(_: str) -> None:
        digest(SECRET, key.encode())

    refusal, alone = taken(find, {"": key})[""], taken(digests, {"": key})[""]
    assert refusal < 3 * alone
