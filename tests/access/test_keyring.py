"""Who stands behind a credential, and until when."""

from __future__ import annotations

import pytest

from gateway.access.keyring import Keyring
from gateway.access.keys import MAX_KEY_BYTES, digest, is_name, new_key
from gateway.access.roles import Permission
from gateway.errors import Forbidden, Unauthenticated

SECRET = b"s" * 32
NOW = 1000.0


@pytest.fixture
def clock():
    return [NOW]


@pytest.fixture
def ring(clock):
    return Keyring(SECRET, clock=lambda: clock[0])


def row(number=1, name="ann", role="client", models=None, until=None):
    return [number, name, role, models, until]


def digest_of(raw):
    return digest(SECRET, raw.encode())


def refusal(ring, credential):
    with pytest.raises(Unauthenticated) as refused:
        ring.find(credential)
    return str(refused.value)


def test_keys_are_long_and_never_the_same():
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith("psk_") and len(key) == 36 and key.isascii() for key in keys)


def test_a_key_stands_for_its_principal(ring):
    raw = new_key()
    ring.replace({digest_of(raw): row(7, "ann", "client", ["m"])})
    found = ring.find(raw.encode())
    assert (found.id, found.name, found.role) == (7, "ann", "client")
    assert found.may_call("m")
    assert not found.may_call("n")


def test_rows_of_limits_are_known_by_the_names_of_key_team_and_tags(ring):
    ring.replace({"a": [*row(7, "ann", "client", ["m"]), [3, 8, 9], ["web", "eu"]]})
    assert [ring.limit_name(number) for number in (3, 8, 9, 4)] == ["ann", "web", "eu", ""]
    ring.change({"b": [*row(8, "bob", "client", ["m"]), [4, 9], ["eu"]]}, [])
    ring.change({"c": [*row(9, "eve", "client", ["m"]), [5]]}, ["a"])  # nobody can say its limits
    assert [ring.limit_name(number) for number in (4, 9, 5)] == ["bob", "eu", ""]
    assert ring.limited == {4, 9, 5}


def test_unknown_expired_revoked_and_long_credentials_are_refused_in_the_same_words(ring, clock):
    known, expired, revoked = new_key(), new_key(), new_key()
    rows = {digest_of(key): row() for key in (known, revoked)}
    ring.replace(rows | {digest_of(expired): row(until=NOW + 1)})
    assert ring.find(expired.encode())
    clock[0] = NOW + 1
    ring.change({}, [digest_of(revoked)])
    words = {
        refusal(ring, credential)
        for credential in (
            new_key().encode(),
            expired.encode(),
            revoked.encode(),
            known[:-1].encode(),
            known.encode() + b"x",
            b"psk_" + b"k" * MAX_KEY_BYTES,
        )
    }
    assert len(words) == 1
    assert ring.find(known.encode())


def test_what_is_no_key_of_ours_by_its_form_is_told_how_ours_begin(ring):
    known = new_key()
    ring.replace({digest_of(known): row()})
    words = {
        refusal(ring, credential)
        for credential in (
            b"sk-a-provider's",
            known.upper().encode(),
            b"k" * (MAX_KEY_BYTES + 1),
            digest_of(known).encode(),  # what the database holds opens nothing
        )
    }
    assert words == {
        "credentials: not known, expired, or revoked: keys of this gateway begin with 'psk_',"
        " and it takes no others"
    }


def test_who_remembers_a_principal_sees_that_it_was_taken_back(ring):
    first, second = new_key(), new_key()
    ring.replace({digest_of(first): row(1), digest_of(second): row(2)})
    one, two = ring.find(first.encode()), ring.find(second.encode())
    ring.change({}, [digest_of(first)])
    assert (one.until, two.until > NOW) == (0.0, True)
    ring.replace({digest_of(second): row(2, models=["m"])})
    assert two.until == 0.0
    assert ring.find(second.encode()).models == {"m"}


def test_a_changed_row_is_another_principal(ring):
    raw = new_key()
    ring.replace({digest_of(raw): row()})
    before = ring.find(raw.encode())
    ring.change({digest_of(raw): row(until=NOW + 5)}, [])
    assert before.until == 0.0
    assert ring.find(raw.encode()).until == NOW + 5


def test_a_role_may_what_its_row_says_and_nothing_else(ring):
    raw = new_key()
    ring.replace({digest_of(raw): row(role="viewer")})
    viewer = ring.find(raw.encode())
    viewer.require(Permission.READ)
    for other in (Permission.INFER, Permission.OPERATE, Permission.ADMINISTER):
        with pytest.raises(Forbidden, match=other.value):
            viewer.require(other)


@pytest.mark.parametrize("name", ["", "other", "token", "a b", "-a", "a\n", "é", "a" * 65, 'a"'])
def test_names_that_would_not_do_as_labels_are_none(name):
    assert not is_name(name)


def test_ordinary_names_are_names():
    assert all(is_name(name) for name in ("a", "team-a.prod_2", "0"))
