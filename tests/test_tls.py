from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest

from gateway.errors import ConfigInvalid
from gateway.tls import Certificates, trusting
from tests.certificates import Authority, serial


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path / "tls")
    made.issue()
    return made


def shake_hands(
    server: ssl.SSLContext, client: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends of a connection in memory, or what either of them objects to."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname="localhost", session=session),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    done: set[int] = set()
    for _ in range(8):
        for number, end in enumerate(ends):
            try:
                end.do_handshake()
                done.add(number)
            except ssl.SSLWantReadError:
                continue
        if len(done) == 2:
            return ends
    raise AssertionError("no end of shaking hands")


def resumable(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLSession:
    """A session that may be resumed; in TLS 1.3 it comes with the first data."""
    asking, serving = shake_hands(server, client)
    serving.write(b"x")
    asking.read(1)
    assert asking.session is not None
    return asking.session


def test_a_certificate_serves_clients_that_trust_its_issuer(authority):
    found = Certificates(authority.settings(), "server.tls")
    asking, _ = shake_hands(found.context, authority.client())
    shown = asking.getpeercert() or {}
    assert shown["subjectAltName"] == (
        ("DNS", "localhost"),
        ("IP Address", "127.0.0.1"),
    )
    assert asking.version() == "TLSv1.3"
    assert found.fault == ""


def test_the_end_of_a_certificate_is_known(authority):
    end = datetime.datetime(2031, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)
    authority.issue(not_after=end)
    assert Certificates(authority.settings(), "server.tls").expires == end.timestamp()


def test_versions_below_1_2_are_refused(authority):
    context = Certificates(authority.settings(), "server.tls").context
    old = authority.client()
    with pytest.warns(DeprecationWarning, match="deprecated"):
        old.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="deprecated"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        shake_hands(context, old)


def test_version_1_2_is_served(authority):
    context = Certificates(authority.settings(), "server.tls").context
    older = authority.client()
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    assert shake_hands(context, older)[0].version() == "TLSv1.2"


def test_an_expired_certificate_serves_and_is_a_fault(authority):
    authority.issue(not_after=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
    found = Certificates(authority.settings(), "server.tls")
    assert found.expires == 0.0
    assert (
        found.fault == f"server.tls.certificate: {authority.certificate}: certificate has expired"
    )
    careless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    careless.check_hostname, careless.verify_mode = False, ssl.CERT_NONE
    assert shake_hands(found.context, careless)[0].version() == "TLSv1.3"


def _garbage(authority: Authority) -> str:
    authority.certificate.write_text("no certificate")
    return "expected a PEM certificate"


def _no_key(authority: Authority) -> str:
    authority.key.unlink()
    return f"server.tls.key: {authority.key}: No such file or directory"


def _other_key(authority: Authority) -> str:
    authority.ca.issue_cert("other").private_key_pem.write_to_path(str(authority.key))
    return f"{authority.key} is not the key of {authority.certificate}"


def _encrypted_key(authority: Authority) -> str:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(authority.key.read_bytes(), None)
    authority.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        )
    )
    return "expected a key without a password, got an encrypted one"


def _bad_authority(authority: Authority) -> str:
    authority.file.write_text("none")
    return f"server.tls.client_ca: expected PEM certificates in {authority.file}, got none"


@pytest.mark.parametrize("spoil", [_garbage, _no_key, _other_key, _encrypted_key, _bad_authority])
def test_files_that_cannot_serve_are_named(authority, spoil):
    words = spoil(authority)
    with pytest.raises(ConfigInvalid) as caught:
        Certificates(authority.settings(client_ca=authority.file), "server.tls")
    assert words in str(caught.value)


@pytest.mark.parametrize("spoil", [_garbage, _no_key, _other_key, _encrypted_key, _bad_authority])
def test_files_that_go_bad_leave_the_last_good_ones_in_force(authority, spoil):
    found = Certificates(authority.settings(client_ca=authority.file), "server.tls")
    before = found.context
    words = spoil(authority)
    assert found.refresh() is False
    assert words in found.fault
    assert found.context is before
    authority.ca.cert_pem.write_to_path(str(authority.file))
    authority.issue()
    assert found.refresh() is True
    assert found.fault == ""


def test_a_certificate_with_names_that_are_no_text_is_not_taken(authority):
    found = Certificates(authority.settings(), "server.tls")
    before = found.context
    authority.issue()
    der = ssl.PEM_cert_to_DER_cert(authority.certificate.read_text())
    odd = der.replace(b"localhost", b"\xff" * len("localhost"))
    authority.certificate.write_text(ssl.DER_cert_to_PEM_cert(odd))
    assert not found.refresh()
    assert "expected names that are text" in found.fault
    assert found.context is before
    with pytest.raises(ConfigInvalid, match="expected names that are text"):
        Certificates(authority.settings(), "server.tls")


def test_files_that_did_not_change_are_not_loaded_again(authority):
    found = Certificates(authority.settings(), "server.tls")
    before = found.context
    assert found.refresh() is False
    assert found.context is before


def test_new_files_serve_the_next_connection(authority):
    found = Certificates(authority.settings(), "server.tls")
    front = found.following()
    first = shake_hands(front, authority.client())[0].getpeercert()
    authority.issue()
    assert found.refresh() is True
    for context in (found.context, front):
        then = shake_hands(context, authority.client())[0].getpeercert()
        assert serial(then) != serial(first)


def test_a_required_client_certificate_is_required(authority):
    found = Certificates(authority.settings(client_ca=authority.file), "server.tls")
    for context in (found.context, found.following()):
        with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
            shake_hands(context, authority.client())
        stranger = Authority(authority.folder / "stranger").ca.issue_cert("client")
        with pytest.raises(ssl.SSLCertVerificationError):
            shake_hands(context, authority.client(stranger))
        known = authority.client(authority.ca.issue_cert("client"))
        _, served = shake_hands(context, known)
        shown = served.getpeercert() or {}
        assert shown["subjectAltName"] == (("DNS", "client"),)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_who_resumes_a_session_is_held_against_the_issuers_of_now(authority, version):
    clients = authority.folder / "clients.pem"
    clients.write_bytes(authority.file.read_bytes())
    certificates = Certificates(authority.settings(client_ca=clients), "server.tls")
    server = certificates.following()
    known = authority.issue_client("shop")
    known.maximum_version = version
    session = resumable(server, known)
    again, served = shake_hands(server, known, session)
    assert (again.session_reused, bool(served.getpeercert())) == (True, True)
    clients.write_bytes(Authority(authority.folder / "others").file.read_bytes())
    assert certificates.refresh()
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server, known, session)


