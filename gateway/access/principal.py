"""A caller that has shown who it is.

Knows what it may do and until when. Knows nothing of how it showed that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from gateway.access.roles import ROLES, Permission
from gateway.errors import Forbidden

FOREVER = inf
"""The one object that says that a principal does not end: compared by identity on the lane."""
TOKENS = 0
"""The id under which all callers with a token of an identity provider are counted."""
LOCAL = -2
"""The id of commands on the server's own machine."""
CERTIFICATES = -1000
"""The ids from here down are those of names of client certificates."""
NO_ROW = -1
"""In place of a row of limits: nobody can say which. What counts against it is refused."""
_TOLD = 8


@dataclass(slots=True, eq=False, weakref_slot=True)
class Principal:
    """One key, token or certificate, as those who ask for permission see it.

    Attributes:
        id: of the key; for what is no key `TOKENS`, `LOCAL`, or one from `CERTIFICATES` down.
        name: for logs and metrics.
        role: one of `ROLES`.
        models: the models it may call; None: all.
        until: seconds since 1970 after which it is nobody. Taken back by setting it to 0, so that
            whoever remembers a principal looks at this and nothing else.
        proof: what it has shown, where its id does not say so.
        rows: of the limits that its requests to language models count against.
    """

    id: int
    name: str
    role: str
    models: frozenset[str] | None = None
    until: float = FOREVER
    proof: str = ""
    rows: tuple[int, ...] = ()

    @property
    def shown(self) -> str:
        """What it has shown, for the audit: a name alone may be that of several keys in turn."""
        return self.proof or {TOKENS: "token", LOCAL: "secret"}.get(self.id, f"key {self.id}")

    def may_call(self, model: str) -> bool:
        """Whether a model is among those it may know of."""
        return self.models is None or model in self.models

    def require_all_models(self) -> None:
        """Lets it pass, or says why it may not use what is about the whole server.

        Raises:
            Forbidden: it may use some models alone.
        """
        if self.models is not None:
            raise Forbidden(f"'{self.name}' may use some models alone, not what is about all")

    def require(self, permission: Permission, model: str | None = None) -> None:
        """Lets it pass, or says why not.

        Args:
            permission: what is asked for.
            model: the model that it is asked for, if it is about one.

        Raises:
            Forbidden: its role may not, or not for this model. Whether the model exists is not
                told.
        """
        if permission not in ROLES[self.role]:
            raise Forbidden(f"'{self.name}': role {self.role} may not {permission.value}")
        if model is not None and not self.may_call(model):
            raise Forbidden(f"'{self.name}' may not use model '{model}', {self._allowed()}")

    def _allowed(self) -> str:
        """What it may call, which is its own and no secret to it."""
        if not self.models:
            return "nor any other"
        names = sorted(self.models)
        more = ", ..." if len(names) > _TOLD else ""
        return f"but {', '.join(names[:_TOLD])}{more}"


def models_of(names: Iterable[str] | None) -> frozenset[str] | None:
    """A list of model names as `Principal.models`; `*` among them means all."""
    chosen = None if names is None else frozenset(names)
    return None if chosen is None or "*" in chosen else chosen
