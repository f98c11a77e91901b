"""The clients of the control port.

Knows what an operator can ask for. Knows nothing of how it is done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.client import calls
from gateway.client.lines import AsyncLine, Line


class Admin(Line):
    """Operation over HTTP; its arguments are those of `Line`, `token` its key."""

    def __init__(
        self, url: str = "http://127.0.0.1:8002", token: str | None = None, **options: Any
    ):
        super().__init__(url, token, **options)

    def live(self) -> bool:
        """Whether the control process lives."""
        return self._do(calls.admin_health("live"))

    def ready(self) -> bool:
        """Whether every model has been loaded or refused."""
        return self._do(calls.admin_health("ready"))

    def status(self) -> dict[str, Any]:
        """Processes, their states, and the plan each worker follows."""
        return self.ask("GET", "/api/status")

    def models(self) -> list[dict[str, Any]]:
        """Every version known: `name`, `version`, `state`, `default`, `reason`."""
        return self._do(calls.admin_models())

    def load(self, model: str, timeout_s: float | None = None) -> None:
        """Loads a model anew; returns once every worker serves it."""
        self._do(calls.change_model(model, "load"), timeout_s)

    def unload(self, model: str, timeout_s: float | None = None) -> None:
        """Takes a model out of service until it is loaded again."""
        self._do(calls.change_model(model, "unload"), timeout_s)

    def reload(
        self, model: str | None = None, timeout_s: float | None = None, *, config: bool = True
    ) -> dict[str, Any]:
        """Has configuration and models read again: `plan` (number), `absent` (what does not serve).

        Args:
            model: wait for what becomes of this one alone; None: of all.
            timeout_s: other than the client's own.
            config: False: the models alone; the file of `--config` is not read again.

        Raises:
            ConfigInvalid: the document has faults; nothing changed.
        """
        return self._do(calls.reload(model, config), timeout_s)

    def config(self, revision: int | None = None) -> dict[str, Any]:
        """A document as it was applied: `number`, `document`, `who`, `at`, `note`, `source`.

        Args:
            revision: its number; None: what is in force.
        """
        return self._do(calls.config(revision))

    def effective_config(self) -> dict[str, Any]:
        """Every value in force: `revision`, `settings` (`path`, `value`, `source`)."""
        return self._do(calls.effective_config())

    def apply_config(
        self,
        document: str,
        if_revision: int,
        *,
        note: str = "",
        source: str = "",
        dry_run: bool = False,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Puts a document in force and waits until the workers follow; or tells what would change.

        Args:
            document: YAML.
            if_revision: the number of what is changed: somebody else's work is not overwritten.
            note: why, for the history.
            source: the file that it comes from.
            dry_run: change nothing.
            timeout_s: other than the client's own.

        Returns:
            `revision` and `before` (numbers), `changes`, `plan`, `absent` (what does not serve),
            `refused` (what of that the change is to blame for).

        Raises:
            ConfigInvalid: it has faults, or does not fit this server; nothing changed.
            PreconditionFailed: another revision is in force by now.
        """
        return self._do(calls.apply_config(document, if_revision, note, source, dry_run), timeout_s)

    def roll_back_config(
        self,
        if_revision: int,
        revision: int | None = None,
        *,
        note: str = "",
        dry_run: bool = False,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Puts an earlier document in force again; all as `apply_config`.

        Args:
            if_revision: the number of what is changed.
            revision: which comes back; None: a step back.
            note: why, for the history.
            dry_run: change nothing.
            timeout_s: other than the client's own.
        """
        return self._do(calls.roll_back_config(if_revision, revision, note, dry_run), timeout_s)

    def revisions(self, before: int | None = None, limit: int = 100) -> dict[str, Any]:
        """A page of the history: `revisions`, the newest first, and `next` (`before` of the next).

        Args:
            before: only those of a lower number.
            limit: at most so many.
        """
        return self._do(calls.revisions(before, limit))

    def routes(self) -> list[dict[str, Any]]:
        """Every model that clients call, and how its requests are divided."""
        return self._do(calls.routes())

    def route(self, model: str) -> dict[str, Any]:
        """How a model's requests are divided: as wanted, and as it serves."""
        return self.ask("GET", calls.route(model))

    def set_route(
        self, model: str, route: Mapping[str, Any], timeout_s: float | None = None
    ) -> dict[str, Any]:
        """Divides a model's requests, and returns once every worker follows.

        Args:
            model: that clients call.
            route: `variants` (`name`, `version` or `alias`, `weight`), `sticky`, `overrides`,
                `fallback`, `failing`: as in the configuration.
            timeout_s: other than the client's own; a version may have to be loaded first.

        Raises:
            ModelNotFound, VersionNotFound: a variant is over what nobody has.
            Conflict: variants differ in their signatures, or somebody leads the route.
        """
        return self.ask("PUT", calls.route(model), dict(route), timeout_s=timeout_s)

    def reset_route(self, model: str) -> dict[str, Any]:
        """Takes back what was set over the document's route."""
        return self.ask("DELETE", calls.route(model))

    def stop_route(
        self, model: str, fallback: int | None = None, *, why: str = ""
    ) -> dict[str, Any]:
        """Has one version answer alone, in every worker before this returns.

        Args:
            model: that clients call.
            fallback: the version; None: the route's own fallback.
            why: for whoever reads the audit.
        """
        return self.ask("POST", calls.route(model, "stop"), {"fallback": fallback, "why": why})

    def resume_route(self, model: str) -> dict[str, Any]:
        """Ends a stop, and gives variants that were pulled their share again."""
        return self.ask("POST", calls.route(model, "resume"))

    def callers(self, model: str, version: int, days: int = 7) -> list[dict[str, Any]]:
        """Who called a version of late: `caller`, `requests`, `last`, `days`."""
        path = calls.version(model, version, "callers")
        found: list[dict[str, Any]] = self.ask("GET", path, query={"days": days})["callers"]
        return found

    def retire(
        self,
        model: str,
        version: int,
        *,
        successor: int | None = None,
        force: bool = False,
        days: int = 7,
        why: str = "",
    ) -> dict[str, Any]:
        """Takes a version out of service for good; its callers are told of its successor.

        Args:
            model: of the version.
            version: that leaves.
            successor: whom to ask instead; None: what answers for the model.
            force: even where it was called of late.
            days: how late that is.
            why: for whoever reads the audit.

        Raises:
            Conflict: something leads clients to it, or it is still called.
        """
        wanted = {"successor": successor, "force": force, "days": days, "why": why}
        return self.ask("POST", calls.version(model, version, "retire"), wanted)

    def unretire(self, model: str, version: int) -> dict[str, Any]:
        """Lets a retired version serve again: `state` and `reason`."""
        return self.ask("POST", calls.version(model, version, "unretire"))

    def list_keys(self) -> list[dict[str, Any]]:
        """Every key there ever was; never the key itself."""
        return self._do(calls.keys())

    def create_key(
        self,
        name: str,
        role: str,
        models: Sequence[str] = ("*",),
        expires: str | None = None,
        **belongs: Any,
    ) -> dict[str, Any]:
        """Makes a key; its `key` is told this once.

        Args:
            name: what logs and metrics call it.
            role: what it may do.
            models: the models it may call.
            expires: `30d` from now, or a date to come; None: never.
            belongs: `team`, `tags` and `limits`, which its requests to language models count
                against: `limits={"budgets": ["10usd/day"], "requests_per_minute": 60}`.
        """
        return self._do(calls.create_key(name, role, models, expires, belongs))

    def set_key(self, id: int, **changes: Any) -> dict[str, Any]:
        """Changes `models`, `team`, `tags` or fields of `limits` of a key; the rest stays."""
        return self._do(calls.set_key(id, changes))

    def spend(self, after: str = "", limit: int = 100) -> dict[str, Any]:
        """A page of what callers, teams and tags have spent: `spend`, and `next` (its `after`)."""
        return self._do(calls.spend(after, limit))

    def rotate_key(self, id: int, overlap: str | None = None) -> dict[str, Any]:
        """Makes a key in the place of another, which stays good for `overlap` (`1h`)."""
        return self._do(calls.rotate_key(id, overlap))

    def revoke_key(self, id: int) -> dict[str, Any]:
        """Takes a key back at once and for good."""
        return self._do(calls.revoke_key(id))

    def audit(self, after: int = 0, limit: int = 100) -> dict[str, Any]:
        """A page of the audit: `entries`, ascending, and `next` (`after` of the next page).

        Args:
            after: an entry's id; those past it are told.
            limit: at most so many.
        """
        return self._do(calls.audit(after, limit))

    def metrics(self, triton: bool = True) -> str:
        """Prometheus' text; without Triton's names where those are not wanted."""
        return self._do(calls.metrics(triton))

    def ask(
        self,
        method: str,
        path: str,
        document: Any = None,
        query: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Any operation of `/api/openapi.json` that answers with a JSON object.

        Args:
            method: of the operation.
            path: of the operation.
            document: sent as JSON.
            query: parameters behind the path; what is None is left out.
            timeout_s: other than the client's own.
            headers: more of them, as `If-Match`.
        """
        return self._do(calls.admin(method, path, document, query, headers), timeout_s)


class AsyncAdmin(AsyncLine):
    """The same for asyncio; see `Admin` for what each method promises."""

    def __init__(
        self, url: str = "http://127.0.0.1:8002", token: str | None = None, **options: Any
    ):
        super().__init__(url, token, **options)

    async def live(self) -> bool:
        """Whether the control process lives."""
        return await self._do(calls.admin_health("live"))

    async def ready(self) -> bool:
        """Whether every model has been loaded or refused."""
        return await self._do(calls.admin_health("ready"))

    async def status(self) -> dict[str, Any]:
        """Processes, their states, and the plan each worker follows."""
        return await self.ask("GET", "/api/status")

    async def models(self) -> list[dict[str, Any]]:
        """Every version known."""
        return await self._do(calls.admin_models())

    async def load(self, model: str, timeout_s: float | None = None) -> None:
        """Loads a model anew."""
        await self._do(calls.change_model(model, "load"), timeout_s)

    async def unload(self, model: str, timeout_s: float | None = None) -> None:
        """Takes a model out of service."""
        await self._do(calls.change_model(model, "unload"), timeout_s)

    async def reload(
        self, model: str | None = None, timeout_s: float | None = None, *, config: bool = True
    ) -> dict[str, Any]:
        """Has configuration and models read again."""
        return await self._do(calls.reload(model, config), timeout_s)

    async def config(self, revision: int | None = None) -> dict[str, Any]:
        """A document as it was applied."""
        return await self._do(calls.config(revision))

    async def effective_config(self) -> dict[str, Any]:
        """Every value in force."""
        return await self._do(calls.effective_config())

    async def apply_config(
        self,
        document: str,
        if_revision: int,
        *,
        note: str = "",
        source: str = "",
        dry_run: bool = False,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Puts a document in force and waits until the workers follow."""
        return await self._do(
            calls.apply_config(document, if_revision, note, source, dry_run), timeout_s
        )

    async def roll_back_config(
        self,
        if_revision: int,
        revision: int | None = None,
        *,
        note: str = "",
        dry_run: bool = False,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Puts an earlier document in force again."""
        return await self._do(
            calls.roll_back_config(if_revision, revision, note, dry_run), timeout_s
        )

    async def revisions(self, before: int | None = None, limit: int = 100) -> dict[str, Any]:
        """A page of the history."""
        return await self._do(calls.revisions(before, limit))

    async def routes(self) -> list[dict[str, Any]]:
        """Every route."""
        return await self._do(calls.routes())

    async def route(self, model: str) -> dict[str, Any]:
        """One route."""
        return await self.ask("GET", calls.route(model))

    async def set_route(
        self, model: str, route: Mapping[str, Any], timeout_s: float | None = None
    ) -> dict[str, Any]:
        """Divides a model's requests."""
        return await self.ask("PUT", calls.route(model), dict(route), timeout_s=timeout_s)

    async def reset_route(self, model: str) -> dict[str, Any]:
        """Takes back what was set."""
        return await self.ask("DELETE", calls.route(model))

    async def stop_route(
        self, model: str, fallback: int | None = None, *, why: str = ""
    ) -> dict[str, Any]:
        """Has one version answer alone."""
        wanted = {"fallback": fallback, "why": why}
        return await self.ask("POST", calls.route(model, "stop"), wanted)

    async def resume_route(self, model: str) -> dict[str, Any]:
        """Ends a stop, and puts back what was pulled."""
        return await self.ask("POST", calls.route(model, "resume"))

    async def callers(self, model: str, version: int, days: int = 7) -> list[dict[str, Any]]:
        """Who called a version of late."""
        path = calls.version(model, version, "callers")
        answer = await self.ask("GET", path, query={"days": days})
        found: list[dict[str, Any]] = answer["callers"]
        return found

    async def retire(
        self,
        model: str,
        version: int,
        *,
        successor: int | None = None,
        force: bool = False,
        days: int = 7,
        why: str = "",
    ) -> dict[str, Any]:
        """Takes a version out of service for good."""
        wanted = {"successor": successor, "force": force, "days": days, "why": why}
        return await self.ask("POST", calls.version(model, version, "retire"), wanted)

    async def unretire(self, model: str, version: int) -> dict[str, Any]:
        """Lets a retired version serve again."""
        return await self.ask("POST", calls.version(model, version, "unretire"))

    async def list_keys(self) -> list[dict[str, Any]]:
        """Every key there ever was."""
        return await self._do(calls.keys())

    async def create_key(
        self,
        name: str,
        role: str,
        models: Sequence[str] = ("*",),
        expires: str | None = None,
        **belongs: Any,
    ) -> dict[str, Any]:
        """Makes a key."""
        return await self._do(calls.create_key(name, role, models, expires, belongs))

    async def set_key(self, id: int, **changes: Any) -> dict[str, Any]:
        """Changes `models`, `team`, `tags` or fields of `limits` of a key; the rest stays."""
        return await self._do(calls.set_key(id, changes))

    async def spend(self, after: str = "", limit: int = 100) -> dict[str, Any]:
        """A page of what callers, teams and tags have spent."""
        return await self._do(calls.spend(after, limit))

    async def rotate_key(self, id: int, overlap: str | None = None) -> dict[str, Any]:
        """Makes a key in the place of another, which stays good for `overlap` (`1h`)."""
        return await self._do(calls.rotate_key(id, overlap))

    async def revoke_key(self, id: int) -> dict[str, Any]:
        """Takes a key back at once and for good."""
        return await self._do(calls.revoke_key(id))

    async def audit(self, after: int = 0, limit: int = 100) -> dict[str, Any]:
        """A page of the audit."""
        return await self._do(calls.audit(after, limit))

    async def metrics(self, triton: bool = True) -> str:
        """Prometheus' text."""
        return await self._do(calls.metrics(triton))

    async def ask(
        self,
        method: str,
        path: str,
        document: Any = None,
        query: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Any operation that answers with a JSON object."""
        return await self._do(calls.admin(method, path, document, query, headers), timeout_s)
