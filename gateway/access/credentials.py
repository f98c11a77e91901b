"""Finds who sends a request, from what it carries and what its connection has shown.

Knows keys, tokens and certificates, and which of them counts where there are several. Knows nothing
of ports, or of what anybody may do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.access.certificates import CertificateRing, Shown
from gateway.access.headers import Header, credential, presented
from gateway.access.keyring import Keyring
from gateway.access.principal import TOKENS, Principal


@dataclass(frozen=True, slots=True)
class Credentials:
    """What is known on one event loop.

    Attributes:
        keyring: keys and tokens.
        certificates: of clients.
    """

    keyring: Keyring
    certificates: CertificateRing

    def find(self, headers: Sequence[Header], shown: Shown | None) -> Principal:
        """Whose key a request carries, else whose certificate its connection has.

        The key goes first: it is what this request says, and a connection may be a proxy's.

        Args:
            headers: names in lower case.
            shown: the certificate of the connection, if there is one.

        Raises:
            Unauthenticated: nobody that is known. A key that is not known is not made good by a
                certificate.
        """
        if shown is not None and presented(headers) is None:
            return self.certificates.find(shown)
        return self.keyring.find(credential(headers))

    def knows(self, number: int) -> bool:
        """Whether whoever is counted under this number may still come."""
        known = number in self.keyring.numbers or number in self.certificates.numbers
        return known or number == TOKENS
