"""Keys in the store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.access.keyring import Keyring
from gateway.control.keys import Keys
from gateway.control.store import Store
from gateway.errors import Conflict, InvalidParameter, NotFound, Unauthenticated
from tests.control.auditing import ANN

SECRET = b"s" * 32
NOW = 1000.0


@pytest.fixture
def clock():
    return [NOW]


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path) as opened:
        yield opened


@pytest.fixture
def keys(store, clock):
    return Keys(store, SECRET, lambda: clock[0])


class Follower:
    """A keyring that is told what changed, as workers are."""

    def __init__(self, keys, clock):
        self.keys, self.clock = keys, clock
        self.ring = Keyring(SECRET, clock=lambda: clock[0])
        self.version = None
        self.looked_at = 0.0

    def follow(self):
        found = self.keys.changed(self.version, self.looked_at)
        if self.version is None:
            assert found.dropped == []
            self.ring.replace(found.rows)
        else:
            self.ring.change(found.rows, found.dropped)
        self.version, self.looked_at = found.version, self.clock[0]
        return len(found.rows), len(found.dropped)

    def knows(self, raw):
        try:
            return self.ring.find(raw.encode()).name
        except Unauthenticated:
            return None


@pytest.fixture
def follower(keys, clock):
    return Follower(keys, clock)


def test_a_raw_key_is_nowhere_in_the_store(keys, store, tmp_path):
    _, raw = keys.create(ANN, "app", "client", ["m"], NOW + 60)
    _, next_raw = keys.rotate(ANN, 1)
    keys.revoke(ANN, 2)
    store.close()
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert raw.encode() not in written
    assert next_raw.encode() not in written
    assert b"app" in written


def test_every_change_is_written_down_without_digests(keys, store):
    keys.create(ANN, "app", "client", ["m"])
    keys.rotate(replace(ANN, who="bob"), 1, overlap_s=60)
    keys.revoke(replace(ANN, who="cat"), 2)
    with store.read() as db:
        changes = [tuple(row) for row in db.execute("SELECT who, action, subject FROM audit")]
        told = "".join(str(tuple(row)) for row in db.execute("SELECT * FROM audit"))
        digests = [row["digest"] for row in db.execute("SELECT digest FROM keys")]
    assert changes == [
        ("ann", "key create", "1:app"),
        ("bob", "key rotate", "2:app"),
        ("bob", "key expire", "1:app"),
        ("cat", "key revoke", "2:app"),
    ]
    assert not any(digest in told for digest in digests)


def test_followers_are_told_what_changed_and_no_more(keys, clock, follower):
    raws = [keys.create(ANN, f"app{n}", "client")[1] for n in range(3)]
    assert follower.follow() == (3, 0)
    assert follower.follow() == (0, 0)
    keys.revoke(ANN, 2)
    assert follower.follow() == (0, 1)
    assert [follower.knows(raw) for raw in raws] == ["app0", None, "app2"]


def test_what_expires_is_dropped_without_a_change(keys, clock, follower):
    _, raw = keys.create(ANN, "app", "client", expires_at=NOW + 60)
    assert follower.follow() == (1, 0)
    assert follower.knows(raw) == "app"
    clock[0] = NOW + 60
    assert follower.knows(raw) is None
    assert follower.follow() == (0, 1)
    assert follower.follow() == (0, 0)


def test_only_active_keys_are_told_to_who_has_nothing(keys, clock, follower):
    keys.create(ANN, "gone", "client")
    keys.revoke(ANN, 1)
    keys.create(ANN, "late", "client", expires_at=NOW + 1)
    keys.create(ANN, "good", "client")
    clock[0] = NOW + 1
    assert follower.follow() == (1, 0)


def test_a_rotated_key_is_good_for_the_overlap(keys, clock, follower):
    _, old = keys.create(ANN, "app", "client", ["m"])
    fresh, new = keys.rotate(ANN, 1, overlap_s=60)
    follower.follow()
    assert (fresh.name, fresh.role, fresh.models) == ("app", "client", ("m",))
    assert (follower.knows(old), follower.knows(new)) == ("app", "app")
    clock[0] = NOW + 60
    assert (follower.knows(old), follower.knows(new)) == (None, "app")


def test_rotated_without_an_overlap_the_old_key_ends_at_once(keys, follower):
    _, old = keys.create(ANN, "app", "client")
    _, new = keys.rotate(ANN, 1)
    follower.follow()
    assert (follower.knows(old), follower.knows(new)) == (None, "app")


def test_an_overlap_never_makes_a_key_live_longer(keys, clock, follower):
    _, old = keys.create(ANN, "app", "client", expires_at=NOW + 10)
    clock[0] = NOW + 5
    fresh, _ = keys.rotate(ANN, 1, overlap_s=3600)
    assert fresh.expires_at == NOW + 15
    clock[0] = NOW + 10
    follower.follow()
    assert follower.knows(old) is None


def test_when_a_key_was_used_is_noted_without_telling_anybody(keys, store, follower):
    keys.create(ANN, "app", "client")
    follower.follow()
    before = store.generation()
    keys.used({1: NOW + 5, 99: NOW})
    keys.used({1: NOW + 3})
    assert keys.all()[0].last_used_at == NOW + 5
    assert (store.generation(), follower.follow()) == (before, (0, 0))


def test_what_cannot_be_is_refused(keys, clock):
    keys.create(ANN, "app", "client")
    for faulty, what in (
        (("b c", "client"), "name"),
        (("b", "root"), "role"),
        (("b", "client", []), "models"),
        (("b", "client", ["../x"]), "name"),
        (("b", "client", ["m"], NOW), "expires"),
    ):
        with pytest.raises(InvalidParameter, match=what):
            keys.create(ANN, *faulty)
    with pytest.raises(Conflict, match="exists"):
        keys.create(ANN, "app", "client")
    with pytest.raises(NotFound):
        keys.revoke(ANN, 9)
    keys.revoke(ANN, 1)
    with pytest.raises(Conflict, match="revoked"):
        keys.revoke(ANN, 1)
    with pytest.raises(Conflict, match="revoked"):
        keys.rotate(ANN, 1)
    assert keys.create(ANN, "app", "client")[0].id == 2


def test_whether_a_role_has_an_active_key(keys, clock):
    assert not keys.has_active("admin")
    keys.create(ANN, "boss", "admin", expires_at=NOW + 5)
    assert keys.has_active("admin")
    clock[0] = NOW + 5
    assert not keys.has_active("admin")


def test_a_look_at_the_store_sees_that_somebody_else_changed_it(store, keys, tmp_path):
    before = store.data_version()
    assert store.data_version() == before
    with Store.open(tmp_path) as other:
        Keys(other, SECRET).create(ANN, "app", "client")
    assert store.data_version() != before


def test_keys_are_made_with_one_secret(keys, store, clock):
    other = Keys(store, b"o" * 32, lambda: clock[0])
    other.check_secret()
    keys.create(ANN, "app", "client")
    keys.check_secret()
    for change in (other.check_secret, lambda: other.create(ANN, "b", "client")):
        with pytest.raises(Conflict, match="another secret"):
            change()
    with pytest.raises(Conflict, match="another secret"):
        other.rotate(ANN, 1)
    assert [key.name for key in keys.all()] == ["app"]
    other.revoke(ANN, 1)
    other.create(ANN, "b", "client")
    other.check_secret()
    with pytest.raises(Conflict, match="another secret"):
        keys.check_secret()


def test_a_key_from_elsewhere_is_one_like_any_other(keys, follower):
    raw = "psk_" + "k" * 32
    key, made = keys.adopt(ANN, "root", "admin", raw)
    follower.follow()
    assert (key.name, key.role, made, follower.knows(raw)) == ("root", "admin", True, "root")


def test_a_key_from_elsewhere_is_made_once(keys):
    raw, other = "psk_" + "k" * 32, "psk_" + "o" * 32
    first, _ = keys.adopt(ANN, "root", "admin", raw, if_missing=True)
    assert keys.adopt(ANN, "root", "admin", raw, if_missing=True) == (first, False)
    assert keys.adopt(ANN, "root", "admin", other, if_missing=True) == (first, False)
    with pytest.raises(Conflict, match="this key was made before"):
        keys.adopt(ANN, "another", "admin", raw)
    with pytest.raises(Conflict, match="'root' exists"):
        keys.adopt(ANN, "root", "admin", other)
    # Whoever revoked it meant it: a container that starts anew does not bring it back.
    keys.revoke(ANN, first.id)
    assert keys.adopt(ANN, "root", "admin", raw, if_missing=True)[0].revoked_at is not None
    assert keys.adopt(ANN, "root", "admin", other, if_missing=True)[1]
