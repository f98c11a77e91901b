"""Callers known by a certificate reach workers and metrics as the document in force has them."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.access.certificates import CertificateRing, Shown, number_of
from gateway.access.principal import NO_ROW
from gateway.config import Access
from gateway.control.certificate_table import CertificateTable
from gateway.errors import StoreFailed, Unauthenticated

pytestmark = pytest.mark.anyio

TILL = {"name": "till", "subject": "cn:till", "role": "client", "models": ["m"]}
DESK = {"name": "desk", "subject": "dns:Desk.example", "role": "viewer"}


class Office:
    """What is in force, and what was told of it."""

    def __init__(self):
        self.published = []
        self.names = {}
        self.limited: Any = lambda callers: {}
        self.born()

    def publish(self, *message):
        self.published.append(message)

    def born(self):
        """Control, or its successor."""
        self.ring = CertificateRing()
        tables: Any = self
        self.certified = CertificateTable(
            lambda: self.access,
            self.ring,
            tables,
            self.names.update,
            lambda callers: self.limited(callers),
        )

    async def say(self, *callers):
        self.access = Access(certificates=callers)
        await self.certified.refresh()

    def knows(self, name):
        try:
            return self.ring.find(Shown(frozenset({name}), 4e9)).name
        except Unauthenticated:
            return None


@pytest.fixture
def office():
    return Office()


async def test_what_changes_is_sent_and_nothing_else(office):
    await office.say(TILL)
    await office.say(TILL)
    await office.say(TILL, DESK)
    await office.say(DESK)
    rows = {"cn:till": ["till", "client", ["m"]], "dns:desk.example": ["desk", "viewer", ["*"]]}
    assert [(name, sent, gone) for name, _, sent, gone in office.published] == [
        ("certificates", {"cn:till": rows["cn:till"]}, []),
        ("certificates", {"dns:desk.example": rows["dns:desk.example"]}, []),
        ("certificates", {}, ["cn:till"]),
    ]
    assert (office.knows("cn:till"), office.knows("dns:desk.example")) == (None, "desk")


async def test_an_empty_list_is_sent_too_since_workers_wait_for_it(office):
    await office.say()
    assert [sent for _, _, sent, _ in office.published] == [{}]


async def test_a_successor_names_the_same_callers_the_same(office):
    await office.say(TILL, DESK)
    office.born()
    await office.say(DESK, TILL)
    first, second = (version for _, version, _, _ in office.published)
    assert first == second


async def test_who_is_taken_out_keeps_its_name_in_the_counts(office):
    await office.say(TILL)
    await office.say()
    assert office.names == {number_of("till"): "till"}


async def test_a_caller_takes_its_limits_along_and_the_names_of_what_they_are_of(office):
    office.limited = lambda callers: {callers[0].subject: [5, 6, 7]}
    await office.say({**TILL, "team": "shops", "tags": ["eu"]}, DESK)
    principal = office.ring.find(Shown(frozenset({"cn:till"}), 4e9))
    assert principal.rows == (5, 6, 7)
    assert [office.ring.limit_name(row) for row in (5, 6, 7, 8)] == ["till", "shops", "eu", ""]
    assert office.ring.limited == {5, 6, 7}
    assert office.ring.find(Shown(frozenset({"dns:desk.example"}), 4e9)).rows == ()


async def test_limits_that_nobody_can_say_leave_a_caller_known_until_somebody_can(office):
    def fails(callers):
        raise StoreFailed("the disk is busy")

    office.limited = fails
    await office.say(TILL)
    assert office.certified.lacking
    assert office.ring.find(Shown(frozenset({"cn:till"}), 4e9)).rows == (NO_ROW,)
    office.limited = lambda callers: {"cn:till": [3]}
    await office.say(TILL)
    assert not office.certified.lacking
    assert office.ring.find(Shown(frozenset({"cn:till"}), 4e9)).rows == (3,)
