"""What each role may do.

Knows names of roles and permissions. Knows nothing of keys, routes or ports: a route names the
permission that it asks for, a principal has a role, and this table says whether the two meet.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Literal


class Permission(Enum):
    """Something that a caller may be allowed to do."""

    INFER = "infer"
    DESCRIBE = "describe"
    """Metadata, index and statistics of models on the data port."""
    READ = "read"
    """Status, models and metrics on the control port."""
    OPERATE = "operate"
    """Load, unload and reload."""
    APPROVE = "approve"
    ADMINISTER = "administer"
    """Keys and configuration: whoever may do this can give themselves everything else."""


Role = Literal["client", "viewer", "operator", "approver", "admin"]
"""What documents may name; `ROLES` says what it means."""

_P = Permission
# Roles of the control port do not infer: a key that changes the server should not lie on every
# client, and one that lies there should change nothing.
ROLES: Mapping[str, frozenset[Permission]] = {
    "client": frozenset({_P.INFER, _P.DESCRIBE}),
    "viewer": frozenset({_P.DESCRIBE, _P.READ}),
    "operator": frozenset({_P.DESCRIBE, _P.READ, _P.OPERATE}),
    "approver": frozenset({_P.DESCRIBE, _P.READ, _P.APPROVE}),
    "admin": frozenset({_P.DESCRIBE, _P.READ, _P.OPERATE, _P.APPROVE, _P.ADMINISTER}),
}
