"""What fails every second fills no log."""

from __future__ import annotations

from gateway.control.troubles import Troubles
from gateway.errors import StoreFailed

FULL, GONE = StoreFailed("the disk is full"), StoreFailed("it is gone")


def lines(caplog):
    return [record.getMessage() for record in caplog.records]


def test_one_trouble_is_told_once_however_many_meet_it_however_often(caplog):
    troubles = Troubles()
    for who in ("audit", "keys", "audit"):
        troubles.met(who, FULL)
    assert lines(caplog) == ["the disk is full"]


def test_that_it_is_over_is_told_when_nobody_meets_it_any_more(caplog):
    troubles = Troubles()
    troubles.met("audit", FULL)
    troubles.met("keys", FULL)
    troubles.over("audit")
    troubles.over("registry")
    assert lines(caplog) == ["the disk is full"]
    troubles.over("keys")
    troubles.over("keys")
    assert lines(caplog) == ["the disk is full", "over: the disk is full"]


def test_another_trouble_and_the_same_one_again_are_told(caplog):
    troubles = Troubles()
    troubles.met("keys", FULL)
    troubles.met("keys", GONE)
    troubles.over("keys")
    troubles.met("keys", GONE)
    assert lines(caplog) == ["the disk is full", "it is gone", "over: it is gone", "it is gone"]


def test_what_nobody_foresaw_is_told_with_its_traceback(caplog):
    try:
        raise RuntimeError("can't start new thread")
    except RuntimeError as error:
        Troubles().met("keys", error)
    assert "Traceback" in caplog.text
    assert "can't start new thread" in caplog.text
