"""The progress bar."""

from __future__ import annotations

import io

import pytest

from gateway.cli.progress import Bar, size


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time


def test_nothing_is_drawn_within_the_first_second():
    stream, clock = Terminal(), Clock()
    with Bar("copying", stream, clock) as bar:
        bar(1, 2)
        clock.time += 0.9
        bar(2, 2)
    assert stream.getvalue() == ""


def test_after_a_second_the_bar_grows_and_leaves_an_empty_line():
    stream, clock = Terminal(), Clock()
    with Bar("copying", stream, clock) as bar:
        clock.time += 1.1
        bar(500, 2000)
        bar(600, 2000)  # too soon to be drawn
        clock.time += 0.1
        bar(2000, 2000)
    first, second, last = stream.getvalue().split("\r\x1b[K")[1:]
    assert first == "copying [#######.......................]  25% 500 B of 2.0 kB"
    assert second == f"copying [{'#' * 30}] 100% 2.0 kB of 2.0 kB"
    assert last == ""


def test_an_amount_may_be_no_bytes():
    stream, clock = Terminal(), Clock()
    with Bar("compiling", stream, clock, told=str) as bar:
        clock.time += 2
        bar(3, 4)
    assert "75% 3 of 4" in stream.getvalue()


def test_an_empty_file_is_done():
    stream, clock = Terminal(), Clock()
    with Bar("copying", stream, clock) as bar:
        clock.time += 2
        bar(0, 0)
    assert "100%" in stream.getvalue()


def test_a_stream_that_nobody_watches_stays_empty():
    stream, clock = io.StringIO(), Clock()
    with Bar("copying", stream, clock) as bar:
        clock.time += 9
        bar(1, 2)
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (54217, "54.2 kB"),
        (3e9, "3.0 GB"),
        (5e15, "5000.0 TB"),
    ],
)
def test_sizes_for_people(count, words):
    assert size(count) == words
