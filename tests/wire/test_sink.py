"""Lines go out whole and in order, or are dropped and counted; nobody waits."""

from __future__ import annotations

import fcntl
import os
import select
import socket

import pytest

from gateway.wire.sink import Sink

LINE = b"x" * 99 + b"\n"


class Pipe:
    """A small pipe whose reading end is ours."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, 8192)

    def read(self) -> bytes:
        os.set_blocking(self.reading, False)
        found = b""
        while select.select([self.reading], [], [], 0)[0]:
            piece = os.read(self.reading, 65_536)
            if not piece:
                break
            found += piece
        return found

    def close(self) -> None:
        for fd in (self.reading, self.writing):
            os.close(fd)


@pytest.fixture
def pipe():
    made = Pipe()
    yield made
    made.close()


class Counted:
    """A sink, and what it dropped."""

    def __init__(self, path=None, stream: int = 2) -> None:
        self.lines = 0
        self.sink = Sink(path, self._count, stream)

    def _count(self, lines: int) -> None:
        self.lines += lines


@pytest.fixture
def counted():
    made: list[Counted] = []

    def make(path=None, stream: int = 2) -> Counted:
        made.append(Counted(path, stream))
        made[-1].sink.open()
        return made[-1]

    yield make
    for one in made:
        one.sink.close()


def test_lines_are_appended_to_a_file(counted, tmp_path):
    file = tmp_path / "access.log"
    file.write_bytes(b"before\n")
    counted(file).sink.write([b"one\n", b"two\n"])
    assert file.read_bytes() == b"before\none\ntwo\n"


def test_a_new_file_is_not_for_everybody(counted, tmp_path):
    counted(tmp_path / "access.log")
    assert (tmp_path / "access.log").stat().st_mode & 0o007 == 0


def test_a_file_that_was_moved_away_is_begun_anew_when_opened_again(counted, tmp_path):
    file = tmp_path / "access.log"
    one = counted(file)
    one.sink.write([b"old\n"])
    file.rename(tmp_path / "access.log.1")
    one.sink.write([b"still old\n"])
    one.sink.open()
    one.sink.write([b"new\n"])
    assert (tmp_path / "access.log.1").read_bytes() == b"old\nstill old\n"
    assert file.read_bytes() == b"new\n"


def test_where_it_cannot_be_opened_again_the_old_one_goes_on(counted, tmp_path):
    file = tmp_path / "access.log"
    one = counted(file)
    file.rename(tmp_path / "access.log.1")
    file.mkdir()
    with pytest.raises(IsADirectoryError):
        one.sink.open()
    one.sink.write([b"on\n"])
    assert (tmp_path / "access.log.1").read_bytes() == b"on\n"


def test_a_full_disk_drops_and_counts(counted):
    one = counted("/dev/full")
    one.sink.write([LINE, LINE])
    assert one.lines == 2


def test_nothing_open_drops_and_counts():
    one = Counted()
    one.sink.write([LINE])
    assert one.lines == 1


def test_a_full_pipe_drops_whole_lines_and_counts_them(counted, pipe):
    one = counted(stream=pipe.writing)
    for _ in range(3):
        one.sink.write([LINE] * 50)
    got = pipe.read()
    assert got == LINE * (len(got) // len(LINE))
    assert len(got) // len(LINE) + one.lines == 150
    assert one.lines > 0
    one.sink.write([b"again\n"])
    assert pipe.read() == b"again\n"


def test_others_writing_to_the_same_pipe_may_still_wait(counted, pipe):
    counted(stream=pipe.writing)
    assert os.get_blocking(pipe.writing)


def test_a_pipe_nobody_reads_drops_and_counts(counted):
    reading, writing = os.pipe()
    one = counted(stream=writing)
    os.close(reading)
    one.sink.write([LINE])
    os.close(writing)
    assert one.lines == 1


def test_a_full_socket_is_not_waited_for(counted):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        one = counted(stream=theirs.fileno())
        theirs.setblocking(False)
        for _ in range(20_000):
            one.sink.write([LINE])
            if one.lines:
                break
        assert one.lines == 1


def test_after_half_a_line_the_next_begins_on_one_of_its_own(counted):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        one = counted(stream=theirs.fileno())
        long = b"y" * 4_000_000 + b"\n"
        one.sink.write([long])
        ours.settimeout(10)
        got = b""
        while select.select([ours], [], [], 0.1)[0]:
            got += ours.recv(1 << 20)
        one.sink.write([LINE])
        assert (one.lines, set(got)) == (1, {ord("y")})
        assert ours.recv(1 << 20) == b"\n" + LINE


def test_lines_of_several_writers_do_not_mix(counted, pipe):
    # More than one piece of a pipe each: if pieces were not whole lines, they would be torn here.
    first, second = counted(stream=pipe.writing), counted(stream=pipe.writing)
    first.sink.write([b"a" * 60 + b"\n"] * 50)
    second.sink.write([b"b" * 70 + b"\n"] * 50)
    assert set(pipe.read().splitlines()) == {b"a" * 60, b"b" * 70}
