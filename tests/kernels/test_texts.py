"""What one pass over a text tells of it."""

from __future__ import annotations

import math
import random
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import texts
from tests.reference import any_start, repeated_share


def read(text: str | bytes):
    """The script of a text, its repeated share, and how much of it is visible."""
    (figures,) = read_all([text.encode() if isinstance(text, str) else text])
    script = texts.SCRIPTS[int(figures[texts.SCRIPT])]
    return script, figures[texts.REPEATED], int(figures[texts.VISIBLE])


def read_all(each: list[bytes]):
    """The figures of several texts."""
    figures = np.zeros((len(each), texts.FIGURES))
    ends = np.cumsum([len(one) for one in each]).astype(np.int64)
    joined = np.frombuffer(bytearray().join(each), np.uint8)
    with np.errstate(over="ignore"):  # plain Python warns of what wraps around
        texts.read_texts(joined, ends, np.ones(texts.TABLE_WORDS, np.int64), figures)
    return figures


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Hello, world", "latin"),
        ("Grüße aus Łódź", "latin"),
        ("Καλημέρα κόσμε", "greek"),
        ("Привет, world!!", "cyrillic"),
        ("שלום עולם", "hebrew"),
        ("مرحبا بالعالم", "arabic"),
        ("नमस्ते दुनिया", "indic"),
        ("สวัสดีชาวโลก", "thai"),
        ("안녕하세요 세계", "hangul"),
        ("こんにちは", "kana"),
        ("你好,世界", "han"),
        ("გამარჯობა", "other"),
        ("12 + 30 = 42 !", "none"),
        ("→ ✓ 🎉", "none"),
        ("", "none"),
    ],
)
def test_the_script_is_the_one_that_most_letters_are_of(text, script):
    assert read(text)[0] == script


_NAMES = {
    "LATIN": "latin",
    "FULLWIDTH LATIN": "latin",
    "GREEK": "greek",
    "CYRILLIC": "cyrillic",
    "HEBREW": "hebrew",
    "ARABIC": "arabic",
    "DEVANAGARI": "indic",
    "BENGALI": "indic",
    "TAMIL": "indic",
    "THAI": "thai",
    "HANGUL": "hangul",
    "HIRAGANA": "kana",
    "KATAKANA": "kana",
    "CJK UNIFIED": "han",
}


# Where texts of today have their letters; historic ones and presentation forms stand elsewhere.
_PLACES = ((0x80, 0x870), (0x900, 0x1C80), (0x1E00, 0x2000), (0x3040, 0xA000), (0xAC00, 0xFB00))


def test_letters_are_of_the_script_that_unicode_names():
    for point in (point for places in _PLACES for point in range(*places)):
        name = unicodedata.name(chr(point), "")
        known = next((s for start, s in _NAMES.items() if name.startswith(start + " ")), None)
        if known is not None and unicodedata.category(chr(point)) in ("Lu", "Ll", "Lo"):
            assert texts.SCRIPTS[texts.script_of(point)] == known, f"U+{point:04X} {name}"


def test_a_loop_shows_and_prose_does_not():
    draw = random.Random(3)
    prose = " ".join("".join(draw.choices("abcdefghij", k=6)) for _ in range(100))
    assert read(prose)[1] < 0.01
    assert read("Let me check that again. " * 40)[1] > 0.9


def test_what_is_too_short_to_go_in_circles_is_not_judged():
    assert math.isnan(read("no " * 15)[1])
    assert read("no " * 40)[1] > 0.7


@given(st.text(alphabet="ab ", min_size=texts.WINDOW * 2, max_size=300))
def test_the_repeated_share_is_that_of_windows_seen_before(text):
    assert read(text)[1] == repeated_share(text.encode(), texts.WINDOW)


@given(st.binary(max_size=200))
def test_any_bytes_are_read(data):
    script, _, visible = read(data)
    assert script in texts.SCRIPTS
    assert visible == sum(byte > 0x20 for byte in data)


phrases = st.lists(st.binary(min_size=8, max_size=12).filter(lambda one: 0 not in one), max_size=80)


@given(phrases, st.binary(max_size=60), st.data())
def test_a_phrase_is_found_by_how_it_begins(some, text, data):
    if some and data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(st.sampled_from(some)) + text[at:]
    with np.errstate(over="ignore"):
        found = texts.any_start(text, texts.starts_of(some))
    assert found == any_start(text, some, texts.START_BYTES)


def test_a_phrase_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match="8 bytes or more"):
        texts.starts_of([b"no way!"])


def test_the_longest_text_finds_room():
    draw = random.Random(5)
    longest = bytes(draw.randrange(256) for _ in range(texts.MAX_BYTES))
    assert read(longest)[1] == repeated_share(longest, texts.WINDOW) == 0.0


def test_texts_that_are_read_together_tell_what_each_tells_alone():
    each = ["привет".encode(), b"", b"round we go. " * 30, b"\xff\xfe", "你好".encode()]
    alone = np.concatenate([read_all([one]) for one in each])
    np.testing.assert_array_equal(read_all(each), alone)
