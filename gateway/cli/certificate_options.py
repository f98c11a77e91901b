"""Which certificates a command shows and trusts: those that options name, else variables.

Knows names of options and variables. Knows nothing of servers, files or TLS.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.client.tls import Cert

CACERT, CLIENT_CERT, CLIENT_KEY = "PENSTOCK_CACERT", "PENSTOCK_CLIENT_CERT", "PENSTOCK_CLIENT_KEY"


def add_certificates(parser: argparse.ArgumentParser) -> None:
    """Adds `--cacert`, `--client-cert` and `--client-key`."""
    for option, variable, text in (
        ("--cacert", CACERT, "who may have issued the certificate of --url's server"),
        ("--client-cert", CLIENT_CERT, "certificate to show"),
        ("--client-key", CLIENT_KEY, "its key, where that is another file"),
    ):
        parser.add_argument(
            option,
            metavar="FILE",
            default=os.environ.get(variable),
            help=f"{text} (PEM; default: ${variable})",
        )


def from_environment(environ: Mapping[str, str]) -> Cert:
    """The certificate that variables name, for commands without these options."""
    return paired(environ.get(CLIENT_CERT), environ.get(CLIENT_KEY))


def paired(cert: str | None, key: str | None) -> Cert:
    """A certificate with its key, which may lie in the same file; None: none is shown."""
    if not cert:
        return None
    return (cert, key) if key else cert
