"""Which names of models, teams and tags are known on a home, for commands that are given some.

Knows where names stand: in the registry, in the configuration, in its repositories, in what a
running server tells. Knows nothing of what the names are wanted for.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.output import progress
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from gateway.config.llm import Llm


def tell_new(home: Path) -> None:
    """Says on stderr that a home is about to be made: a server on another knows nothing of it."""
    from gateway.control.store import FILE

    if not (home / FILE).exists():
        said = "a server that runs on another (--home, PENSTOCK_HOME) knows nothing of it"
        progress(f"{home.absolute()} is a new home: {said}")


def tell_unknown(home: Path, names: Iterable[str]) -> None:
    """Says on stderr which names nobody knows here: misspelt, or of models still to come."""
    wanted = set(names) - {"*"}
    if wanted and (unknown := wanted - _names(home)):
        named = ", ".join(sorted(unknown))
        progress(f"warning: no model of this name or alias is known here: {named}")


def settings(home: Path) -> Llm:
    """What the newest document of a home says of language models; where there is none, nothing."""
    from gateway.cli import proposing
    from gateway.config.llm import Llm

    with suppress(GatewayError):  # what cannot be read names nothing
        return proposing.revision(home).config.llm
    return Llm()


def tell_unlimited(home: Path, team: str | None, tags: Iterable[str]) -> None:
    """Says on stderr which team and tags have no limits in the document: they only add up."""
    llm = settings(home)
    given = [("tag", tag, llm.tags) for tag in tags]
    if team is not None:
        given.insert(0, ("team", team, llm.teams))
    for kind, name, known in given:
        if name not in known:
            progress(f"warning: {kind} '{name}' has no limits here (llm.{kind}s): it only adds up")


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
        found |= config.models.keys() | config.llm.models.keys()
        found |= {alias for one in config.llm.models.values() for alias in one.aliases}
        for path in config.repository.paths:
            layout = triton_layout.find(path)
            found |= {one.name for one in layout.found} | {one.name for one in layout.faults}
    return found
