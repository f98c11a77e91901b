"""New certificate files take over, are told of once, and what clients are shown is kept."""

from __future__ import annotations

import pytest

from gateway.config import Config
from gateway.control.port_certificates import PortCertificates, shown_at
from gateway.tls import of_ports, trusting
from tests.certificates import Authority
from tests.test_tls import shake_hands

pytestmark = pytest.mark.anyio


@pytest.fixture
def authority(tmp_path):
    made = Authority(tmp_path / "tls")
    made.issue()
    return made


@pytest.fixture
def told():
    return []


@pytest.fixture
def certificates(authority, tmp_path, told):
    config = Config.model_validate({"control": {"tls": authority.settings().model_dump()}})
    return PortCertificates(of_ports(config), tmp_path, lambda *change: told.append(change))


async def test_clients_of_the_machine_trust_what_was_and_is_shown(
    certificates, authority, tmp_path, told
):
    kept = shown_at(tmp_path, "control")
    before = kept.read_text()
    authority.issue()
    await certificates.look()
    assert kept.read_text().endswith(before)  # workers may still show it
    shake_hands(certificates.control(), trusting(kept))
    assert [(what, whose) for what, whose, _, _ in told] == [("certificate renew", "control port")]
    await certificates.look()
    assert len(told) == 1


async def test_between_the_two_files_of_a_renewal_what_is_kept_is_what_is_shown(
    certificates, authority, tmp_path, told, caplog
):
    fresh = authority.ca.issue_cert("localhost", "127.0.0.1")
    authority.certificate.write_bytes(fresh.cert_chain_pems[0].bytes())
    for _ in range(2):
        await certificates.look()
    shake_hands(certificates.control(), trusting(shown_at(tmp_path, "control")))
    assert caplog.text.count("is not the key of") == 1
    assert told == []
    assert "PRIVATE" not in shown_at(tmp_path, "control").read_text()
