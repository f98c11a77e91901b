"""Keys, and what their requests count against."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from gateway.access.allowance import UNLIMITED, Allowance, read_budgets
from gateway.access.certificates import CertificateRing, Shown
from gateway.access.keyring import Keyring
from gateway.access.principal import NO_ROW
from gateway.config import parse
from gateway.control.certificate_table import CertificateTable
from gateway.control.key_limits import KeyLimits
from gateway.control.key_table import RETRY_S, KeyTable
from gateway.control.key_values import Belongs
from gateway.control.keys import Keys
from gateway.control.spend_report import lines
from gateway.control.spend_store import SpendStore
from gateway.control.spending import Spending
from gateway.control.store import Store
from gateway.control.team_table import TeamTable
from gateway.errors import (
    BudgetExceeded,
    InvalidParameter,
    LimitsUnavailable,
    RateLimited,
    StoreFailed,
)
from gateway.llm.limits.shared import SharedLimits
from gateway.monitor.arena import Arena
from tests.control.auditing import ANN

SECRET = b"s" * 32


def limited(*budgets, **rates):
    return Allowance(read_budgets(budgets, "budgets"), **rates)


class Rig:
    """Control's part of keys, as `main` puts it together, and one worker."""

    def __init__(self, home, arena=None):
        self.store = Store.open(home)
        self.keys = Keys(self.store, SECRET)
        self.arena = arena or Arena.create(1)
        self.worker = SharedLimits(self.arena, 0, self.named)
        self.document = ""
        self.ring = CertificateRing()
        self.spending = Spending(self.arena, SpendStore(self.store))
        self.limits = KeyLimits(
            self.spending,
            lambda: parse(self.document).llm,
            lambda: self.table.keyring.limited | self.ring.limited,
        )
        certificates = CertificateTable(
            lambda: parse(self.document).access,
            self.ring,
            None,
            lambda names: None,
            self.limits.rows_of_certificates,
        )
        self.table = KeyTable(
            self.store, self.keys, Keyring(SECRET), certificates, None, self.limits.rows_of
        )

    def named(self, row):
        return self.table.keyring.limit_name(row) or self.ring.limit_name(row)

    def refresh(self):
        asyncio.run(self.table.refresh())

    def rows(self, raw):
        return self.table.keyring.find(raw.encode()).rows

    def certified(self, subject):
        return self.ring.find(Shown(frozenset({subject}), 4e9)).rows

    def spend(self, raw, tokens=1):
        self.use(self.rows(raw), tokens)

    def use(self, rows, tokens=1):
        self.worker.reserve(rows, 0, tokens, 10**12).settle(0, tokens)


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path)
    yield rig
    rig.store.close()


def test_a_key_counts_against_itself_its_team_and_its_tags(rig):
    belongs = Belongs("search", ("batch", "eu"), limited("5tokens/day"))
    _, raw = rig.keys.create(ANN, "app", "client", belongs=belongs)
    _, other = rig.keys.create(ANN, "neighbour", "client", belongs=Belongs("search", ("eu",)))
    rig.refresh()
    assert len(set(rig.rows(raw))) == 4
    assert rig.rows(other)[1:] == (rig.rows(raw)[1], rig.rows(raw)[3])
    rig.spend(raw, 5)
    with pytest.raises(BudgetExceeded, match="of key 'app' "):
        rig.spend(raw)
    rig.spend(other, 5)
    rig.spending.look()
    found = {(line.kind, line.name): line.total[1] for line in lines(rig.store, 0.0)}
    assert found == {
        ("key", "app"): 5,
        ("key", "neighbour"): 5,
        ("team", "search"): 10,
        ("tag", "batch"): 5,
        ("tag", "eu"): 10,
    }


def test_the_document_says_what_teams_and_tags_may_and_may_change_it(rig):
    _, raw = rig.keys.create(ANN, "app", "client", belongs=Belongs("search", ("eu",)))
    rig.document = "llm: {teams: {search: {budgets: [3tokens/day]}}}"
    rig.refresh()
    rig.spend(raw, 3)
    with pytest.raises(BudgetExceeded, match="of team 'search' "):
        rig.spend(raw)
    rig.document = "llm: {tags: {eu: {requests_per_minute: 2}}}"
    rig.limits.look()
    rig.spend(raw)
    rig.spend(raw)
    with pytest.raises(RateLimited, match="of tag 'eu':"):
        rig.spend(raw)
    rig.document = ""
    rig.limits.look()
    rig.spend(raw)


