"""What a process leaves is whole, or is what was left before."""

from __future__ import annotations

import os

import pytest

from gateway import processes
from gateway.keepsake import Keepsake


@pytest.fixture
def keepsake():
    kept = Keepsake()
    yield kept
    kept.close()


def test_what_was_written_last_is_what_is_found(keepsake):
    assert keepsake.read() is None
    for data in (b"one", b"", b"three" * 100_000, b"four"):
        keepsake.write(data)
        assert keepsake.read() == data


def test_a_child_finds_what_another_child_left(keepsake):
    def leave() -> int:
        keepsake.write(b"left")
        return 0

    os.waitpid(processes.fork(leave), 0)
    assert keepsake.read() == b"left"


@pytest.mark.parametrize("cut", [0, 3, 20, 50])
def test_a_writing_that_was_cut_short_leaves_what_was_there_before(keepsake, cut):
    keepsake.write(b"before")
    keepsake.write(b"a longer text that comes after it")
    for fd in keepsake.fds:
        if b"longer" in os.pread(fd, 1000, 0):
            os.ftruncate(fd, cut)
    assert keepsake.read() == b"before"
