"""The pictures in the documentation are what the product's kernels and rules make of them."""

from __future__ import annotations

import re

import pytest

from docs.pictures import generate

NUMBER = re.compile(r"-?\d+\.?\d*")


@pytest.mark.parametrize("name", generate.PICTURES)
def test_a_picture_is_what_is_drawn_today(name):
    kept = (generate.FOLDER / f"{name}.svg").read_text()
    drawn = generate.PICTURES[name]()
    assert NUMBER.sub("#", drawn) == NUMBER.sub("#", kept)
    # Another machine's rounding may move a point by a tenth of a pixel.
    assert [float(n) for n in NUMBER.findall(drawn)] == pytest.approx(
        [float(n) for n in NUMBER.findall(kept)], abs=0.25
    )


def test_every_picture_is_shown():
    shown = (generate.FOLDER.parent / "monitoring.md").read_text()
    there = {file.stem for file in generate.FOLDER.glob("*.svg")}
    assert there == set(generate.PICTURES)
    assert [name for name in there if f"](pictures/{name}.svg)" not in shown] == []
