"""Long strings of JSON are found and checked, whatever the text is."""

from __future__ import annotations

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import quoted
from tests.reference import long_strings

FRAGMENTS = (
    *(b'"', b'"', b"\\", b"{", b":", b",", b"[", b" ", b"\n", b"\x00", b"\x1f", b"\x7f", b"u"),
    *(b"\\n", b'\\"', b"\\\\", b"\\/", b"\\u00e9", b"\\ud83d\\ude00", b"\\uD83D\\uDE00"),
    *(b"\\ud800", b"\\udc00", b"\\ud800\\u0041", b"\\q", b"\\u12g4", b"\\u", b"\\u00"),
    *("é".encode(), "水".encode(), "😀".encode(), "\u07ff\u0800\uffff".encode()),
    *(b"\xc0\x80", b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xed\xa0\x80", b"\xf0\x8f\xbf\xbf"),
    *(b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xe6\xb0", b"\xf0\x9f\x98", b"\x80", b"\xff"),
    *(b"words ", b"a" * 61, b"b" * 64, b"c" * 200, b"\\n\\n" * 40, "水車".encode() * 30),
)
fragments = st.lists(st.sampled_from(FRAGMENTS), max_size=12).map(b"".join)
# Mostly strings, so that not every text ends in the first of them.
texts = st.lists(
    st.one_of(fragments.map(lambda one: b'"%b"' % one), st.sampled_from([b",", b":", b" :", b"["])),
    max_size=8,
).map(b"".join)


def read(text: bytes, least: int = 8, most_other: int = 10**6, most: int = 32):
    """The rows that are found, or why none are."""
    found = np.zeros((most, quoted.COLUMNS), np.int64)
    count = quoted.long_strings(text, least, most_other, found)
    return count if count < 0 else [tuple(row) for row in found[:count].tolist()]


@given(st.one_of(texts, fragments), st.integers(1, 100))
def test_strings_are_found_as_a_parser_of_each_finds_them(text, least):
    found = read(b"[ " + text, least)
    if found != quoted.DENSE:
        expected = long_strings(b"[ " + text, least)
        assert found == (quoted.FAULTY if expected is None else expected)


@given(st.text(min_size=1), st.integers(0, 130), st.booleans())
def test_a_string_is_as_long_as_what_it_stands_for_wherever_it_stands(text, before, escaped):
    value = orjson.dumps(text)
    if escaped:
        value = b'"%b"' % b"".join(b"\\u%04x" % unit for unit in _units(text))
    found = read(b"[" + b" " * (before + 2) + value + b"]", least=1)
    if found != quoted.DENSE:
        start = before + 4
        assert found == [(start, start + len(value) - 2, len(text))]


def _units(text: str) -> list[int]:
    return np.frombuffer(text.encode("utf-16-le"), "<u2").tolist()


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_string_without_an_end_is_none(cut):
    whole = b'[ "' + b"x" * 70 + b'\\ud83d\\ude00"'
    assert read(whole[:-cut]) == quoted.FAULTY


@pytest.mark.parametrize("colon", [b":", b" :", b"\n\t:"])
def test_a_long_name_of_a_field_is_not_told(colon):
    text = b'{ "%b"%b"%b"}' % (b"n" * 100, colon, b"v" * 100)
    ((start, end, chars),) = read(text)
    assert (text[start:end], chars) == (b"v" * 100, 100)


def test_a_text_with_much_outside_of_long_strings_has_none():
    text = b"[ 1, 2, 3, " + b'"%b"' % (b"x" * 100) + b"]"
    assert read(text, most_other=14) == [(12, 112, 100)]
    assert read(text, most_other=13) == []
    assert read(b"[" + b'"abc",' * 1000 + text[1:], least=50, most_other=100) == []


def test_no_more_are_looked_for_than_find_room():
    text = b"[ " + b",".join([b'"%b"' % (b"x" * 100)] * 3) + b"]"
    assert read(text, most=2) == [(3, 103, 100), (106, 206, 100)]
    assert read(text, most=2, most_other=100) == []


@pytest.mark.parametrize("unit", [b"\\u00e9", b"\\\\n"])
def test_a_string_that_is_mostly_escapes_is_left_to_others(unit):
    assert read(b'[ "' + unit * 500 + b'"]') == quoted.DENSE
