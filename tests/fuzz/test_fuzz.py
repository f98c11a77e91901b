"""The fuzz target runs, finds nothing in a moment, and reaches both ends of the codec."""

from __future__ import annotations

from tests.fuzz.fuzz_oip import fuzz


def test_a_moment_of_fuzzing_finds_nothing():
    counts = fuzz(seed=1, attempts=1500)
    assert counts["read"] > 0
    assert {"MalformedJson", "InvalidTensor", "InvalidBinary"} <= set(counts)
