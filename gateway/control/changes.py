"""What somebody asks of a running server: to reload, to load, to unload. Written down, then done.

Knows who may be asking and what the audit is told. Knows nothing of HTTP or of how plans are made.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from gateway.config import Config
from gateway.control.audit import Actor
from gateway.control.planner import Planner
from gateway.control.recorder import Recorder
from gateway.errors import GatewayError, ModelNotFound, ModelRefused, RepositoryForbidden
from gateway.names import check_name
from gateway.plan import Absent

log = logging.getLogger("penstock.control")


class Changes:
    """Lives on control's event loop."""

    def __init__(
        self,
        planner: Planner,
        recorder: Recorder,
        config: Callable[[], Config],
        reread: Callable[[Actor], Awaitable[None]],
    ) -> None:
        """Takes its collaborators.

        Args:
            planner: makes the plans.
            recorder: writes the audit.
            config: the document in force.
            reread: takes the configuration up again; raises `ConfigInvalid`.
        """
        self._planner = planner
        self._recorder = recorder
        self._config = config
        self._reread = reread

    async def reload(
        self, actor: Actor, name: str | None = None, reread: bool = True
    ) -> tuple[Absent, ...]:
        """Reads the configuration and every source again and brings the workers there.

        Args:
            actor: who asks.
            name: wait for this model alone, and look at no other's sources unless the
                configuration was read, which is about all; None: for all.
            reread: take up what the file of `--config` says now; False: models have changed, and
                what somebody is writing there is left alone.

        Raises:
            ConfigInvalid: the document has faults; nothing changes.
            StoreFailed: it cannot be written down, and is not done.
        """
        if reread:
            await self._reread(actor)
        memory = self._planner.memory
        before = {"plan": memory.plan.number, "refused": len(memory.refused)}
        await self._recorder.record(actor, "reload", "sources", before)
        if name is None:
            memory.forget_refusals()
        else:
            memory.retry(name)  # whoever may name this one may not speak for the others
        return await self._planner.apply(name, alone=not reread)

    async def load(self, actor: Actor, name: str) -> None:
        """Loads a model anew from its source.

        Raises:
            InvalidParameter, ModelNotFound, ModelRefused: no model can have that name, none has it,
                or it will not load.
            StoreFailed: it cannot be written down, and is not done.
        """
        check_name(name)
        memory = self._planner.memory
        loads = memory.loads.get(name, 0)
        await self._recorder.record(
            actor,
            "load",
            name,
            {"unloaded": name in memory.unloaded, "loads": loads},
            {"unloaded": False, "loads": loads + 1},
        )
        memory.reload(name)
        absent = await self._planner.apply(name, alone=True)
        if not self._planner.knows(name):
            raise ModelNotFound(
                f"failed to load '{name}', failed to poll from model repository: no source has it"
            )
        if reasons := [one.reason for one in absent if one.name == name]:
            raise ModelRefused(f"failed to load '{name}': {'; '.join(reasons)}")

    async def unload(self, actor: Actor, name: str) -> None:
        """Takes a model out of service until it is loaded again; unknown names are no error.

        Raises:
            StoreFailed: it cannot be written down, and is not done.
        """
        memory = self._planner.memory
        plan = memory.plan
        # Names that nobody knows would only pile up.
        if name not in {held.name for held in plan.held} | {absent.name for absent in plan.absent}:
            return
        if name not in memory.unloaded:
            await self._recorder.record(
                actor, "unload", name, {"unloaded": False}, {"unloaded": True}
            )
            memory.unloaded.add(name)
        await self._planner.apply(name, alone=True)

    async def asked_by_mail(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """A load or unload asked on the data port: the verdict that its worker waits for."""
        name, load = message["model"], message["action"] == "load"
        actor = _actor(message["client"], message["who"])
        verdict: dict[str, Any] = {"type": "verdict", "ticket": message["ticket"], "ok": True}
        try:
            if not self._config().repository.allow_load:
                # Workers go by what they were started with; switching it off is obeyed at once.
                raise RepositoryForbidden("load and unload were switched off by a reload")
            await (self.load if load else self.unload)(actor, name)
        except GatewayError as error:
            verdict |= {
                "ok": False,
                "status": error.status,
                "code": error.code,
                "error": str(error),
            }
        except Exception:
            log.exception("load or unload of '%s'", name)
            verdict |= {"ok": False, "status": 500, "code": "internal", "error": "internal error"}
        return verdict


def _actor(client: str, who: Sequence[str] | None) -> Actor:
    """Who asks on the data port: a name and what showed it, or nobody known."""
    if who is None:
        return Actor(f"anonymous@{client}", "data", client)
    name, shown = who
    return Actor(name, "data", f"{client} {shown}")
