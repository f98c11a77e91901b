"""Pairs of answers are counted as their slow twin says, and slots add up."""

from __future__ import annotations

import numpy as np
import pytest

from kernels import pairs as p
from kernels.performance import BINARY, VALUE
from kernels.ring import BEST
from tests import reference

KINDS = {"binary": (1, BINARY), "multiclass": (BEST, 0), "value": (0, VALUE)}


def answers(kind, rows, seed, dtype):
    """What two models say of the same rows; the second one is near the first."""
    rng = np.random.default_rng(seed)
    if kind == "value":
        first = rng.normal(0, 100, (rows, 1))
        second = first * (1 + rng.normal(0, 0.01, (rows, 1)))
        second[:2] = first[:2] = 0.0
    else:
        columns = 2 if kind == "binary" else 5
        first = rng.dirichlet(np.full(columns, 0.5), rows)
        second = 0.9 * first + 0.1 * rng.dirichlet(np.full(columns, 0.5), rows)
        second[:3] = first[:3]
    return first.astype(dtype), second.astype(dtype)


def counted(kind, first, second, slot=None):
    slot = np.zeros(p.WORDS, np.int64) if slot is None else slot
    unlikeness = np.zeros(len(first))
    column, told = KINDS[kind]
    most = p.compare(slot, first, second, column, told, 0.5, 0.01, unlikeness)
    return slot, unlikeness, most


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pairs_are_counted_as_their_slow_twin_says(kind, dtype):
    first, second = answers(kind, 400, 5, dtype)
    first[7, :] = np.nan
    second[9, :] = np.inf
    slot, unlikeness, most = counted(kind, first, second)
    found = reference.compared_pairs(
        first.astype(float).tolist(), second.astype(float).tolist(), kind, max(KINDS[kind][0], 0)
    )
    both = [one for one in found if not one["unlike"]]
    differences = [one["difference"] for one in both]
    assert slot[p.UNLIKE] == len(found) - len(both) == 2
    assert slot[p.ROWS] == len(both)
    assert slot[p.AGREED] == sum(one["agreed"] for one in both) < len(both)
    assert slot[p.HIGHER] == sum(one > 0 for one in differences)
    assert slot[p.LOWER] == sum(one < 0 for one in differences)
    floats = slot.view(np.float64)
    assert floats[p.UP] - floats[p.DOWN] == pytest.approx(sum(differences))
    assert floats[p.SQUARES] == pytest.approx(sum(one**2 for one in differences))
    assert unlikeness.tolist() == pytest.approx([one["unlikeness"] for one in found])
    assert most == p.NO_NUMBER
    bins = slot[p.DIFFERENCES : p.DIFFERENCES + p.BINS]
    edges = np.array(p.EDGES)
    wanted = np.zeros(p.BINS, int)
    for one in both:
        place = int((np.abs(one["size"]) > edges).sum())
        wanted[p.SIDE + (place if one["size"] > 0 else -place)] += 1
    assert bins.tolist() == wanted.tolist()
    table = slot[p.CALIBRATION :].reshape(p.CALIBRATION_BINS, p.CALIBRATION_WIDTH)
    for level in range(p.CALIBRATION_BINS):
        here = [one["scores"] for one in both if one["level"] == level]
        assert table[level, 0] == len(here)
        sums = table[level].view(np.float64)[1:]
        assert sums.tolist() == pytest.approx(
            [sum(one) for one in zip(*here, strict=True)] or [0, 0]
        )


def test_counts_of_parts_add_up_to_those_of_the_whole():
    first, second = answers("binary", 100, 6, np.float32)
    whole, _, _ = counted("binary", first, second)
    parts, _, _ = counted("binary", first[:30], second[:30])
    parts, _, _ = counted("binary", first[30:], second[30:], parts)
    floats = list(p.FLOATS)
    assert np.delete(parts, floats).tolist() == np.delete(whole, floats).tolist()
    got, wanted = (words.view(np.float64)[floats] for words in (parts, whole))
    assert got.tolist() == pytest.approx(wanted.tolist())


def test_an_answer_agrees_with_itself():
    first, _ = answers("multiclass", 50, 7, np.float64)
    slot, unlikeness, most = counted("multiclass", first, first)
    assert (slot[p.ROWS], slot[p.AGREED], slot[p.HIGHER], slot[p.LOWER]) == (50, 50, 0, 0)
    assert slot[p.DIFFERENCES + p.SIDE] == 50
    assert most == unlikeness.max() == 0.0


@pytest.mark.parametrize("shape", [(3, 2), (4, 3)], ids=["rows", "columns"])
def test_answers_of_another_shape_are_not_counted(shape):
    slot, _, most = counted("binary", np.zeros((4, 2)), np.zeros(shape))
    assert most == -1.0
    assert not slot.any()


def test_rows_that_agree_are_never_taken_for_others_however_far_their_scores_lie_apart():
    first, second = np.array([[0.0, 7.0], [0.0, 0.9]]), np.array([[0.0, 2.0], [0.0, -5.0]])
    _, unlikeness, most = counted("binary", first, second)
    assert unlikeness.tolist() == [1.0, 3.0]
    assert most == 3.0 < p.NO_NUMBER
