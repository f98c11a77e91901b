"""JSON numbers: exactly what `float()` reads, or not read at all."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kernels import numbers
from kernels.numbers import MAX_RANK, read_floats
from tests import reference

WITH_EXAMPLES = settings(max_examples=300)


def read(text: bytes, shape: tuple[int, ...] | None = None, dtype: str = "<f8"):
    """What the kernel reads, or None. The text stands in the middle of others."""
    shape = (text.count(b",") + 1,) if shape is None else shape
    out = np.full(math.prod(shape), 77, dtype)
    around = b'{"data":' + text + b"],[99]]}"
    return out if read_floats(around, 8, 8 + len(text), shape, out) else None


def bits(values) -> list[int]:
    return np.asarray(values, "<f8").view("<i8").tolist()


@pytest.mark.parametrize(
    "token",
    [
        "0",
        "-0",
        "0.0",
        "-0.0",
        "0e5",
        "-0e0",
        "1",
        "-1",
        "10",
        "0.1",
        "-0.1",
        "1.5E3",
        "1e+2",
        "1e-2",
        "1e22",
        "1e23",
        "1e-22",
        "1e-23",
        "8.5e-5",
        "123456789",
        "12345678",
        "0.12345678",
        "0.123456789",
        "1234567812345678.12",
        "0.0000000000000000000000000000012345678901234567",
        "9007199254740992",
        "9007199254740993",
        "9007199254740995",
        "9223372036854775807",
        "9999999999999999999",
        "1.7976931348623157e308",
        "2.2250738585072014e-308",
        "1.448997445238699",
        "7.2057594037927933e16",
        "4503599627370497.5",
        "4503599627370496.5",
        "9007199254740991.5",
        "5764607523034234880",
        "5764607523034235393",
        "3.5844466002796428e298",
        "1000000000000000000e-18",
        "0.000001e6",
        "6.02214076e23",
        "1e00000000000000000000000000000000000000001",
    ],
)
def test_usual_numbers_are_read_as_python_reads_them(token):
    expected = float(token) + 0.0 if token == "-0" else float(token)
    found = read(f"[{token}]".encode())
    assert found is not None
    assert bits(found) == bits([expected])


@pytest.mark.parametrize(
    "token",
    [
        "5e-324",
        "2e-308",
        "1e-400",
        "1e309",
        "1e999999999999",
        "12345678901234567890",
        "1.0000000000000000000",
        "0.10000000000000000000",
        "00000",
        "01",
        "-01",
        "00.5",
        "1.",
        ".5",
        "-",
        "+1",
        "1e",
        "1e+",
        "1.e5",
        "e5",
        "0x10",
        "1_0",
        "1 0",
        "--1",
        "1.2.3",
        "1e5.5",
        "NaN",
        "Infinity",
        "-Infinity",
        "null",
        "true",
        '"1"',
        "{}",
        "",
        "1,",
        ",1",
        "\x0b1",
        "1\x00",
        "\xb2",
    ],
)
def test_anything_unusual_is_left_alone(token):
    assert read(f"[{token}]".encode("latin-1"), (1,)) is None


@pytest.mark.parametrize("token", ["3.5e38", "-3.4028236e38", "1e200"])
def test_what_is_too_large_for_a_single_is_left_alone(token):
    assert read(f"[{token}]".encode(), dtype="<f4") is None
    assert read(f"[{token}]".encode()) is not None


def test_singles_are_rounded_once_from_the_double():
    # Between two float32, and as text just above half way; the double is exactly half way.
    token = "1.00000005960464477541"[:20]
    found = read(f"[{token}]".encode(), dtype="<f4")
    assert found is not None
    assert found[0] == np.float32(float(token))


@WITH_EXAMPLES
@given(st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False))
@example(5e-324)
def test_the_shortest_text_of_any_normal_double_is_read(value):
    found = read(b"[%b]" % repr(value).encode())
    if found is None:
        assert 0 < abs(value) < 2.3e-308
    else:
        assert bits(found) == bits([value])


@WITH_EXAMPLES
@given(st.integers(0, 10**19 - 1), st.integers(-345, 310), st.booleans())
def test_any_mantissa_and_power_is_read_as_python_reads_it(mantissa, power, negative):
    token = f"{'-' if negative else ''}{mantissa}e{power}"
    found = read(b"[%b]" % token.encode())
    if found is not None:
        assert bits(found) == bits([float(token)])
    else:
        assert not 2.3e-308 < abs(float(token)) < math.inf


@WITH_EXAMPLES
@given(st.integers(1 << 52, (1 << 53) - 1), st.integers(-8, 10), st.integers(-1, 1))
def test_numbers_half_way_between_two_doubles_go_to_the_even_one(mantissa, scale, aside):
    exact = Fraction(2 * mantissa + 1) * Fraction(2) ** (scale - 1)
    digits = exact * 10 ** max(0, 1 - scale)
    token = f"{digits.numerator // digits.denominator + aside}e{-max(0, 1 - scale)}"
    found = read(b"[%b]" % token.encode())
    if found is not None:
        assert bits(found) == bits([float(token)])


TOKENS = st.one_of(
    st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,22})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(lambda x: f"{x:.7g}"),
    st.integers(-(10**6), 10**6).map(str),
    st.sampled_from(["NaN", "01", "1.", "", "null", "-", "1e5x"]),
)
SPACE = st.sampled_from(["", "", "", " ", "\n", "\t\r\n "])


@WITH_EXAMPLES
@given(st.lists(st.tuples(SPACE, TOKENS, SPACE), min_size=1, max_size=6), st.booleans())
def test_whatever_is_read_is_what_the_twin_reads(parts, nested):
    inner = ",".join(before + token + after for before, token, after in parts)
    text = (f"[[{inner}] ,[{inner}]]" if nested else f"[{inner}]").encode()
    shape = (2, len(parts)) if nested else (len(parts),)
    expected = reference.json_floats(text, shape)
    found = read(text, shape)
    if found is not None:
        assert expected is not None
        assert bits(found) == bits(expected)
    single = read(text, shape, "<f4")
    if single is not None:
        assert expected is not None
        assert single.tobytes() == np.array(expected).astype("<f4").tobytes()


@WITH_EXAMPLES
@given(st.data())
def test_damaged_text_is_left_alone_or_still_means_the_same_to_the_twin(data):
    text = bytearray(b"[[1.5,-2e3,0],[10,0.125,7]]")
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text)))
        piece = data.draw(st.sampled_from([b"", b"[", b"]", b",", b" ", b"0", b".", b"e", b"-"]))
        text[place : place + data.draw(st.integers(0, 3))] = piece
    if not text:
        return
    found = read(bytes(text), (2, 3))
    if found is not None:
        assert bits(found) == bits(reference.json_floats(bytes(text), (2, 3)))


@pytest.mark.parametrize("whole", ["0", "-0", "7", "-9", "10", "-123456"])
def test_fractions_of_every_length_are_read_wherever_they_stand(whole):
    fractions = ["1234567890123456789"[:length] for length in range(1, 20 - len(whole.strip("-")))]
    fractions += ["0" * length + "7" for length in range(13 - len(whole))]
    tokens = [f"{whole}.{fraction}" for fraction in fractions]
    for last in range(1, len(tokens) + 1):
        found = read(f"[{','.join(tokens[:last])}]".encode())
        assert found is not None
        assert bits(found) == bits([float(token) for token in tokens[:last]])


@pytest.mark.parametrize("separator", [",", ", ", ",\n "])
@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_long_arrays_of_all_kinds_of_numbers_are_read(separator, dtype):
    rng = np.random.default_rng(5)
    values = rng.normal(size=20_000) * 10.0 ** rng.integers(-6, 7, size=20_000)
    forms = [repr, "{:.2f}".format, "{:.6g}".format, "{:.9f}".format, "{:.3e}".format]
    chosen = rng.integers(len(forms), size=len(values)).tolist()
    tokens = [forms[n](x) for n, x in zip(chosen, values.tolist(), strict=True)]
    found = read(f"[{separator.join(tokens)}]".encode(), (20_000,), dtype)
    assert found is not None
    assert found.tobytes() == np.array([float(token) for token in tokens]).astype(dtype).tobytes()


# Digits' neighbours, digits with a bit too much or too little, and all that means something.
STRANGE = b"/:.,-+eE[] 09\x00\x10\x19\x70\x79\xb0\xb9\xff"


@pytest.mark.parametrize("code", STRANGE, ids=lambda code: f"{code:#04x}")
def test_a_strange_byte_anywhere_is_left_alone_or_means_the_same_to_the_twin(code):
    text = b"[-0.1234567,1.12345678,0.123456789012,10.5,-7.1234567890123456,3.25]"
    for place in range(len(text)):
        changed = text[:place] + bytes([code]) + text[place + 1 :]
        found = read(changed, (6,))
        if found is not None:
            assert bits(found) == bits(reference.json_floats(changed, (6,)))


@WITH_EXAMPLES
@given(st.lists(TOKENS, min_size=1, max_size=3), st.data())
def test_no_byte_outside_the_text_is_read(tokens, data):
    whole = f"[{','.join(tokens)}]".encode()
    text = whole[: data.draw(st.integers(1, len(whole)))] + b"]"
    shape = np.array([len(tokens)])
    out = np.zeros(len(tokens))
    # As Python, every look behind the end is an IndexError.
    plain = getattr(numbers._read, "py_func", numbers._read)
    with np.errstate(over="ignore"):
        read_all = plain(text, np.uint64(0), np.uint64(len(text)), shape, out)
    assert read_all == read_floats(text, 0, len(text), (len(tokens),), np.zeros(len(tokens)))


@pytest.mark.parametrize("shape", [(1,), (3,), (2, 3), (1, 1, 1), (2, 1, 3), (3, 2, 2, 2)])
def test_arrays_nest_to_their_shape(shape):
    values = np.arange(math.prod(shape), dtype="<f8").reshape(shape)
    for text in (json.dumps(values.tolist()), json.dumps(values.tolist(), indent=1)):
        assert read(text.encode(), shape).tolist() == values.ravel().tolist()


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        (b"[1,2]", (3,)),
        (b"[1,2,3,4]", (3,)),
        (b"[[1,2,3]]", (3,)),
        (b"[1,2,3]", (1, 3)),
        (b"[[1,2],[3]]", (2, 2)),
        (b"[[1,2],[3,4],[5,6]]", (2, 2)),
        (b"[[1,2]]", (2, 2)),
        (b"[[1,2],3,4]", (2, 2)),
        (b"[1,[2,3]]", (2, 2)),
        (b"[[1,2][3,4]]", (2, 2)),
        (b"[[1,2],[3,4],]", (2, 2)),
        (b"[[1,2],,[3,4]]", (2, 2)),
        (b"[[[1,2],[3,4]]]", (2, 2)),
        (b"[[1,2],[3,4]]]", (2, 2)),
        (b"[1],[2]", (2,)),
        (b"[]", (1,)),
        (b"[[],[1]]", (2, 1)),
        (b"]", (1,)),
        (b"[", (1,)),
    ],
)
def test_other_nestings_are_left_alone(text, shape):
    assert read(text, shape) is None


def test_empty_arrays_are_read():
    assert read(b"[ ]", (0,)) is not None
    assert read(b"[[],[ ]]", (2, 0)) is not None
    assert read(b"[[]]", (2, 0)) is None


def test_text_cut_off_at_any_byte_is_left_alone():
    text = b"[[1.25,-3e5], [0.1234567890123456,77]]"
    assert read(text, (2, 2)) is not None
    for stop in range(1, len(text)):
        out = np.zeros(4)
        assert not read_floats(text[:stop], 0, stop, (2, 2), out)
        if stop > 1:
            assert not read_floats(text, 0, stop, (2, 2), out)


def test_spans_and_shapes_that_make_no_sense_are_refused():
    out = np.zeros(1)
    for start, stop in [(-1, 3), (2, 2), (0, 4), (3, 1)]:
        with pytest.raises(ValueError, match="expected 0 <= start < stop"):
            read_floats(b"[1]", start, stop, (1,), out)
    for shape in [(), (1,) * (MAX_RANK + 1)]:
        with pytest.raises(ValueError, match="expected 1 to 16 axes"):
            read_floats(b"[1]", 0, 3, shape, out)
    deep = b"[" * MAX_RANK + b"1" + b"]" * MAX_RANK
    assert read_floats(deep, 0, len(deep), (1,) * MAX_RANK, out)
