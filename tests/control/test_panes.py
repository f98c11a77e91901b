"""Histories outlive the process that kept them."""

from __future__ import annotations

import logging
import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from gateway.control.panes import FILE, Base, PaneStore
from gateway.control.seasons import HOUR_S, KEPT_S, WEEK_S
from gateway.drift.history import TIERS
from gateway.drift.panes import Pane, no_moments, packed

NOW = 1_800_000_000


def pane(start: int, length: int = 10, most: int = 7) -> Pane:
    moments = no_moments(2)
    moments[0] = [3, 1.5, 2.5, -0.1, 1e300]
    return Pane(start, length, packed(np.array([1, 0, most], np.int64)), moments)


def same(one: Pane, other: Pane) -> bool:
    return (
        (one.start_s, one.length_s) == (other.start_s, other.length_s)
        and one.counts.tolist() == other.counts.tolist()
        and one.moments.tolist() == other.moments.tolist()
    )


@pytest.mark.parametrize("most", [7, 300, 70_000, 2**40])
def test_a_pane_is_read_back_as_it_was(tmp_path: Path, most: int) -> None:
    kept = pane(NOW, most=most)
    store = PaneStore(tmp_path)
    store.save({"a/1": [kept]}, {}, NOW)
    store.close()
    again = PaneStore(tmp_path)
    ((found,), base) = again.load("a/1")
    assert base is None
    assert same(found, kept)
    assert again.load("a/2") == ([], None)
    again.close()


def test_a_pane_that_is_saved_again_replaces_the_one_before(tmp_path: Path) -> None:
    store = PaneStore(tmp_path)
    store.save({"a/1": [pane(NOW, most=1)]}, {}, NOW)
    store.save({"a/1": [pane(NOW, most=9)]}, {}, NOW)
    assert [one.counts.tolist() for one in store.load("a/1")[0]] == [[1, 0, 9]]
    store.close()


def test_what_is_too_old_for_its_tier_is_forgotten(tmp_path: Path) -> None:
    store = PaneStore(tmp_path)
    panes = [pane(NOW - 3600), pane(NOW - 3600, 3600), pane(NOW)]
    store.save({"a/1": panes}, {}, NOW)
    assert [(one.start_s, one.length_s) for one in store.load("a/1")[0]] == [
        (NOW - 3600, 3600),
        (NOW, 10),
    ]
    store.close()


def test_what_is_too_old_of_a_series_that_is_gone_is_forgotten_with_the_next_hour(
    tmp_path: Path,
) -> None:
    store = PaneStore(tmp_path)
    store.save({"gone/1": [pane(NOW)]}, {}, NOW)
    store.save({"a/1": [pane(NOW + HOUR_S)]}, {}, NOW + HOUR_S)
    assert len(store.load("gone/1")[0]) == 1
    store.save({"a/1": [pane(NOW, HOUR_S)]}, {}, NOW + HOUR_S)
    assert store.load("gone/1") == ([], None)
    store.close()


