"""TLS on a listening port: what its certificate files say, and how new ones take over.

Knows certificate files and OpenSSL contexts. Knows nothing of sockets, HTTP or processes.

Every process of a server keeps `Certificates` of its own and looks at the files now and then; a new
one begins with those of its supervisor. Files that do not work together, because only one of the
two has been replaced yet or because somebody made a mistake, change nothing: the last good ones
stay in force.
"""

from __future__ import annotations

import contextlib
import hashlib
import ssl
from pathlib import Path
from typing import Any, Self

from gateway.config import Config, Tls
from gateway.errors import ConfigInvalid

WATCH_S = 1.0
"""How often the files are looked at."""

# X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED
_OUT_OF_TIME = frozenset((9, 10))
Stamp = tuple[tuple[int, int, int], ...]


class Certificates:
    """The certificates of one port.

    Attributes:
        context: for the next connection; replaced as a whole when the files change.
        expires: when the certificate ends, seconds since 1970; 0 where it is not valid now.
        fault: what is wrong with the files that lie there now; empty where all is well.
        facts: what is in force, in a few values: SHA-256 of the files that anybody may see.
        shown: the certificate that clients are shown, PEM.
    """

    def __init__(self, settings: Tls, place: str) -> None:
        """Loads the files.

        Args:
            settings: where they lie.
            place: how messages call this part of the configuration, `server.tls`.

        Raises:
            ConfigInvalid: a file is missing or unreadable, or they do not belong together.
        """
        self._settings = settings
        self._place = place
        self._stamp = _stamp(settings)
        self._take()

    def refresh(self) -> bool:
        """Takes new files into force where they changed and are good; True where it did.

        Reads files: not for an event loop.
        """
        stamp = _stamp(self._settings)
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self._take()
        except Exception as error:
            # Whatever files make a parser do, and wherever they go between two looks at them.
            self.fault = str(error)
            return False
        return True

    def following(self) -> ssl.SSLContext:
        """A context that always serves what is in force, for listeners that take one for good."""
        return _Following(self)

    def _take(self) -> None:
        context = _load(self._settings, self._place)
        certificate = self._settings.certificate
        public = {"certificate": certificate, "client_ca": self._settings.client_ca}
        digests = {what: _digest(file) for what, file in public.items() if file is not None}
        self.expires, self.fault, self.shown = _tried_out(context, certificate, self._place)
        self.facts: dict[str, Any] = {**digests, "expires_at": self.expires}
        self.context = context


def of_ports(config: Config) -> dict[str, Certificates]:
    """Those of the ports that are encrypted, `data` and `control`.

    Raises:
        ConfigInvalid: a file is missing or unreadable, or they do not belong together.
    """
    sections = (
        ("data", "server.tls", config.server.tls),
        ("control", "control.tls", config.control.tls),
    )
    return {
        port: Certificates(settings, place)
        for port, place, settings in sections
        if settings is not None
    }


class _Following(ssl.SSLContext):
    """Begins every connection with the context that is in force then.

    Changing the context of a connection that has begun (`sni_callback`) comes too late: sessions
    resume under the first, without a look at the issuers that clients' certificates may have now.
    """

    def __new__(cls, certificates: Certificates) -> Self:
        made = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        made._certificates = certificates
        return made

    _certificates: Certificates

    def wrap_bio(self, *buffers: Any, **options: Any) -> ssl.SSLObject:
        """As every context does."""
        return self._certificates.context.wrap_bio(*buffers, **options)


