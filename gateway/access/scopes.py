"""Where an ASGI scope keeps the principal whose request it is, and the certificate of its client.

Knows two places in its state, which servers fill and no request can. Knows nothing of how a
principal is found.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from gateway.access.certificates import Shown
from gateway.access.principal import Principal

_PLACE = "penstock_principal"
SHOWN = "penstock_certificate"


def keep(scope: MutableMapping[str, Any], principal: Principal) -> None:
    """Says whose request it is, to whoever answers it."""
    scope.setdefault("state", {})[_PLACE] = principal


def shown_of(scope: Mapping[str, Any]) -> Shown | None:
    """The certificate that was shown on its connection; None where none was."""
    found: Shown | None = scope.get("state", {}).get(SHOWN)
    return found


def principal_of(scope: Mapping[str, Any]) -> Principal | None:
    """Whose request it is; None where nobody is asked."""
    found: Principal | None = scope.get("state", {}).get(_PLACE)
    return found
