"""The clients of the control port.

Knows what an operator can ask for. Knows nothing of how it is done.
"""

from __future__ import annotations

from collections.abc import Mapping
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

    def reload(self, model: str | None = None, timeout_s: float | None = None) -> dict[str, Any]:
        """Has configuration and models read again: `plan` (number), `absent` (what does not serve).

        Args:
            model: wait for what becomes of this one alone; None: of all.
            timeout_s: other than the client's own.

        Raises:
            ConfigInvalid: the document has faults; nothing changed.
        """
        return self._do(calls.reload(model), timeout_s)

    def metrics(self, triton: bool = True) -> str:
        """Prometheus' text; without Triton's names where those are not wanted."""
        return self._do(calls.metrics(triton))

    def ask(
        self,
        method: str,
        path: str,
        document: Any = None,
        query: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Any operation of `/api/openapi.json` that answers with a JSON object.

        Args:
            method: of the operation.
            path: of the operation.
            document: sent as JSON.
            query: parameters behind the path.
            timeout_s: other than the client's own.
        """
        return self._do(calls.admin(method, path, document, query), timeout_s)


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
        self, model: str | None = None, timeout_s: float | None = None
    ) -> dict[str, Any]:
        """Has configuration and models read again."""
        return await self._do(calls.reload(model), timeout_s)

    async def metrics(self, triton: bool = True) -> str:
        """Prometheus' text."""
        return await self._do(calls.metrics(triton))

    async def ask(
        self,
        method: str,
        path: str,
        document: Any = None,
        query: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Any operation that answers with a JSON object."""
        return await self._do(calls.admin(method, path, document, query), timeout_s)
