"""Which credential counts where a request comes with several."""

from __future__ import annotations

from typing import get_args

import pytest

from gateway.access.certificates import CertificateRing, Shown
from gateway.access.credentials import Credentials
from gateway.access.keyring import Keyring
from gateway.access.keys import digest
from gateway.access.roles import ROLES, Role
from gateway.errors import Unauthenticated

SECRET = b"s" * 32
KEY = b"psk_" + b"a" * 32
CERTIFICATE = Shown(frozenset({"cn:till"}), until=4e9)
BEARER = [(b"authorization", b"Bearer " + KEY)]


@pytest.fixture
def credentials():
    keyring, certificates = Keyring(SECRET), CertificateRing()
    keyring.replace({digest(SECRET, KEY): [7, "ann", "client", None, None]})
    certificates.replace({"cn:till": ["till", "client", None]})
    return Credentials(keyring, certificates)


@pytest.mark.parametrize(
    ("headers", "shown", "name"),
    [
        pytest.param(BEARER, None, "ann", id="key"),
        pytest.param([], CERTIFICATE, "till", id="certificate"),
        pytest.param(BEARER, CERTIFICATE, "ann", id="key-before-certificate"),
    ],
)
def test_a_key_in_the_request_goes_before_the_certificate_of_its_connection(
    credentials, headers, shown, name
):
    assert credentials.find(headers, shown).name == name


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([(b"x-api-key", b"psk_" + b"b" * 32)], id="unknown-key"),
        pytest.param([(b"authorization", b"Basic abc")], id="no-key-at-all"),
    ],
)
def test_no_certificate_makes_a_bad_key_good(credentials, headers):
    with pytest.raises(Unauthenticated):
        credentials.find(headers, CERTIFICATE)


def test_who_shows_nothing_is_nobody(credentials):
    with pytest.raises(Unauthenticated):
        credentials.find([], None)


def test_documents_may_name_exactly_the_roles_that_mean_something():
    assert get_args(Role) == tuple(ROLES)