def test_a_changed_key_is_in_force_with_the_next_look(rig):
    key, raw = rig.keys.create(ANN, "app", "client", ["a"])
    rig.refresh()
    rig.spend(raw, 10)
    changed = rig.keys.set(
        ANN, key.id, ["a", "b"], lambda before: Belongs("t", (), limited("10tokens/day"))
    )
    assert (changed.models, changed.belongs.team) == (("a", "b"), "t")
    rig.refresh()
    assert rig.table.keyring.find(raw.encode()).may_call("b")
    with pytest.raises(BudgetExceeded):
        rig.spend(raw)
    entry = rig.store.read
    with entry() as db:
        action, before = db.execute(
            "SELECT action, before FROM audit ORDER BY id DESC LIMIT 1"
        ).fetchone()
    assert action == "key set"
    assert '"team":null' in before


def test_a_key_that_takes_another_s_place_has_what_that_left(rig):
    belongs = Belongs(None, ("eu",), limited("10tokens/total"))
    old, raw = rig.keys.create(ANN, "app", "client", belongs=belongs)
    rig.refresh()
    rig.spend(raw, 7)
    new, fresh = rig.keys.rotate(ANN, old.id, overlap_s=60)
    rig.refresh()
    assert rig.rows(raw) == rig.rows(fresh)
    rig.spend(fresh, 3)
    for one in (raw, fresh):
        with pytest.raises(BudgetExceeded):
            rig.spend(one)
    rig.keys.set(ANN, new.id, None, lambda before: Belongs(None, (), limited("11tokens/total")))
    rig.refresh()
    rig.spend(raw)
    with pytest.raises(BudgetExceeded):
        rig.spend(fresh)


def test_who_makes_no_requests_has_no_limits(rig):
    _, raw = rig.keys.create(ANN, "ops", "admin")
    rig.refresh()
    assert rig.rows(raw) == ()


def test_a_key_is_known_although_nobody_can_say_its_limits_and_503_is_not_401(tmp_path):
    small = Arena.create(1, 16 << 20)  # no room for a table
    rig = Rig(tmp_path, small)
    _, raw = rig.keys.create(ANN, "app", "client")
    rig.refresh()
    assert rig.table.keyring.find(raw.encode()).name == "app"
    with pytest.raises(LimitsUnavailable):
        rig.spend(raw)
    rig.store.close()


@pytest.mark.parametrize(
    "belongs",
    [
        Belongs("a b"),
        Belongs("other"),
        Belongs(None, ("x" * 65,)),
        Belongs(None, ("a", "a")),
        Belongs(None, ("a", "b", "c", "d", "e")),
    ],
    ids=str,
)
def test_names_that_cannot_be_labels_are_refused(rig, belongs):
    with pytest.raises(InvalidParameter):
        rig.keys.create(ANN, "app", "client", belongs=belongs)
    key, _ = rig.keys.create(ANN, "fine", "client")
    with pytest.raises(InvalidParameter):
        rig.keys.set(ANN, key.id, None, lambda _: belongs)


CERTIFIED = """
server: {tls: {certificate: s.pem, key: s.key, client_ca: c.pem}}
access:
  certificates:
    - {name: till, subject: "cn:till", role: client, team: shops, limits: {budgets: [5tokens/day]}}
    - {name: till, subject: "cn:till-2", role: client, tags: [eu], limits: {budgets: [5tokens/day]}}
    - {name: desk, subject: "cn:desk", role: client, team: shops}
    - {name: scraper, subject: "cn:scraper", role: viewer, team: shops}
llm: {teams: {shops: {budgets: [8tokens/total]}}}
"""


def test_a_certificate_counts_against_its_name_its_team_and_its_tags_as_a_key_does(rig):
    _, key = rig.keys.create(ANN, "till", "client", belongs=Belongs("shops"))
    rig.document = CERTIFIED
    rig.refresh()
    till, again, desk = map(rig.certified, ("cn:till", "cn:till-2", "cn:desk"))
    assert (till[0], till[1]) == (again[0], desk[1])
    assert rig.rows(key)[0] != till[0]
    assert rig.rows(key)[1] == till[1]
    assert rig.certified("cn:scraper") == ()  # whose role asks no model
    rig.use(till, 3)
    rig.use(again, 2)
    with pytest.raises(BudgetExceeded, match="of certificate 'till' "):
        rig.use(again)
    rig.use(desk, 4)
    rig.spend(key, 1)
    with pytest.raises(BudgetExceeded, match="of team 'shops' "):
        rig.use(desk)
    rig.spending.look()
    assert {one.owner: one.total[1] for one in lines(rig.store, time.time())} == {
        "certificate:till": 5,
        "certificate:desk": 4,
        "key:1": 1,
        "team:shops": 8,
        "tag:eu": 2,
    }


