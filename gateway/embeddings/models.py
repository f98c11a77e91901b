"""Which models of one worker make embeddings, and which version of one answers a request.

Knows the catalogue and routes. Knows nothing of how a request is answered (`request`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any

from gateway.catalogue import Catalogue, Served
from gateway.embeddings.request import Choice, EmbeddingsRequest, Means
from gateway.errors import ModelNotReady
from gateway.inference import Arm
from gateway.llm.counting_here import CounterHere
from gateway.llm.limits.words import Limits
from gateway.llm.names import Ours
from gateway.llm.proxy import Proxy
from gateway.routed import RoutedEndpoint
from gateway.wire.services import Services

Note = Callable[[Any, str, int], None]
"""Takes an exchange, and the model and version that answer it, before it is answered."""
Counter = Callable[[str, int], CounterHere | None]
"""What a version counts with, by its model's name and its number; None: there is no room."""


def uncounted(name: str, version: int) -> CounterHere | None:
    """Where nothing is counted."""
    return None


class EmbeddingModels:
    """Lives on the worker's event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        services: Services,
        pool: Executor,
        limits: Limits | None,
        catalogue: Catalogue,
        note: Note,
        counter: Counter = uncounted,
    ) -> None:
        """Takes the worker's collaborators.

        Args:
            loop: the worker's.
            services: of its port.
            pool: threads that read long texts and write many vectors.
            limits: of keys; None: nobody has a key.
            catalogue: what serves here.
            note: is told of each request who answers it.
            counter: what a version counts with.
        """
        self._counter = counter
        self._counters: dict[str, CounterHere | None] = {}
        self._means = Means(loop, services, pool, limits, note)
        self._catalogue = catalogue
        self._divided: Mapping[str, RoutedEndpoint] = {}

    def follow(self, divided: Mapping[str, RoutedEndpoint]) -> dict[str, Ours]:
        """What takes requests for embeddings, by model, as the catalogue has them now.

        Args:
            divided: routes that divide requests among versions, by model.
        """
        self._divided = divided
        served = [one for _, _, one in self._catalogue.served() if one.deployment.texts is not None]
        self._count(served)
        names = {one.held.name for one in served}
        return {name: partial(self._take, name) for name in names}

    def _count(self, served: Sequence[Served]) -> None:
        """Counts what these answer, each by itself, and no more of those that have left."""
        before, self._counters = self._counters, {}
        for held in (one.held for one in served):
            known = held.id in before
            self._counters[held.id] = (
                before.pop(held.id) if known else self._counter(held.name, held.version)
            )
        for gone in before.values():
            if gone is not None:
                gone.leave()

    def _take(self, name: str, proxy: Proxy, exchange: Any, values: Mapping[str, Any]) -> None:
        EmbeddingsRequest(proxy, exchange, values, self._means, partial(self._choose, name)).begin()

    def _choose(self, name: str, headers: Any, parameters: Mapping[str, Any]) -> Choice:
        """Who answers a request; its parameters are the body, under its `metadata`.

        Raises:
            InvalidParameter: it asks for a variant that there is not.
            ModelNotFound, ModelNotReady: nobody does any more, or not yet.
        """
        routed = self._divided.get(name)
        if routed is None:
            return self._choice(self._catalogue.resolve(name))
        arm = routed.choose(headers, parameters)
        return self._choice(self._catalogue.resolve(name, arm.version), arm)

    def _choice(self, served: Served, arm: Arm | None = None) -> Choice:
        held, deployment = served.held, served.deployment
        if deployment.texts is None:
            raise ModelNotReady(f"model '{held.name}' version {held.version} has no tokenizer yet")
        rows = deployment.settings.max_batch_size if deployment.signature.batched else 1
        counter = self._counters.get(held.id)
        return Choice(
            held.name, held.version, served.endpoint, deployment.texts, rows, arm, counter
        )
