"""Files of certificates that a client is told to trust or to show."""

from __future__ import annotations

import ssl

import pytest
from cryptography.hazmat.primitives import serialization

from gateway.client import Client
from gateway.client.tls import context
from gateway.errors import ConfigInvalid
from tests.certificates import PEM, Authority


@pytest.fixture
def authority(tmp_path) -> Authority:
    made = Authority(tmp_path)
    made.issue()
    return made


def test_without_files_httpx_decides():
    assert context(True, None) is True
    assert context(False, None) is False


def test_a_file_names_the_issuers_that_are_trusted(authority):
    made = context(authority.file, None)
    assert isinstance(made, ssl.SSLContext)
    assert made.check_hostname
    assert made.verify_mode is ssl.CERT_REQUIRED
    assert made.minimum_version is ssl.TLSVersion.TLSv1_2
    assert len(made.get_ca_certs()) == 1


def test_a_certificate_is_loaded_into_a_context_of_the_callers(authority):
    mine = authority.client()
    assert context(mine, (authority.certificate, authority.key)) is mine


def test_nothing_is_read_where_there_is_no_tls(tmp_path):
    Client("http://127.0.0.1:1", verify=tmp_path / "none", cert=tmp_path / "none").close()


@pytest.mark.parametrize("missing", ["issuers", "certificate", "key"])
def test_a_file_that_is_not_there_is_named(authority, tmp_path, missing):
    verify, cert = authority.file, (authority.certificate, authority.key)
    gone = {
        "issuers": (tmp_path / "gone", cert),
        "certificate": (verify, (tmp_path / "gone", authority.key)),
        "key": (verify, (authority.certificate, tmp_path / "gone")),
    }
    with pytest.raises(ConfigInvalid, match=r"gone.*: No such file or directory"):
        context(*gone[missing])


def test_what_is_no_certificate_is_named(authority, tmp_path):
    (tmp_path / "text").write_text("hello")
    for verify, cert in ((tmp_path / "text", None), (authority.file, tmp_path / "text")):
        with pytest.raises(ConfigInvalid, match=r"text: expected .*PEM certificate"):
            context(verify, cert)


def test_a_key_with_a_password_is_refused_rather_than_asked_for(authority, tmp_path):
    key = serialization.load_pem_private_key(authority.key.read_bytes(), None)
    locked = tmp_path / "locked"
    secret = serialization.BestAvailableEncryption(b"password")
    locked.write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, secret))
    with pytest.raises(ConfigInvalid, match="locked: expected a key without a password"):
        context(authority.file, (authority.certificate, locked))
