"""What one worker knows of models: loaded deployments, the routes over them, and what is absent.

Knows names, versions and why something does not serve. Knows nothing of HTTP, of batches, or of who
decided. It is replaced piece by piece by the follower and read by everybody else on the same loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import quote

from gateway.errors import InvalidRequest, ModelNotFound, ModelNotReady, Retired, VersionNotFound
from gateway.inference import InferEndpoint
from gateway.llm.deployment import LlmDeployment
from gateway.plan import LOADING, READY, UNAVAILABLE, Absent, Held, Plan, Split
from gateway.serving.deployment import Deployment


@dataclass(frozen=True, slots=True)
class Served:
    """A deployment with its endpoint and the plan's words on it."""

    held: Held
    deployment: Deployment
    endpoint: InferEndpoint


@dataclass(frozen=True, slots=True)
class ServedLlm:
    """A version of a language model with the plan's words on it.

    It is its own endpoint as far as anybody watches it: requests come to paths that all share.
    """

    held: Held
    deployment: LlmDeployment

    @property
    def endpoint(self) -> LlmDeployment:
        """What is told who counts its answers."""
        return self.deployment


AnyServed = Served | ServedLlm


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One line of the repository index. `version` is 0 where it is not known."""

    name: str
    version: int
    state: str
    reason: str = ""


@dataclass(slots=True)
class Catalogue:
    """Read through `resolve` and `index`; `by_id` and `plan` belong to the follower."""

    plan: Plan = field(default_factory=lambda: Plan(0))
    by_id: dict[str, AnyServed] = field(default_factory=dict)
    _routes: dict[str, tuple[int, dict[int, Served]]] = field(default_factory=dict)
    _llm_routes: dict[str, tuple[int, dict[int, ServedLlm]]] = field(default_factory=dict)
    _splits: dict[str, Split] = field(default_factory=dict)
    _absent: tuple[Absent, ...] = ()

    def follow(self, plan: Plan, refused: Mapping[str, str] = MappingProxyType({})) -> None:
        """Moves to a plan's routes, as far as this worker holds what they name.

        Args:
            plan: the newest.
            refused: what could not be loaded here, though others may have: deployment to reason.
        """
        routes: dict[str, tuple[int, dict[int, Served]]] = {}
        llm_routes: dict[str, tuple[int, dict[int, ServedLlm]]] = {}
        explained = {(absent.name, absent.version) for absent in plan.absent}
        lacking = [
            Absent(route.name, version, UNAVAILABLE, refused.get(held, "not loaded"))
            for route in plan.routes
            for version, held in sorted(route.deployments.items())
            # What keeps its newest content from all workers says more than what this one lacks.
            if held not in self.by_id and (route.name, version) not in explained
        ]
        for route in plan.routes:
            here = {
                version: self.by_id[held]
                for version, held in sorted(route.deployments.items())
                if held in self.by_id
            }
            versions = {v: one for v, one in here.items() if isinstance(one, Served)}
            asked = {v: one for v, one in here.items() if isinstance(one, ServedLlm)}
            # A name belongs to one source: it has the one or the other.
            if versions:
                routes[route.name] = (route.version, versions)
            elif asked:
                llm_routes[route.name] = (route.version, asked)
        self._splits = {
            route.name: route.split
            for route in plan.routes
            if route.split is not None
            # Where none of its variants is here, no other version answers in their place.
            and any(
                one.version in (routes | llm_routes).get(route.name, (0, {}))[1]
                for one in route.split.variants
            )
        }
        self.plan = plan
        self._absent = (*plan.absent, *lacking)
        self._routes = routes
        self._llm_routes = llm_routes

    def resolve(self, name: str, version: int | None = None) -> Served:
        """The deployment that answers for a name, or for one version of it.

        Raises:
            ModelNotFound: nothing has this name.
            VersionNotFound: the name is known, the version is not.
            ModelNotReady: it is known and does not serve; the message says why.
            InvalidRequest: it is a language model, which is asked under other paths.
        """
        if name in self._llm_routes:
            raise InvalidRequest(
                f"model '{name}' is a language model: ask /v1/chat/completions, or another of /v1"
            )
        found = self._routes.get(name)
        if found is not None:
            default, versions = found
            version = default if version is None else version
            served = versions.get(version)
            if served is not None:
                return served
        self._explain(name, version)
        if found is None and not self.knows(name):
            raise ModelNotFound(f"Request for unknown model: '{name}' is not found")
        got = ", ".join(map(str, self.versions(name))) or "none"
        raise VersionNotFound(
            f"Request for unknown model: '{name}' version {version} is not found; serving: {got}"
        )

    def knows(self, name: str, version: int | None = None) -> bool:
        """Whether anybody has ever heard of it, serving or not."""
        return any(e.name == name and version in (None, e.version) for e in self.index())

    def default(self, name: str) -> Served | None:
        """What answers where a path names no version; None while that does not serve."""
        found = self._routes.get(name)
        return None if found is None else found[1].get(found[0])

    def versions(self, name: str) -> list[int]:
        """The versions of a model that serve, ascending; empty where there are none."""
        found = self._routes.get(name) or self._llm_routes.get(name)
        return list(found[1]) if found else []

    def standing(self, name: str) -> int:
        """The version that stands for a model that serves, be it here or not."""
        return self._routes[name][0]

    def split(self, name: str) -> Split | None:
        """How requests for a model are divided that name no version; None: they are not."""
        return self._splits.get(name)

    def divided(self) -> Iterator[tuple[str, Split, Mapping[int, Served]]]:
        """Every model whose requests are divided: its name, how, and the versions that serve."""
        for name, split in self._splits.items():
            if name in self._routes:
                yield name, split, self._routes[name][1]

    def language_models(
        self,
    ) -> dict[str, tuple[int, Mapping[int, LlmDeployment], Split | None]]:
        """Every language model: its default version, those that serve, and how they divide."""
        return {
            name: (default, {v: one.deployment for v, one in versions.items()}, self.split(name))
            for name, (default, versions) in self._llm_routes.items()
        }

    def unserved(self) -> dict[str, Absent]:
        """Models that are known and of which nothing serves, by name why."""
        return {a.name: a for a in self._absent if not self.versions(a.name)}

    def served(self) -> Iterator[tuple[str, int, Served]]:
        """Every version that runs here and serves: name, version, deployment."""
        for name, (_, versions) in self._routes.items():
            for version, served in versions.items():
                yield name, version, served

    def index(self) -> list[IndexEntry]:
        """Everything known: what serves, and what does not or not in its newest form, and why."""
        reasons = {(a.name, a.version): a.reason for a in self._absent}
        ready = [
            IndexEntry(name, version, READY, reasons.get((name, version), ""))
            for name, (_, versions) in (self._routes | self._llm_routes).items()
            for version in versions
        ]
        serving = {(entry.name, entry.version) for entry in ready}
        absent = [
            IndexEntry(a.name, a.version, a.state, a.reason)
            for a in self._absent
            if (a.name, a.version) not in serving
        ]
        return sorted([*ready, *absent], key=lambda entry: (entry.name, entry.version))

    def ready(self, policy: str) -> bool:
        """Whether the server is ready: `all` known models serve, `any` does, or `always`.

        Never before it has loaded what it was started with; a version that is loaded beside one
        that serves takes nothing away.
        """
        if not self.plan.settled:
            return False
        missing = [a for a in self._absent if not a.unloaded and not self._covers(a)]
        if policy == "all":
            return not missing
        if self._routes or self._llm_routes or not missing:
            return True
        return policy == "always" and all(a.broken for a in missing)

    def _covers(self, absent: Absent) -> bool:
        """Something serves in the place of what is absent, or while it loads."""
        _, versions = (self._routes | self._llm_routes).get(absent.name, (0, {}))
        return absent.version in versions or (absent.state == LOADING and bool(versions))

    def _explain(self, name: str, version: int | None) -> None:
        """Raises what the plan knows of something that does not serve, if anything."""
        if not self.plan.number:
            raise ModelNotReady(f"Request for model '{name}': the server is starting")
        told = [a for a in self._absent if a.name == name and version in (None, a.version)]
        # Of several, the newest that was retired is the last to be told of.
        for absent in sorted(told, key=lambda a: (a.retired, -a.version if a.retired else 0)):
            subject = f"Request for unknown model: '{name}'"
            if absent.retired:
                raise _retired(absent)
            if version is None and not self.versions(name) and absent.state != LOADING:
                raise ModelNotFound(f"{subject} has no available versions: {absent.reason}")
            raise ModelNotReady(
                f"{subject} version {absent.version} is not at ready state: {absent.reason}"
            )


def _retired(absent: Absent) -> Retired:
    """What whoever asks for a retired version is told, with where to go from here."""
    error = Retired(f"model '{absent.name}' version {absent.version} {absent.reason}")
    if absent.successor:
        error.successor_path = (
            f"/v2/models/{quote(absent.name, safe='')}/versions/{absent.successor}"
        )
    return error
