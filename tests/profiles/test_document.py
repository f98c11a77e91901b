"""Profiles as JSON: exact, canonical, and refused with the place where something is wrong."""

from __future__ import annotations

import contextlib
import json
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contracts import document as contract_document
from gateway.contracts.inference import infer
from gateway.drift.reference import Reference
from gateway.errors import ProfileInvalid
from gateway.profiles.document import MAX_BYTES, canonical, digest, read, text
from gateway.profiles.live import block_words
from gateway.profiles.live import places as live_places
from gateway.profiles.values import (
    CATEGORY,
    FEATURE,
    NUMERIC,
    STRING,
    SUMMARIES,
    Frame,
    Profile,
)
from tests.profiles.builders import CALIBRATION, numeric, small, words

FINITE_32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
FINITE_64 = st.floats(allow_nan=False, allow_infinity=False)


def profile_of(column, datatype="FP32") -> Profile:
    return Profile(6, (Frame("x", "x", FEATURE, datatype, (-1, 1), (column,)),))


def test_both_texts_are_the_same_profile():
    profile = small()
    assert canonical(read(canonical(profile))) == canonical(profile)
    assert canonical(read(text(profile))) == canonical(profile)
    assert digest(read(text(profile))) == digest(profile)


def test_the_readable_text_has_a_line_for_each_column():
    lines = text(small()).splitlines()
    assert [sum(f'"name":"{name}"' in line for line in lines) for name in "ab"] == [1, 1]
    assert '"edges":[0.1,0.5]' in text(small())  # not 0.10000000149011612


def test_an_empty_profile_is_one():
    empty = Profile(0, ())
    assert digest(read(text(empty))) == digest(empty)


@pytest.mark.parametrize(
    ("type_", "datatype", "edges"),
    [
        ("float32", "FP32", st.lists(FINITE_32, unique=True)),
        ("float64", "FP64", st.lists(FINITE_64, unique=True)),
        ("int64", "INT64", st.lists(st.integers(-(2**63), 2**63 - 1), unique=True)),
    ],
)
def test_every_edge_comes_back_exactly(type_, datatype, edges):
    @given(edges)
    def law(values):
        array = np.unique(np.array(values, type_))
        column = numeric(edges=array, counts=np.ones(len(array) + 1), type_=type_)
        back = read(text(profile_of(column, datatype))).frames[0].columns[0].edges
        assert back.dtype == array.dtype
        assert (back == array).all()

    law()


def test_the_digest_tells_profiles_apart():
    assert digest(profile_of(numeric())) != digest(profile_of(numeric(counts=(1, 3, 2))))
    assert digest(profile_of(numeric())) != digest(profile_of(numeric("other")))


def test_a_calibration_comes_back_as_it_was_and_is_of_a_newer_schema():
    profile = small(CALIBRATION)
    assert read(text(profile)).calibration == CALIBRATION
    assert digest(read(text(profile))) == digest(profile) != digest(small())
    assert [json.loads(canonical(one))["schema"] for one in (small(), profile)] == [1, 3]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("scores", 7, "calibration.scores: expected an object"),
        ("rows", 0, "calibration.rows: expected a whole number from 1 on"),
        ("ece", None, "calibration.ece: expected a finite number"),
        ("upto", [31, 900], "calibration.upto: expected each above the last, up to 960"),
        ("upto", [960, 960], "calibration.upto: expected each above the last"),
        ("upto", [], "calibration.probabilities: expected one a step"),
        ("probabilities", [0.5, 0.4], "calibration.probabilities: expected one a step, none below"),
        ("probabilities", [0.5, 1.5], "calibration.probabilities: expected numbers of 0 to 1"),
        ("more", 1, "calibration.more: no such field"),
    ],
)
def test_what_is_wrong_in_a_calibration_is_told_with_its_place(key, value, message):
    document = json.loads(canonical(small(CALIBRATION)))
    document["calibration"][key] = value
    with pytest.raises(ProfileInvalid) as raised:
        read(json.dumps(document))
    assert message in str(raised.value)


def changed(path, value):
    """The small profile's document with one field changed, or removed where `value` is ..."""
    document = json.loads(canonical(small()))
    put(document, path, value)
    return json.dumps(document)


def put(document, path, value):
    place = document
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value