def test_limits_of_a_certificate_that_change_are_in_force_with_what_was_spent(rig):
    rig.document = CERTIFIED
    rig.refresh()
    rows = rig.certified("cn:till")
    rig.use(rows, 5)
    rig.document = CERTIFIED.replace("5tokens/day", "6tokens/day")
    rig.refresh()
    assert rig.certified("cn:till") == rows
    rig.use(rows)
    with pytest.raises(BudgetExceeded):
        rig.use(rows)


class Sent:
    """What workers are sent of teams."""

    def __init__(self):
        self.messages = []

    def publish(self, name, version, rows, dropped):
        self.messages.append((name, rows, dropped))
        self.version = version


def teams_of(rig, sent):
    tables: Any = sent
    return TeamTable(lambda: parse(rig.document).llm.teams, rig.limits.rows_of_teams, tables)


def test_teams_that_tokens_may_name_are_the_same_that_keys_are_of(rig):
    _, key = rig.keys.create(ANN, "app", "client", belongs=Belongs("web"))
    rig.document = "llm: {teams: {web: {budgets: [5tokens/day]}, ops: {}}}"
    rig.refresh()
    sent = Sent()
    teams = teams_of(rig, sent)
    asyncio.run(teams.look())
    asyncio.run(teams.look())
    ((name, rows, dropped),) = sent.messages
    assert (name, set(rows), dropped) == ("teams", {"web", "ops"}, [])
    assert rows["web"] == rig.rows(key)[1]
    assert teams.limited == set(rows.values())
    rig.use([rows["web"]], 3)
    rig.spend(key, 2)
    with pytest.raises(BudgetExceeded):
        rig.use([rows["web"]])
    rig.document = "llm: {teams: {web: {budgets: [6tokens/day]}, new: {}}}"
    asyncio.run(teams.look())
    _, fresh, gone = sent.messages[1]
    assert (list(fresh), gone) == (["new"], ["ops"])
    rig.use([rows["web"]])
    successor = Sent()
    asyncio.run(teams_of(rig, successor).look())
    assert successor.version == sent.version


def test_teams_whose_limits_nobody_can_say_refuse_until_somebody_can(rig):
    sent = Sent()
    tables: Any = sent
    failures = [StoreFailed("the disk is busy")]

    def at_the_second_time(names):
        if failures:
            raise failures.pop()
        return dict.fromkeys(names, 3)

    teams = TeamTable(lambda: ["web"], at_the_second_time, tables)
    with pytest.raises(StoreFailed):
        asyncio.run(teams.look())
    asyncio.run(teams.look())
    assert [rows for _, rows, _ in sent.messages] == [{"web": NO_ROW}, {"web": 3}]


def test_a_hundred_thousand_keys_each_have_a_row(rig):
    everybody = {f"key:{number}": UNLIMITED for number in range(1, 100_001)}
    rows = rig.spending.follow(everybody, set)
    assert sorted(rows.values()) == list(range(100_000))
    rig.worker.reserve([rows["key:99999"]], 3, 4, 10**12).settle(3, 4)
    rig.spending.look()
    assert list(SpendStore(rig.store).all()) == ["key:99999"]


def test_limits_that_nobody_could_say_are_asked_for_again_a_second_later(rig):
    _, raw = rig.keys.create(ANN, "app", "client")
    failures = [StoreFailed("the disk is busy")]
    now = 100.0

    def at_the_second_time(keys):
        if failures:
            raise failures.pop()
        return rig.limits.rows_of(keys)

    rig.table = KeyTable(
        rig.store,
        rig.keys,
        Keyring(SECRET),
        rig.table.certificates,
        None,
        at_the_second_time,
        lambda: now,
    )
    asyncio.run(rig.table.look())
    assert rig.rows(raw) == (NO_ROW,)
    now += RETRY_S
    asyncio.run(rig.table.look())
    assert rig.rows(raw) != (NO_ROW,)
