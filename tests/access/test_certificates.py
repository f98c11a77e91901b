"""Whom a client certificate stands for, and until when."""

from __future__ import annotations

import datetime
import gc

import pytest

from gateway.access.certificates import CertificateRing, Shown, number_of, read_certificate
from gateway.access.principal import CERTIFICATES, LOCAL
from gateway.errors import Unauthenticated

NOW = 1000.0
PEER = {
    "subject": ((("organizationName", "Shop"),), (("commonName", "shop"),)),
    "subjectAltName": (
        ("DNS", "Shop.Example"),
        ("URI", "spiffe://prod/shop"),
        ("email", "root@shop.example"),
    ),
    "notAfter": "May  6 07:08:09 2031 GMT",
    "serialNumber": "0A1B",
}
NAMES = ("cn:shop", "dns:shop.example", "uri:spiffe://prod/shop")


@pytest.fixture
def clock():
    return [NOW]


@pytest.fixture
def ring(clock):
    return CertificateRing(clock=lambda: clock[0])


def shown(*names, until=NOW + 100):
    return Shown(frozenset(names), until, "0A1B")


def row(name="shop", role="client", models=("*",)):
    return [name, role, list(models)]


def test_a_certificate_is_known_by_its_common_name_and_two_kinds_of_alternative_names():
    found = read_certificate(PEER)
    assert found is not None
    assert (found.names, found.serial) == (frozenset(NAMES), "0A1B")
    assert found.until == datetime.datetime(2031, 5, 6, 7, 8, 9, tzinfo=datetime.UTC).timestamp()


@pytest.mark.parametrize("peer", [None, {}], ids=["plain", "unverified"])
def test_what_was_not_verified_is_no_certificate(peer):
    assert read_certificate(peer) is None


@pytest.mark.parametrize("name", NAMES)
def test_a_name_stands_for_its_principal(ring, name):
    ring.replace({name: row("shop", "client", ["m"])})
    found = ring.find(shown(*NAMES))
    assert (found.name, found.role, found.until) == ("shop", "client", NOW + 100)
    assert (found.may_call("m"), found.may_call("n")) == (True, False)
    assert found.shown == "certificate 0A1B"


@pytest.mark.parametrize(
    "names",
    [(), ("cn:other",), ("dns:shop",), ("cn:shop", "dns:admin")],
    ids=["nameless", "unknown", "another-kind", "two-principals"],
)
def test_what_stands_for_nobody_or_for_two_is_refused(ring, names):
    ring.replace({"cn:shop": row(), "dns:admin": row("admin", "admin")})
    with pytest.raises(Unauthenticated):
        ring.find(shown(*names))


def test_a_certificate_stands_for_nobody_once_it_has_ended(ring, clock):
    ring.replace({"cn:shop": row()})
    mine = shown("cn:shop")
    assert ring.find(mine) is ring.find(mine)
    clock[0] = NOW + 100
    with pytest.raises(Unauthenticated):
        ring.find(mine)


def test_whoever_remembers_a_principal_sees_that_it_was_taken_back(ring):
    ring.replace({"cn:shop": row(), "cn:till": row("till")})
    mine, theirs = shown("cn:shop"), shown("cn:till")
    remembered = ring.find(mine), ring.find(theirs)
    ring.change({}, ["cn:shop"])
    assert [one.until for one in remembered] == [0.0, 0.0]
    with pytest.raises(Unauthenticated):
        ring.find(mine)
    assert ring.find(theirs).name == "till"


def test_a_principal_narrowed_by_a_change_is_found_anew(ring):
    ring.replace({"cn:shop": row(role="admin")})
    mine = shown("cn:shop")
    assert ring.find(mine).role == "admin"
    ring.change({"cn:shop": row(role="viewer")}, [])
    assert ring.find(mine).role == "viewer"


def test_what_nobody_remembers_any_more_takes_no_memory(ring):
    ring.replace({"cn:shop": row()})
    for _ in range(100):
        ring.find(shown("cn:shop"))
    gc.collect()
    assert len(ring._given) == 0


def test_certificates_are_counted_by_name_and_under_no_keys_number():
    assert number_of("shop") == number_of("shop") < CERTIFICATES < LOCAL
    assert number_of("shop") != number_of("till")