COLUMN = ("frames", 0, "columns", 0)
WORDS = ("frames", 1, "columns", 0)
LENGTHS = ("frames", 2, "columns", 0)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("schema",), 4, "schema: written by a newer release: expected 3 or lower, got 4"),
        (("schema",), "1", "schema: expected a whole number"),
        (("rows",), -1, "rows: expected a whole number from 0 on, got -1"),
        (("rows",), ..., "rows: missing"),
        (("extra",), 1, "extra: no such field"),
        (("frames", 0, "name"), "", "frames[0].name: expected a text of 1 to 2000 characters"),
        ((*COLUMN, "name"), "n" * 2001, "columns[0].name: expected a text of 1 to 2000 characters"),
        ((*WORDS, "categories"), ["a", "b" * 2001], "categories: expected texts of up to 2000"),
        (("frames",), {}, "frames: expected a list"),
        (("frames", 0), 7, "frames[0]: expected an object"),
        (("frames", 0, "role"), "target", "frames[0].role: expected one of feature, output"),
        (("frames", 0, "datatype"), "FP31", "frames[0].datatype: expected one of BOOL"),
        (("frames", 1, "name"), "x", "frames: expected each name once, got 'x'"),
        (("frames", 0, "shape"), [-2], "frames[0].shape: expected a whole number from -1 on"),
        ((*COLUMN, "edges"), [0.5, 0.5], "columns[0].edges: expected finite numbers of float32"),
        ((*COLUMN, "edges"), [0.1, 1e300], "columns[0].edges: expected finite numbers of float32"),
        ((*COLUMN, "edges"), [0.1, "NaN"], "columns[0].edges: expected a finite number"),
        ((*COLUMN, "edges"), [0.1], "columns[0].counts: expected 2 bins, got 3"),
        ((*COLUMN, "counts"), [1, 2, True], "columns[0].counts: expected a whole number"),
        ((*COLUMN, "counts"), [1, 2, 2**63], "columns[0].counts: expected a whole number"),
        ((*COLUMN, "type"), "string", "columns[0].kind: expected category for strings"),
        ((*COLUMN, "type"), "float64", "columns: expected one type for all, got float32, float64"),
        ((*COLUMN, "min"), "0", "columns[0].min: expected a finite number"),
        ((*COLUMN, "max"), 1e300, "columns[0].max: expected a finite number of float32"),
        ((*COLUMN, "max"), -1.0, "columns[0].max: expected at least min, 0.0"),
        ((*COLUMN, "max"), None, "columns[0].max: expected at least min, 0.0"),
        ((*COLUMN, "std"), -0.1, "columns[0].std: expected a number from 0 on, got -0.1"),
        ((*COLUMN, "counts"), [2**62, 2**62, 1], "columns[0].counts: expected at most"),
        ((*COLUMN, "nan"), 2**62, "columns[0].counts: expected at most"),
        ((*WORDS, "mean"), 0.5, "columns[0].mean: expected null for strings, got 0.5"),
        ((*WORDS, "min"), 0, "columns[0].min: expected null for strings, got 0"),
        ((*LENGTHS, "max"), 2**64 - 1, "columns[0].max: expected a whole number of 64 bits"),
        ((*COLUMN, "nan"), 0.0, "columns[0].nan: expected a whole number"),
        (("frames", 1, "columns", 0, "categories"), ["b", "a"], "expected each above the last"),
        (("frames", 3, "columns", 0, "categories"), [0, True], "booleans or whole numbers"),
        (
            ("frames", 2, "summary"),
            None,
            "frames[2].columns: expected type string of BYTES, got int64",
        ),
        (("frames", 2, "summary", "kind"), "x", "frames[2].summary.kind: expected one of image"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(path, value, message):
    with pytest.raises(ProfileInvalid) as raised:
        read(changed(path, value))
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "given_text", [b"", b"{", b"[]", b"\xff", b"null", b"[" * 5000], ids=range(6)
)
def test_what_is_no_profile_is_refused(given_text):
    with pytest.raises(ProfileInvalid):
        read(given_text)


STRANGE: tuple[object, ...] = (
    *(None, True, -1, 2**53 + 1, 2**63 - 1, 2**64 - 1, -(2**63), 1e308, 1e39, 0.5, 5e-324),
    *([], {}, [1], [[]], {"a": 1}, [2, 1], ["a", "b"], [True, 1], [2**62] * 3),
    *("", "\x1b[31m\n", "int64", "float32", STRING, CATEGORY, NUMERIC, *SUMMARIES),
)


def places(value, path=()):
    """Every place in a document."""
    items = enumerate(value) if isinstance(value, list) else ()
    for key, inner in value.items() if isinstance(value, dict) else items:
        yield *path, key
        yield from places(inner, (*path, key))


def test_whatever_is_changed_in_a_profile_it_is_one_or_is_refused_as_one():
    """Another error would keep every model of a server from being looked at."""
    whole = json.loads(canonical(small(CALIBRATION)))
    everywhere, rng = list(places(whole)), random.Random(4)
    accepted = 0
    for _ in range(4000):
        document = json.loads(canonical(small(CALIBRATION)))
        for path in rng.sample(everywhere, rng.choice((1, 1, 2))):
            with contextlib.suppress(LookupError, TypeError):  # the other change took it away
                put(document, path, rng.choice(STRANGE))
        try:
            profile = read(json.dumps(document))
        except ProfileInvalid:
            continue
        accepted += 1
        assert digest(read(text(profile))) == digest(profile)
        contract_document.read(contract_document.text(infer(profile)))
        with contextlib.suppress(ValueError):  # its model goes unwatched
            block_words(profile)
            where = live_places(profile)
            reference = Reference.of(profile, where)
            assert np.isfinite(reference.baseline.shares).all()
    assert 100 < accepted < 2000


def test_a_text_without_end_is_not_parsed():
    with pytest.raises(ProfileInvalid, match="at most"):
        read(b" " * (MAX_BYTES + 1))


def test_a_profile_whose_windows_would_take_all_memory_is_refused():
    """The matrix of a window is as wide as the widest column, for every column."""
    names = tuple(f"{number:07}" for number in range(100_000))
    wide = Frame("s", "s", FEATURE, "BYTES", (-1, 1), (words("s", names, np.ones(len(names))),))
    many = tuple(numeric(f"c{number}") for number in range(100))
    frames = (Frame("x", "x", FEATURE, "FP32", (-1, 100), many), wide)
    assert len(read(text(Profile(6, frames[1:]))).frames) == 1
    with pytest.raises(ProfileInvalid, match="got 101 times 100000"):
        read(text(Profile(6, frames)))


def test_every_cut_of_a_profile_is_refused():
    whole = canonical(small())
    for length in range(0, len(whole), 37):
        with pytest.raises(ProfileInvalid):
            read(whole[:length])


def test_hashed_strings_have_buckets_and_no_names():
    column = words(buckets=3, counts=(1, 2, 3))
    back = read(text(profile_of(column, "BYTES"))).frames[0].columns[0]
    assert (back.buckets, back.categories, back.counts.tolist()) == (3, (), [1, 2, 3])
