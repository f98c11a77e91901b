"""An authority of the tests' own, and certificates in files as a server wants them."""

from __future__ import annotations

import datetime
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.config import Tls

PEM = serialization.Encoding.PEM


@dataclass
class Authority:
    """Issues certificates into a folder."""

    folder: Path
    ca: trustme.CA = field(default_factory=trustme.CA)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ca.cert_pem.write_to_path(str(self.file))

    @property
    def file(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def certificate(self) -> Path:
        return self.folder / "server.pem"

    @property
    def key(self) -> Path:
        return self.folder / "server.key"

    def issue(self, **options: Any) -> trustme.LeafCert:
        """A new certificate for this machine, in the place of the one before it."""
        leaf = self.ca.issue_cert("localhost", "127.0.0.1", **options)
        _replace(self.certificate, b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        _replace(self.key, leaf.private_key_pem.bytes())
        return leaf

    def issue_client(
        self, name: str, *alternatives: x509.GeneralName, days: float = 30
    ) -> ssl.SSLContext:
        """What a client needs that has a certificate with this common name, which ends in `days`.

        Made by hand: trustme knows no URIs.
        """
        issuer = x509.load_pem_x509_certificate(self.ca.cert_pem.bytes())
        signer = serialization.load_pem_private_key(self.ca.private_key_pem.bytes(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(end - datetime.timedelta(days=365))
            .not_valid_after(end)
        )
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), False)
        signed = builder.sign(signer, hashes.SHA256())
        file = self.folder / f"client-{name.replace('/', '_')}.pem"
        form = serialization.PrivateFormat.PKCS8
        secret = key.private_bytes(PEM, form, serialization.NoEncryption())
        file.write_bytes(signed.public_bytes(PEM) + secret)
        context = self.client()
        context.load_cert_chain(file)
        return context

    def settings(self, **options: Any) -> Tls:
        return Tls(certificate=self.certificate, key=self.key, **options)

    def yaml(self, section: str, **options: Any) -> str:
        """The settings as a part of a configuration document."""
        given = {"certificate": self.certificate, "key": self.key, **options}
        return f"{section}: {{tls: {{{', '.join(f'{k}: {v}' for k, v in given.items())}}}}}\n"

    def client(self, certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
        """What a client needs that trusts this authority, and may show a certificate of its own."""
        context = ssl.create_default_context(cafile=str(self.file))
        if certificate is not None:
            certificate.configure_cert(context)
        return context


def _replace(path: Path, content: bytes) -> None:
    """In one step, as those do who renew certificates under a running server."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.replace(path)


def serial(shown: Any) -> str:
    """Which certificate a peer has shown, from `getpeercert`."""
    return str(shown["serialNumber"])


def serial_of(leaf: trustme.LeafCert) -> str:
    """The same of a certificate that was issued."""
    number = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes()).serial_number
    digits = f"{number:X}"
    return digits.rjust(len(digits) + len(digits) % 2, "0")
