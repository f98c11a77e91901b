"""All that one worker does for language models, put together.

Knows which room gets which collaborator. Knows nothing of plans beyond what is held, of ONNX, or of
how any room works.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import numpy as np

from gateway.errors import ModelRefused
from gateway.exchange import Endpoint, Exchange
from gateway.llm.copies import Copied, Copies
from gateway.llm.counting import Counting
from gateway.llm.credentials import credential
from gateway.llm.deployment import LlmDeployment
from gateway.llm.key_files import KeyFiles, Stamps, stamps_of
from gateway.llm.later import Later, at_once
from gateway.llm.limits.words import Limits
from gateway.llm.names import NONE_ABSENT, NONE_OURS, Chosen, Names, Ours
from gateway.llm.pairs import Pairs
from gateway.llm.pricing import Price
from gateway.llm.proxy import Count, Proxy
from gateway.llm.reported import Reported
from gateway.llm.settings import Settings, read
from gateway.llm.targets import Target, origin_of, target_of
from gateway.llm.told import Happened
from gateway.llm.traced import parameters
from gateway.llm.upstream.addresses import literal, public
from gateway.llm.upstream.upstreams import Upstreams
from gateway.llm.upstream.words import Origin
from gateway.llm.watch import Watch
from gateway.monitor.observe import BatchObserver
from gateway.monitor.upstreams import UpstreamCounter
from gateway.plan import Absent, Held, Split
from gateway.wire.llm import azure
from gateway.wire.llm.words import PATHS, Dialect
from gateway.wire.services import Services
from gateway.wire.trace import Trace
from kernels import texts

log = logging.getLogger("penstock.llm")

Counters = Callable[[str, int, Settings], list[UpstreamCounter | None]]
"""What a version counts with, as `Counting` takes it."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was read on a thread for one version.

    Attributes:
        settings: of it.
        targets: its upstreams.
        stamps: of the files of their keys.
        load_s: what that took.
    """

    settings: Settings
    targets: tuple[Target, ...]
    stamps: Stamps
    load_s: float


def load(held: Held, clock: Callable[[], float] = time.perf_counter) -> Loaded:
    """Reads what a version needs: keys of its providers, and whom they have signed by. Blocks.

    Raises:
        ModelRefused: as `targets_of`.
    """
    began = clock()
    settings = read(held.settings)
    stamps = stamps_of(settings)  # first: a key that is rotated meanwhile is read once more
    return Loaded(settings, targets_of(settings), stamps, clock() - began)


def targets_of(settings: Settings) -> tuple[Target, ...]:
    """The upstreams of a version, ready to be asked. Blocks.

    One whose key is not where it should be, or whose address is not one to be asked, says so
    (`lacks`) and keeps nobody from asking the others.

    Raises:
        ModelRefused: the environment names a proxy that cannot be used.
    """
    prices = settings.prices or {}
    targets = []
    for one in settings.version.upstreams:
        provider = settings.providers[one.provider]
        plain = prices.get(one.called)
        price = None if plain is None else Price.read(plain)
        origin = origin_of(provider)
        key, lacks = None, ""
        try:
            key = credential(one.provider, provider)
            _check(one.provider, origin)
        except ModelRefused as error:
            lacks = str(error)
        targets.append(target_of(one, provider, origin, key, price, lacks))
    return tuple(targets)


def _check(provider: str, origin: Origin) -> None:
    """Refuses an address that would be refused whenever it was connected to.

    What a name stands for is looked at then, each time.

    Raises:
        ModelRefused: it is not a public one, and need be.
    """
    address = literal(origin.host)
    if address is not None and not origin.allow_private and not public(address):
        raise ModelRefused(
            f"llm.providers.{provider}: base_url: {address} is not a public address, and"
            " allow_private is not set"
        )


class LanguageModels:
    """Lives on the worker's event loop.

    Attributes:
        names: every model by what clients call it.
        proxies: what answers requests, by the dialect that they come in.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        services: Services,
        pool: Executor,
        limits: Limits | None,
        count: Count | None,
        start: int,
        counters: Counters,
        tell: Callable[[dict[str, Any]], bool],
        pairs: Pairs,
        upstreams: Upstreams | None = None,
        later: Later = at_once,
    ) -> None:
        """Takes the worker's collaborators.

        Args:
            loop: the worker's.
            services: of its port.
            pool: threads that read large requests.
            limits: of keys; None: nobody has a key.
            count: counts a caller's request, by its head, the model and the version that answers;
                None: nobody knows callers.
            start: where turns of routes begin; workers that begin together begin apart.
            counters: finds what a version counts with.
            tell: tells control something, if there is room.
            pairs: count what shadows say beside what was answered.
            upstreams: connections; None: its own.
            later: has short requests and whole answers written.
        """
        self.names = Names(start)
        self._counters = counters
        self._traced = False
        self._tell = tell
        self._texts = np.zeros(texts.TABLE_WORDS, np.int64)  # one for all that read texts
        self._watches: dict[LlmDeployment, Watch] = {}
        self._loop = loop
        self._services = services
        self._upstreams = upstreams or Upstreams(loop, later=later)
        self.proxies = {
            dialect: Proxy(
                dialect,
                self.names,
                self._upstreams,
                limits,
                services,
                pool,
                loop,
                count,
                partial(self._over, dialect),
                partial(self._fell_back, dialect),
                later,
            )
            for dialect in PATHS
        }
        self._pairs = pairs
        self._copies = Copies(loop, self.proxies, pairs, Random())
        self._key_files = KeyFiles(loop, pool, targets_of)

    def trace(self, begin: Callable[[], Trace]) -> None:
        """Requests are traced from now on; `begin` begins the trace of one that is part of none."""
        self._traced = True
        for proxy in self.proxies.values():
            proxy.begin_trace = begin

    def start(self) -> None:
        """Looks after keys, and reads no answers where the worker is late, from now on."""
        self._key_files.start()
        answering = self._upstreams.answering
        self._services.lag.watch(
            partial(answering, awaited=True), partial(answering, awaited=False)
        )

    def attach(self, held: Held, loaded: Loaded, observer: BatchObserver) -> LlmDeployment:
        """Makes a version ready to answer."""
        name, version, settings = held.name, held.version, loaded.settings
        made = LlmDeployment(name, version, settings, loaded.targets, observer)
        self._key_files.watch(made, loaded.stamps)
        counters = self._counters(name, version, settings)
        counting = Counting(counters, made, self._upstreams)
        reported = Reported(name, version, self._tell)
        self._watches[made] = Watch(made, counting, self._texts, reported, self._loop)
        return made

    def release(self, deployment: LlmDeployment) -> None:
        """A version has answered its last request."""
        self._key_files.forget(deployment)
        self._watches.pop(deployment).leave()

    def mark(self) -> None:
        """Tells how every upstream is. Called twice a second."""
        now = time.perf_counter()
        for watch in self._watches.values():
            watch.mark(now)

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
        self.names.follow(models, absent, ours)
        self._pairs.follow(
            (name, split) for name, (_, _, split) in models.items() if split is not None
        )
        targets = (target for one in self.deployments for target in one.targets)
        self._upstreams.follow({target.origin for target in targets})

    def close_breaker(self, model: str, version: int, upstream: str) -> None:
        """Somebody says that an upstream is well: it is asked again at once."""
        for one in self.deployments:
            if (one.name, one.version) == (model, version):
                one.pool.close(upstream)

    @property
    def deployments(self) -> Iterator[LlmDeployment]:
        """Every version that serves here."""
        for named in self.names.models.values():
            yield from named.deployments

    def paths(self) -> dict[bytes, Endpoint]:
        """What the lane takes; nothing where there is no model for it, nor may be one."""
        if not (self.names.models or self.names.absent or self.names.ours):
            return {}
        proxies, names = self.proxies, self.names
        found: dict[bytes, Endpoint] = {
            PATHS[dialect]: proxy.__call__ for dialect, proxy in proxies.items()
        }
        found |= {path: proxies[dialect].__call__ for path, dialect in azure.NAMELESS.items()}
        # `x/chat` may be another's name: where both claim a path, it is the shorter name's.
        for called in sorted({*names.called, *names.absent, *names.ours}, key=len):
            for path, dialect in azure.paths_of(called):
                found.setdefault(path, partial(proxies[dialect], model=called))
        return found

    def drain(self) -> None:
        """The worker leaves: what is under way is finished, and no connection is kept for more."""
        self._upstreams.drain()

    async def read_out(self, within_s: float) -> None:
        """Returns once nothing is read on threads any more, or after so long.

        Whoever has left while its answer is read is charged then.
        """
        going = {one for proxy in self.proxies.values() for one in proxy.asides}
        if going:
            await asyncio.wait(going, timeout=within_s)

    def close(self) -> None:
        """Asks nobody any more."""
        self._key_files.stop()
        self._upstreams.close()
        self.mark()
        self.flush()
        self._pairs.close()

    def begin_anew(self) -> None:
        """Control has forgotten what it was told of pairs of answers."""
        self._pairs.begin_anew()

    def flush(self) -> None:
        """Hands on what is watched of requests that are over."""
        for watch in self._watches.values():
            watch.flush()

    def _fell_back(self, dialect: Dialect, chosen: Chosen, happened: Happened) -> None:
        """A version has failed a request, or cut its answer off, and another model is asked."""
        try:
            self._watches[chosen.deployment].fell_back(dialect, happened)
        except Exception:
            log.exception("a request to a language model was not counted")

    def _over(
        self, dialect: Dialect, exchange: Exchange, chosen: Chosen, happened: Happened
    ) -> None:
        """A request is over: whatever goes wrong now is none of its client's business."""
        try:
            self._watches[chosen.deployment].over(exchange, chosen, dialect, happened)
        except Exception:
            log.exception("a request to a language model was not counted")
        try:
            self._to_shadows(exchange, chosen, happened)
        except Exception:
            log.exception("a request to a language model was not held against its shadow's")
        happened.values = parameters(happened.values) if self._traced else {}

    def _to_shadows(self, exchange: Exchange, chosen: Chosen, happened: Happened) -> None:
        if isinstance(exchange, Copied):
            exchange.over(happened)
        elif happened.result == "ok":
            named = self.names.models.get(chosen.deployment.name)
            if named is not None and named.shadows:
                self._copies.answered(named, chosen, exchange, happened)
