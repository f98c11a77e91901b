"""Which names of models are known on a home, for commands that are given some.

Knows where names stand: in the registry, in the configuration, in its repositories, in what a
running server tells. Knows nothing of what the names are wanted for.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from gateway.cli.output import progress
from gateway.errors import GatewayError


def tell_unknown(home: Path, names: Iterable[str]) -> None:
    """Says on stderr which names nobody knows here: misspelt, or of models still to come."""
    wanted = set(names) - {"*"}
    if wanted and (unknown := wanted - _names(home)):
        progress(f"no model of this name is known here: {', '.join(sorted(unknown))}")


def _names(home: Path) -> set[str]:
    from gateway.cli import proposing, verdict
    from gateway.control.registry import Registry
    from gateway.control.store import Store
    from gateway.models import triton_layout

    if not proposing.is_there(home):
        return set()
    serving = verdict.serving(home)
    found = {name for name, _ in serving.states} if serving else set()
    with Store.open(home) as store:
        found |= set(Registry(store, home).names())
    with suppress(GatewayError):  # what cannot be read names nothing
        config = proposing.revision(home).config
        found |= config.models.keys()
        for path in config.repository.paths:
            layout = triton_layout.find(path)
            found |= {one.name for one in layout.found} | {one.name for one in layout.faults}
    return found
