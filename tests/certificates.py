"""An authority of the tests' own, and certificates in files as a server wants them."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509

from gateway.config import Tls


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