def test_hours_of_weeks_are_kept_and_only_those_of_days_are_taken_into_memory(
    tmp_path: Path,
) -> None:
    store = PaneStore(tmp_path)
    hours = [pane(NOW // HOUR_S * HOUR_S - back * HOUR_S, HOUR_S) for back in range(1000)]
    store.save({"a/1": hours}, {}, NOW)
    loaded, _ = store.load("a/1")
    in_memory = next(tier.kept for tier in TIERS if tier.length_s == HOUR_S)
    assert in_memory <= len(loaded) <= in_memory + 1
    oldest = NOW // HOUR_S * HOUR_S - KEPT_S
    kept, gone = store.hours("a/1", 3, [(oldest, oldest + HOUR_S), (0, oldest)])
    assert (kept.tolist(), gone.tolist()) == ([1, 0, 7], [0, 0, 0])
    store.close()


def test_each_stretch_of_hours_is_added_up_by_itself(tmp_path: Path) -> None:
    store = PaneStore(tmp_path)
    noon = NOW // HOUR_S * HOUR_S
    panes = [pane(noon - WEEK_S + at * HOUR_S, HOUR_S, most=at + 1) for at in range(4)]
    finer = pane(noon - WEEK_S, 600, most=1000)
    store.save({"a/1": [*panes, finer], "b/1": [pane(noon - WEEK_S, HOUR_S)]}, {}, NOW)
    stretches = [
        (noon - WEEK_S + HOUR_S, noon - WEEK_S + 3 * HOUR_S),
        (noon - 2 * WEEK_S, noon - WEEK_S),
    ]
    assert [one.tolist() for one in store.hours("a/1", 3, stretches)] == [[2, 0, 5], [0, 0, 0]]
    assert store.hours("a/1", 9, stretches)[0].tolist() == [0] * 9  # of another layout
    store.close()


def test_a_damaged_file_is_put_aside_and_said_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_bytes(b"not a database, and long enough to be seen as none" * 100)
    with caplog.at_level(logging.ERROR):
        store = PaneStore(tmp_path)
    assert "put aside" in caplog.text
    store.save({"a/1": [pane(NOW)]}, {}, NOW)
    assert len(store.load("a/1")[0]) == 1
    assert (tmp_path / "monitor.damaged").exists()
    store.close()


def test_a_file_of_a_newer_schema_is_put_aside(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    store = PaneStore(tmp_path)
    store.save({"a/1": [pane(NOW)]}, {}, NOW)
    assert len(store.load("a/1")[0]) == 1
    store.close()


def test_a_base_is_kept_with_its_panes_and_replaced_by_the_next(tmp_path: Path) -> None:
    store = PaneStore(tmp_path)
    for most in (5, 2**40):
        store.save({"a/1": [pane(NOW)]}, {"a/1": Base(77, np.array([1, most]))}, NOW)
    _, base = store.load("a/1")
    assert base is not None
    assert (base.boot, base.counts.tolist()) == (77, [1, 2**40])
    store.close()


def test_what_was_learnt_is_kept_as_it_was_and_lost_where_it_is_damaged(tmp_path: Path) -> None:
    store = PaneStore(tmp_path)
    assert store.learnt("a/1").tolist() == []
    for last in (1.5, 0.1):
        store.save({}, {}, NOW, {"a/1": np.array([0.0, last]), "b/1": np.array([7.0])})
    assert store.learnt("a/1").tolist() == [0.0, 0.1]
    store.close()
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("UPDATE learnt SET numbers = x'6400' WHERE series = 'a/1'")
    connection.close()
    again = PaneStore(tmp_path)
    assert (again.learnt("a/1").tolist(), again.learnt("b/1").tolist()) == ([], [7.0])
    again.close()


def test_a_file_of_an_earlier_release_is_gone_on_with(tmp_path: Path) -> None:
    store = PaneStore(tmp_path)
    store.save({"a/1": [pane(NOW)]}, {}, NOW)
    store.close()
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("DROP TABLE learnt")  # which it did not have
    connection.close()
    again = PaneStore(tmp_path)
    again.save({}, {}, NOW, {"a/1": np.array([3.0])})
    assert (len(again.load("a/1")[0]), again.learnt("a/1").tolist()) == (1, [3.0])
    again.close()


def test_damaged_bytes_of_a_pane_lose_that_history_alone(tmp_path: Path) -> None:
    store = PaneStore(tmp_path)
    store.save({"a/1": [pane(NOW)], "b/1": [pane(NOW)]}, {}, NOW)
    store.close()
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("UPDATE panes SET counts = x'3100' WHERE series = 'a/1'")
    connection.close()
    again = PaneStore(tmp_path)
    assert again.load("a/1") == ([], None)
    assert len(again.load("b/1")[0]) == 1
    again.close()


def test_a_home_that_is_lost_costs_panes_and_is_taken_up_when_it_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    store = PaneStore(home)
    store.close()
    os.rename(home, tmp_path / "away")
    lost = PaneStore(home)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            lost.save({"a/1": [pane(NOW)]}, {}, NOW)
    assert lost.lost == 3
    assert len(caplog.records) <= 1
    assert not home.exists()
    os.rename(tmp_path / "away", home)
    lost.save({"a/1": [pane(NOW)]}, {}, NOW)
    assert len(lost.load("a/1")[0]) == 1
    lost.close()


def test_a_file_that_turns_out_damaged_while_it_is_written_is_put_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = PaneStore(tmp_path)
    for second in range(0, 500, 10):
        store.save({f"a/{n}": [pane(NOW + second)] for n in range(20)}, {}, NOW + second)
    store.close()  # its head stays whole: it can be opened
    size = (tmp_path / FILE).stat().st_size
    with (tmp_path / FILE).open("r+b") as file:
        file.seek(size // 4)
        file.write(b"\xff" * (size // 2))
    store = PaneStore(tmp_path)
    with caplog.at_level(logging.ERROR):
        for _ in range(2):
            store.save({f"a/{n}": [pane(NOW + 500)] for n in range(20)}, {}, NOW + 500)
    assert store.lost == 20
    assert [len(store.load(f"a/{n}")[0]) for n in (0, 10, 19)] == [1, 1, 1]
    assert (tmp_path / "monitor.damaged").exists()
    assert len(caplog.records) == 1
    store.close()


@pytest.mark.parametrize("another", [False, True], ids=["removed", "replaced"])
def test_a_file_that_was_taken_away_is_made_anew_and_said_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, another: bool
) -> None:
    store = PaneStore(tmp_path)
    store.save({"a/1": [pane(NOW)]}, {}, NOW)
    for beside in ("", "-wal", "-shm"):
        (tmp_path / f"{FILE}{beside}").unlink()
    if another:
        (tmp_path / FILE).write_bytes(b"x" * 8192)
    with caplog.at_level(logging.ERROR):
        store.save({"a/1": [pane(NOW + 10)]}, {}, NOW + 10)
    store.close()
    assert "it is gone" in caplog.text
    again = PaneStore(tmp_path)
    assert [one.start_s for one in again.load("a/1")[0]] == [NOW + 10]
    again.close()


def test_nobody_but_the_owner_may_read_the_file(tmp_path: Path) -> None:
    PaneStore(tmp_path).close()
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0


def test_a_forgotten_series_leaves_nothing(tmp_path: Path) -> None:
    store = PaneStore(tmp_path)
    store.save({"a/1": [pane(NOW)], "b/1": [pane(NOW)]}, {}, NOW)
    store.forget(["a/1"])
    assert store.load("a/1") == ([], None)
    assert len(store.load("b/1")[0]) == 1
    store.close()
