"""Keyed tables: whole, in parts, and changed row by row."""

from __future__ import annotations

import random

import pytest

from gateway.tables import PART_ROWS, TableInbox, change, whole


class Follower:
    """An inbox that keeps its table, as a keyring does."""

    def __init__(self):
        self.rows = {}
        self.replaced = 0
        self.inbox = TableInbox("keys", self.replace, self.change)

    def replace(self, rows):
        self.rows = dict(rows)
        self.replaced += 1

    def change(self, rows, dropped):
        self.rows.update(rows)
        for key in dropped:
            self.rows.pop(key, None)

    def take(self, messages):
        return [self.inbox.take(message) for message in messages]


@pytest.fixture
def follower():
    return Follower()


@pytest.mark.parametrize("count", [0, 1, PART_ROWS, PART_ROWS + 1, 3 * PART_ROWS])
def test_a_whole_table_arrives_in_parts_and_is_taken_over_at_once(follower, count):
    rows = {str(n): [n] for n in range(count)}
    messages = list(whole("keys", 7, rows))
    assert max(len(message["set"]) for message in messages) <= PART_ROWS
    *first, last = messages
    assert all(follower.take(first))
    assert (follower.replaced, follower.inbox.version) == (0, None)
    assert follower.inbox.take(last)
    assert (follower.rows, follower.inbox.version) == (rows, 7)


def test_any_run_of_changes_leads_to_the_senders_table(follower):
    rng = random.Random(11)
    rows = {str(n): n for n in range(50)}
    follower.take(whole("keys", 1, rows))
    for version in range(2, 200):
        dropped = rng.sample(sorted(rows), k=min(len(rows), rng.randrange(3)))
        fresh = {str(rng.randrange(100)): version for _ in range(rng.randrange(3))}
        for key in dropped:
            rows.pop(key)
        dropped = [key for key in dropped if key not in fresh]
        rows |= fresh
        assert follower.take([change("keys", version - 1, version, fresh, dropped)]) == [True]
    assert follower.rows == rows
    assert follower.replaced == 1


def test_who_lacks_a_version_asks_for_the_whole_and_keeps_what_it_has(follower):
    assert follower.take([change("keys", 1, 2, {"a": 1}, [])]) == [False]
    follower.take(whole("keys", 3, {"a": 1}))
    assert follower.take([change("keys", 4, 5, {"b": 1}, ["a"])]) == [False]
    assert (follower.rows, follower.inbox.version) == ({"a": 1}, 3)


def test_a_lost_part_is_noticed(follower):
    messages = list(whole("keys", 1, {str(n): n for n in range(3 * PART_ROWS)}))
    assert follower.take([messages[0], messages[2]]) == [True, False]
    assert follower.inbox.version is None
    assert all(follower.take(messages))
    assert follower.inbox.version == 1


def test_a_whole_that_starts_anew_in_the_middle_of_another_counts(follower):
    old = list(whole("keys", 1, {str(n): "old" for n in range(2 * PART_ROWS)}))
    new = list(whole("keys", 2, {str(n): "new" for n in range(2 * PART_ROWS)}))
    assert follower.take([old[0], *new]) == [True, True, True]
    assert set(follower.rows.values()) == {"new"}


def test_naming_a_version_asks_only_those_who_have_another(follower):
    follower.take(whole("keys", 4, {"a": 1}))
    assert follower.take([change("keys", 4, 4, {}, [])]) == [True]
    assert follower.take([change("keys", 5, 5, {}, [])]) == [False]