def trusting(*certificates: Path) -> ssl.SSLContext:
    """For a client on the server's own machine: it trusts these files, whatever name they are for.

    Raises:
        ConfigInvalid: none of them can be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    faults = []
    for certificate in certificates:
        try:
            context.load_verify_locations(certificate)
        except OSError as error:
            faults.append(f"{certificate}: {error.strerror or error}")
    if len(faults) == len(certificates):
        raise ConfigInvalid("\n".join(faults))
    return context


def _stamp(settings: Tls) -> Stamp:
    """Changes when a file is written, replaced, or reached through another symbolic link."""
    stamps = []
    for path in (settings.certificate, settings.key, settings.client_ca):
        if path is not None:
            try:
                facts = path.stat()
                stamps.append((facts.st_ino, facts.st_size, facts.st_mtime_ns))
            except OSError:
                stamps.append((0, 0, 0))
    return tuple(stamps)


def _load(settings: Tls, place: str) -> ssl.SSLContext:
    """A context with what the files hold."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    _load_chain(context, settings, place)
    if settings.client_ca is not None:
        _demand_client_certificates(context, settings.client_ca, settings, place)
    return context


def _load_chain(context: ssl.SSLContext, settings: Tls, place: str) -> None:
    def no_password() -> str:
        raise ConfigInvalid(
            f"{place}.key: {settings.key}: expected a key without a password, got an encrypted one"
        )

    for field, path in (("certificate", settings.certificate), ("key", settings.key)):
        _readable(path, f"{place}.{field}")
    try:
        # Without a callback OpenSSL would ask at the terminal.
        context.load_cert_chain(settings.certificate, settings.key, no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            why = f"{settings.key} is not the key of {settings.certificate}"
        else:
            why = (
                f"expected a PEM certificate in {settings.certificate} and its key in"
                f" {settings.key}, got what OpenSSL cannot read ({error.reason})"
            )
        raise ConfigInvalid(f"{place}: {why}") from error


def _demand_client_certificates(
    context: ssl.SSLContext, client_ca: Path, settings: Tls, place: str
) -> None:
    _readable(client_ca, f"{place}.client_ca")
    try:
        context.load_verify_locations(client_ca)
    except ssl.SSLError as error:
        raise ConfigInvalid(
            f"{place}.client_ca: expected PEM certificates in {client_ca}, got none"
        ) from error
    demanded = settings.demands_certificate
    context.verify_mode = ssl.CERT_REQUIRED if demanded else ssl.CERT_OPTIONAL


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _readable(path: Path, place: str) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise ConfigInvalid(f"{place}: {path}: {error.strerror}") from error


def _tried_out(server: ssl.SSLContext, certificate: Path, place: str) -> tuple[float, str, str]:
    """Shakes hands with the context in memory.

    That is also the one way to read a certificate's dates with the standard library alone.

    Returns:
        When its certificate expires, why it is not valid now, and the certificate itself, PEM.

    Raises:
        ConfigInvalid: no client could use it.
    """
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = trusting(certificate).wrap_bio(to_client, to_server)
    try:
        _shake_hands(asking, server.wrap_bio(to_server, to_client, server_side=True))
    except ssl.SSLCertVerificationError as error:
        fault = f"{place}.certificate: {certificate}: {error.verify_message}"
        if error.verify_code not in _OUT_OF_TIME:
            raise ConfigInvalid(fault) from error
        # Served all the same: clients that do not look at dates are better served than none.
        return 0.0, fault, ""
    except ssl.SSLError as error:
        raise ConfigInvalid(f"{place}.certificate: {certificate}: {error.reason}") from error
    try:
        shown = asking.getpeercert() or {}
    except ValueError as error:
        fault = f"{place}.certificate: {certificate}: expected names that are text"
        raise ConfigInvalid(fault) from error
    pem = ssl.DER_cert_to_PEM_cert(asking.getpeercert(binary_form=True) or b"")
    return float(ssl.cert_time_to_seconds(str(shown["notAfter"]))), "", pem


def _shake_hands(client: ssl.SSLObject, server: ssl.SSLObject) -> None:
    """Until the client is content; the server may still want a certificate of it."""
    for _ in range(4):  # flights; no version of TLS needs more
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            with contextlib.suppress(ssl.SSLWantReadError):
                server.do_handshake()
        else:
            return
    raise ssl.SSLError("the handshake does not come to an end")
