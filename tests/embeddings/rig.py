"""A worker's models of texts on a running loop: real files, runs and counts, and fake callers."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gateway.access.principal import Principal
from gateway.catalogue import Catalogue, Served
from gateway.config import ModelSettings
from gateway.embeddings.models import EmbeddingModels
from gateway.embeddings.request import EmbeddingsRequest
from gateway.exchange import Header
from gateway.inference import InferEndpoint
from gateway.llm.counting_here import called_here, counter_here
from gateway.llm.limits.words import Limits
from gateway.models import content
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.observe import BatchObserver
from gateway.plan import Held, Plan, Route, Split
from gateway.routed import RoutedEndpoints
from gateway.serving.deployment import Deployment, load
from gateway.serving.turn import TurnBudget
from gateway.wire.guard import Passage
from gateway.wire.llm.words import Dialect
from gateway.wire.oip.codec import Codec
from tests.embeddings import maker
from tests.llm import journey_rig
from tests.llm.journey_rig import Talker
from tests.test_inference import new_services

PATIENCE_S = 60.0


def held(folder: Path, version: int = 1, seed: int = 0, **settings: Any) -> Held:
    """A version of the model `texts`, laid down in a folder of its own."""
    place = folder / str(version)
    maker.lay(place, seed)
    values = {"device": "cpu", "embeddings": {}, **settings}
    digest = content.digest(place, ["model.onnx", "tokenizer.json"])
    plain = ModelSettings(**values).model_dump()
    return Held("texts", version, str(place), "model.onnx", digest, plain, {}, 4096 * version)


@dataclass
class Rig:
    """`noted`: who answers each request, as it is told before."""

    arena: Arena
    pool: ThreadPoolExecutor
    limits: Limits | None = None
    noted: list[tuple[str, int]] = field(default_factory=list)
    served: dict[int, Served] = field(default_factory=dict)
    slots: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        rig = journey_rig.rig("{}", limits=self.limits)
        self.llm = rig.llm
        self.services = new_services()
        self.catalogue = Catalogue()
        self.models = EmbeddingModels(
            loop,
            self.services,
            self.pool,
            self.limits,
            self.catalogue,
            self._note,
            partial(counter_here, self.arena, 0),
        )
        self._routes = RoutedEndpoints(0)

    def _note(self, exchange: Any, model: str, version: int) -> None:
        self.noted.append((model, version))

    def serve(self, *wanted: Held, split: Split | None = None) -> None:
        """Follows a plan of these: new ones are loaded, others leave."""
        loop = asyncio.get_running_loop()
        for one in wanted:
            if one.id not in self.catalogue.by_id:
                self.catalogue.by_id[one.id] = self._attach(one, loop)
        leaving = [s for i, s in self.catalogue.by_id.items() if i not in {w.id for w in wanted}]
        for served in leaving:
            del self.catalogue.by_id[served.held.id]
        versions = {one.version: one.id for one in wanted}
        route = Route("texts", max(versions), versions, split)
        self.catalogue.follow(Plan(1, wanted, (route,), settled=True))
        ours = self.models.follow(self._routes.follow(self.catalogue, None))
        self.llm.follow({}, {}, ours)
        for served in leaving:
            assert isinstance(served, Served)
            served.endpoint.retire(lambda e: isinstance(e, EmbeddingsRequest) and e.again())
            served.deployment.drain(served.deployment.close)

    def close(self) -> None:
        """What serves ends its threads."""
        for served in self.catalogue.by_id.values():
            assert isinstance(served, Served)
            served.deployment.close()

    def _attach(self, one: Held, loop: Any) -> Served:
        block = self.arena.allocate(layout.MODEL, layout.model_key("texts", one.version))
        self.arena.allocate(layout.UPSTREAM, called_here("texts", one.version).key)
        observer = BatchObserver(self.arena, block, 0)
        self.slots[one.version] = self.arena.slot(block, 0)
        loaded = load(one)
        codec = Codec("texts", str(one.version), loaded.runtime.signature, 1 << 20, 0)
        endpoint = InferEndpoint(codec, observer, self.pool, self.services, parted=True)
        deployment = Deployment(
            loaded,
            endpoint.deliver,
            endpoint.refuse,
            loop,
            TurnBudget(loop),
            left=observer.left,
        )
        endpoint.attach(deployment.batcher)
        self.served[one.version] = Served(one, deployment, endpoint)
        return self.served[one.version]

    def send(
        self,
        inputs: Any,
        dialect: Dialect = Dialect.EMBEDDINGS,
        key: Principal | None = None,
        headers: Sequence[Header] = (),
        **more: Any,
    ) -> Any:
        """One request; what it comes to stands in the caller's `answers`."""
        body = {"model": "texts", "input": inputs, **more}
        talker: Any = Talker(body, b"/v1/embeddings")
        talker.headers = list(headers)
        talker.done = asyncio.Event()
        talker.on_reply = talker.done.set
        if key is not None:
            door: Any = None
            talker.head.passage = Passage(door, key, memoryview(bytearray(8)).cast("q"))
        self.llm.proxies[dialect](talker)
        return talker

    async def ask(self, inputs: Any, **more: Any) -> Any:
        """As `send`, once it is answered."""
        talker = self.send(inputs, **more)
        await answered(talker)
        return talker

    def counted(self, word: int, version: int = 1) -> int:
        return int(self.slots[version][word])


async def answered(talker: Any) -> None:
    await asyncio.wait_for(talker.done.wait(), PATIENCE_S)


def vectors(talker: Any) -> np.ndarray:
    """What a caller got, in its order."""
    (status, body) = talker.answers[-1]
    assert status == 200, body
    assert [one["index"] for one in body["data"]] == list(range(len(body["data"])))
    return np.array([_vector(one["embedding"]) for one in body["data"]])


def _vector(told: Any) -> np.ndarray:
    return np.frombuffer(base64.b64decode(told), "<f4") if isinstance(told, str) else np.array(told)


@contextmanager
def room() -> Iterator[tuple[Arena, ThreadPoolExecutor]]:
    arena = Arena.create(1)
    try:
        with ThreadPoolExecutor(2) as pool:
            yield arena, pool
    finally:
        arena.close()