def test_an_optional_client_certificate_may_be_missing_but_not_wrong(authority):
    options = {"client_ca": authority.file, "client_certificates": "optional"}
    context = Certificates(authority.settings(**options), "server.tls").context
    assert shake_hands(context, authority.client())[1].getpeercert() is None
    stranger = Authority(authority.folder / "stranger").ca.issue_cert("client")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(context, authority.client(stranger))


def test_a_client_on_the_same_machine_trusts_the_file_and_nothing_else(authority):
    context = Certificates(authority.settings(), "server.tls").context
    shake_hands(context, trusting(authority.certificate))
    other = Authority(authority.folder / "other")
    other.issue()
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(context, trusting(other.certificate))
    with pytest.raises(ConfigInvalid, match="No such file"):
        trusting(authority.folder / "none.pem")


def test_what_is_shown_stays_as_it_is_in_force_until_both_files_are_new(authority):
    found = Certificates(authority.settings(), "server.tls")
    before = found.shown
    key = authority.key.read_bytes()
    authority.issue()
    fresh = authority.key.read_bytes()
    authority.key.write_bytes(key)
    assert not found.refresh()
    assert found.shown == before
    authority.key.write_bytes(fresh)
    assert found.refresh()
    assert found.shown != before
    assert "PRIVATE" not in found.shown


def test_a_client_of_the_machine_trusts_any_of_several_files_that_are_there(authority, tmp_path):
    context = Certificates(authority.settings(), "server.tls").context
    other = Authority(tmp_path / "other")
    other.issue()
    missing = tmp_path / "none.pem"
    shake_hands(context, trusting(other.certificate, missing, authority.certificate))
    with pytest.raises(ConfigInvalid, match=r"(?s)none\.pem.*gone\.pem"):
        trusting(missing, tmp_path / "gone.pem")
