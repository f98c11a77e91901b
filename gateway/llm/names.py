"""Finds the language model that a request names, and the version that answers it.

Knows names, aliases and routes, and keeps the headers that tell of who answers. Knows nothing else
of HTTP, of how upstreams are asked, or of how a route came to be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from gateway.errors import ModelNotFound, ModelNotReady, Unsupported
from gateway.llm.deployment import LlmDeployment
from gateway.llm.targets import Target
from gateway.llm.told import answer_headers
from gateway.plan import Absent, Split
from gateway.routing.assign import InTurn
from gateway.routing.table import ASKED, Table
from gateway.wire.answers import Written
from kernels.lots import lot

Headers = Sequence[tuple[bytes, bytes]]
Ours = Callable[[Any, Any, Mapping[str, Any]], None]
"""Answers what a model of our own is asked: the proxy that it came to, the exchange, the body."""
NONE_ABSENT: Final[Mapping[str, Absent]] = MappingProxyType({})
NONE_OURS: Final[Mapping[str, Ours]] = MappingProxyType({})


class Chosen:
    """Who answers a request.

    Attributes:
        deployment: the version that does.
        variant: of a route; empty where there is none.
        lot: how the request got it, as `kernels.lots` has it; 0: not by chance.
    """

    def __init__(self, deployment: LlmDeployment, variant: str = "", lot: int = 0) -> None:
        self.deployment = deployment
        self.variant = variant
        self.lot = lot
        self._told: dict[str, Written] = {}

    def told(self, target: Target | None) -> Written:
        """What answers say of who gave them, by the upstream that did."""
        called = "" if target is None else target.called
        found = self._told.get(called)
        if found is None:
            found = self._told[called] = answer_headers(self, target)
        return found


class Named:
    """One model, as it serves here."""

    def __init__(
        self,
        name: str,
        default: int,
        versions: Mapping[int, LlmDeployment],
        split: Split | None,
        turns: InTurn,
    ) -> None:
        """Takes what a plan says of it.

        Args:
            name: of the model.
            default: the version that answers where no variant does, be it here or not.
            versions: that serve here; at least one.
            split: how requests are divided among them; None: they are not.
            turns: of the route; they go on through plans.
        """
        self.name = name
        self._versions = versions
        self._default = default
        self._undivided = Chosen(versions[default]) if default in versions else None
        self._table = None if split is None else Table(name, split, turns)
        self._chances: dict[str, float] = {}
        self._chosen: dict[tuple[str, int], Chosen] = {}
        self._variants: dict[str, int] = {}
        self.shadows: Sequence[tuple[LlmDeployment, float]] = ()
        """Versions that are asked what was answered, each with its share of requests."""
        if split is not None:
            self.shadows = [
                (versions[one.version], one.share)
                for one in split.shadows
                if one.version in versions
            ]
            weights = sum(one.weight for one in split.variants)
            for one in split.variants:
                self._variants[one.name] = one.version
                self._chances[one.name] = one.weight / weights

    @property
    def deployments(self) -> Iterator[LlmDeployment]:
        """Every version that serves here."""
        return iter(self._versions.values())

    def choose(self, headers: Headers, values: Mapping[str, Any]) -> Chosen:
        """The version that answers a request.

        Args:
            headers: of the request.
            values: the request; a sticky key or an override stands in its `metadata`, or else
                beside that, as `user` does.

        Raises:
            InvalidParameter: it asks for a variant that there is not.
            ModelNotReady: the version that is to answer does not serve here. None does in its
                place: nobody has given another this traffic.
        """
        table = self._table
        if table is None:
            return self._undivided or self._first(("", 0))
        choice = table.by_headers(headers) if table.by_header else None
        if choice is None and table.by_parameter:
            metadata = values.get("metadata")
            found = {**values, **metadata} if isinstance(metadata, dict) else values
            choice = table.by_parameters(found)
        if choice is None:
            choice = table.in_turn()
        return self._chosen.get(choice) or self._first(choice)

    def _first(self, choice: tuple[str, int]) -> Chosen:
        """Of what was not chosen before; there are as many as variants times units."""
        name, how = choice
        version = self._variants.get(name, self._default)
        deployment = self._versions.get(version)
        if deployment is None:
            raise ModelNotReady(
                f"model '{self.name}': version {version}, which is to answer, does not serve"
            )
        drawn = 0
        if how != ASKED and self._chances[name] > 0.0:
            drawn = lot(self._chances[name], how)
        found = self._chosen[choice] = Chosen(deployment, name, drawn)
        return found


class Names:
    """All language models of one worker, through its plans."""

    def __init__(self, start: int) -> None:
        """`start`: where turns begin; workers that begin together begin apart."""
        self._start = start
        self._turns: dict[str, InTurn] = {}
        self.called: Mapping[str, Named] = {}
        """Every name that clients may use of models that others answer for."""
        self.models: dict[str, Named] = {}
        self.absent: Mapping[str, Absent] = {}
        """Models that are known and not served, by name why."""
        self.ours: Mapping[str, Ours] = {}
        """Models that make embeddings here, whose names are not those of others."""

    def follow(
        self,
        models: Mapping[str, tuple[int, Mapping[int, LlmDeployment], Split | None]],
        absent: Mapping[str, Absent] = NONE_ABSENT,
        ours: Mapping[str, Ours] = NONE_OURS,
    ) -> None:
        """Takes over what serves now: by name the default, the versions, and the split.

        Args:
            models: that serve.
            absent: that do not, and why.
            ours: that make embeddings here.
        """
        self.absent = absent
        before, self._turns = self._turns, {}
        self.models = {}
        for name, (default, versions, split) in models.items():
            turns = self._turns[name] = before.get(name) or InTurn(self._start)
            self.models[name] = Named(name, default, versions, split, turns)
        self.called = {
            alias: named
            for named in self.models.values()
            for one in named.deployments
            for alias in one.settings.aliases
        } | self.models
        self.ours = {name: one for name, one in ours.items() if name not in self.called}

    def find(self, called: str) -> Named:
        """The model that is called so, by its name or an alias.

        Raises:
            ModelNotFound: none is, or what was is out of service because somebody wanted it so.
            ModelNotReady: nothing of it serves.
            Unsupported: it is one that makes embeddings here.
        """
        found = self.called.get(called)
        if found is None:
            if called in self.ours:
                raise Unsupported(f"model '{called}' makes embeddings: ask /v1/embeddings")
            absent = self.absent.get(called)
            if absent is None:
                raise ModelNotFound(f"model '{called[:200]}': no model has this name")
            said = f"model '{called}': no version of it serves: {absent.reason}"
            raise ModelNotFound(said) if absent.unloaded else ModelNotReady(said)
        return found

    def deployments_of(self, called: str) -> Iterator[LlmDeployment]:
        """Every version that serves of the model that is called so; none where there is no such."""
        found = self.called.get(called)
        return iter(()) if found is None else found.deployments

    @property
    def all(self) -> Iterator[tuple[str, str]]:
        """Every name that clients may use, and the model's own that it stands for."""
        for called, named in self.called.items():
            yield called, named.name
        for name in self.ours:
            yield name, name
