"""Where an ASGI scope keeps the principal whose request it is.

Knows one place in it. Knows nothing of how the principal was found.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from gateway.access.principal import Principal

_PLACE = "penstock_principal"


def keep(scope: MutableMapping[str, Any], principal: Principal) -> None:
    """Says whose request it is, to whoever answers it."""
    scope.setdefault("state", {})[_PLACE] = principal


def principal_of(scope: Mapping[str, Any]) -> Principal | None:
    """Whose request it is; None where nobody is asked."""
    found: Principal | None = scope.get("state", {}).get(_PLACE)
    return found
