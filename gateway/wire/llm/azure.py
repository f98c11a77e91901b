"""Where Azure's own clients ask, who name a model by its deployment in the path.

Knows their paths. Knows nothing of endpoints, or of which models there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote

from gateway.wire.llm.words import PATHS, Dialect

BELOW: Final = b"/openai/"
DEPLOYMENTS: Final = b"/openai/deployments/"
_BY_DEPLOYMENT: Final = (Dialect.CHAT, Dialect.COMPLETIONS, Dialect.EMBEDDINGS)
# Characters of a name that one client writes as they are and another does not.
_SAFE: Final = ("", ":@", "/:@", "!$&'()*+,;=:@", "/!$&'()*+,;=:@")

ENDS: Final[Mapping[Dialect, bytes]] = {
    dialect: PATHS[dialect].removeprefix(b"/v1") for dialect in _BY_DEPLOYMENT
}
"""How a path ends that names a deployment, by how is asked there."""
NAMELESS: Final[Mapping[bytes, Dialect]] = {
    b"/openai/responses": Dialect.RESPONSES,
    **{b"/openai" + PATHS[dialect]: dialect for dialect in (*_BY_DEPLOYMENT, Dialect.RESPONSES)},
}
"""Paths at which the body names the model, as it does below /v1."""


def paths_of(model: str) -> Iterator[tuple[bytes, Dialect]]:
    """Where a model is asked for, as clients write its name in a path."""
    for name in {quote(model, safe=safe).encode() for safe in _SAFE}:
        for dialect, end in ENDS.items():
            yield DEPLOYMENTS + name + end, dialect
