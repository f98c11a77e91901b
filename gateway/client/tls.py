"""What a client checks a server's certificate against, and the certificate that it shows itself.

Knows PEM files and OpenSSL contexts. Knows nothing of options, variables or requests.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import httpx

from gateway.errors import ConfigInvalid

File = str | os.PathLike[str]
Verify = bool | File | ssl.SSLContext
Cert = File | tuple[File, File] | None


def context(verify: Verify, cert: Cert) -> bool | ssl.SSLContext:
    """What httpx is given for connections with TLS.

    Args:
        verify: True: the usual issuers; a file: the issuers in it; False: nothing is checked. A
            context is used as it is.
        cert: PEM file with certificate and key, or one of each; loaded into `verify` where that is
            a context.

    Raises:
        ConfigInvalid: a file cannot be read, is not PEM, or its key has a password.
    """
    if isinstance(verify, bool):
        if cert is None:
            return verify
        made = httpx.create_ssl_context(verify=verify, trust_env=False)
    else:
        made = verify if isinstance(verify, ssl.SSLContext) else _trusting(Path(verify))
    if cert is not None:
        _show(made, *(cert if isinstance(cert, tuple) else (cert, None)))
    return made


def _trusting(issuers: Path) -> ssl.SSLContext:
    try:
        made = ssl.create_default_context(cafile=issuers)
    except OSError as error:
        raise ConfigInvalid(f"{issuers}: expected PEM certificates: {_why(error)}") from error
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    return made


def _show(made: ssl.SSLContext, certificate: File, key: File | None) -> None:
    def no_password() -> str:
        raise ConfigInvalid(
            f"{key or certificate}: expected a key without a password, got an encrypted one"
        )

    try:
        # Without a callback OpenSSL would ask at the terminal.
        made.load_cert_chain(certificate, key, no_password)
    except OSError as error:
        named = certificate if key is None else f"{certificate} and {key}"
        raise ConfigInvalid(
            f"{named}: expected a PEM certificate and its key: {_why(error)}"
        ) from error


def _why(error: OSError) -> str:
    return str((error.reason if isinstance(error, ssl.SSLError) else error.strerror) or error)
