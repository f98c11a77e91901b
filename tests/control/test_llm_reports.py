"""An upstream that answers as another than before is told once, whoever hears of it how often."""

from __future__ import annotations

import json

import pytest

from gateway.control.llm_reports import RULE, Change, Reports, notice
from gateway.llm.reported import MAX_KNOWN, Reported
from gateway.wire.llm.reading import Reading

OLD, NEW = ("gpt-4o-2024-08-06", "fp_1"), ("gpt-4o-2024-11-20", "fp_2")


class World:
    """Workers that hear answers, and control that hears of them by mail."""

    def __init__(self):
        self.changes: list[Change] = []
        self.full = False
        self.control = Reports(self.changes.append, now=lambda: 7.0)
        self.workers = [self.worker(), self.worker()]

    def worker(self):
        return Reported("m", 1, self.send)

    def send(self, message):
        if not self.full:
            self.control.heard(json.loads(json.dumps(message)))
        return not self.full

    def hear(self, worker, told, upstream="u"):
        model, fingerprint = told
        self.workers[worker].heard(upstream, Reading(model=model, fingerprint=fingerprint))

    @property
    def told(self):
        return [(one.before, one.now) for one in self.changes]


@pytest.fixture
def world():
    return World()


def test_what_all_hear_first_is_no_change(world):
    for worker in (0, 1, 0):
        world.hear(worker, OLD)
    assert world.told == []


def test_a_change_is_told_once_however_many_workers_hear_it(world):
    world.hear(0, OLD)
    world.hear(1, OLD)
    for worker in (0, 1, 0, 1):
        world.hear(worker, NEW)
    assert world.told == [(OLD, NEW)]
    assert world.control.changes["m", 1, "u"] == 1


def test_one_worker_hears_the_old_and_another_the_new(world):
    world.hear(0, OLD)
    world.hear(1, NEW)
    assert world.told == [(OLD, NEW)]


def test_a_fingerprint_that_comes_and_goes_is_news_once(world):
    for told in (OLD, NEW, OLD, NEW, OLD):
        world.hear(0, told)
    assert world.told == [(OLD, NEW)]


def test_upstreams_do_not_mix(world):
    world.hear(0, OLD, "u")
    world.hear(0, NEW, "v")
    assert world.told == []


def test_a_control_process_that_is_new_hears_of_a_change_all_the_same(world):
    world.hear(0, OLD)
    world.control = Reports(world.changes.append, now=lambda: 8.0)
    world.hear(0, NEW)
    assert world.told == [(OLD, NEW)]


def test_what_finds_no_room_is_said_again(world):
    world.hear(0, OLD)
    world.full = True
    world.hear(0, NEW)
    world.full = False
    world.hear(0, NEW)
    assert world.told == [(OLD, NEW)]


def test_an_upstream_that_says_nothing_of_itself_changes_nothing(world):
    for told in (OLD, ("", ""), OLD):
        world.hear(0, told)
    assert world.told == []


def test_what_is_remembered_is_bounded(world):
    for number in range(10 * MAX_KNOWN):
        world.hear(0, ("m", f"fp_{number}"))
    assert len(world.changes) == 10 * MAX_KNOWN - 1
    assert len(world.workers[0]._known["u"]) == MAX_KNOWN


def test_a_notice_says_what_answers_now_and_what_did(world):
    world.hear(0, OLD)
    world.hear(0, NEW)
    told = notice(world.changes[0])
    assert (told["rule"], told["model"], told["version"], told["at"]) == (RULE, "m", 1, 7.0)
    assert all(word in told["summary"] for word in (*OLD, *NEW, "'u'"))
