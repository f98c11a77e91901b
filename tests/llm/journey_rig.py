"""A worker's language models with upstreams that a test answers for itself."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

from gateway.access.principal import Principal
from gateway.config import parse
from gateway.exchange import Header
from gateway.llm import models, price_map
from gateway.llm.deployment import LlmDeployment
from gateway.llm.later import Later, at_once
from gateway.llm.limits.words import Grant, Limits, Rates
from gateway.llm.names import Chosen
from gateway.llm.pairs import Pairs
from gateway.llm.settings import Settings, settings_of
from gateway.llm.told import Happened
from gateway.llm.upstream.words import Body
from gateway.monitor.upstreams import UpstreamCounter
from gateway.plan import LLM, Held, Split
from gateway.wire.guard import Passage
from gateway.wire.head import Head
from gateway.wire.llm.words import Dialect
from gateway.wire.trace import TRACEPARENT, read_traceparent
from kernels import answers
from tests.llm.limits.rig import Rig as Host
from tests.test_inference import Caller, new_services

JSON = [(b"content-type", b"application/json")]
GZIPPED = (b"content-encoding", b"gzip")
EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8")]
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


class Sent:
    """One request as an upstream has it; the test answers it through `sink`."""

    def __init__(self, origin: Any, head: bytes, body: Body, sink: Any) -> None:
        self.origin = origin
        self.head = head
        self.body = json.loads(body if isinstance(body, bytes) else b"".join(body))
        self.sink = sink
        self.cancelled = False
        self.paused = False
        self.sent = True

    def cancel(self) -> None:
        self.cancelled = True

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def answers(self, values: Any = None, status: int = 200) -> None:
        body = whole() if values is None else values
        self.sink.on_head(status, JSON)
        self.sink.on_data(json.dumps(body).encode())
        self.sink.on_end()

    def streams(self, *events: Any, end: bool = True) -> None:
        self.sink.on_head(200, EVENTS)
        self.sends(*events)
        if end:
            self.sink.on_end()

    def sends(self, *events: Any) -> None:
        for one in events:
            data = one if isinstance(one, bytes) else json.dumps(one).encode()
            self.sink.on_data(b"data: %b\n\n" % data)


class FakeUpstreams:
    """Takes requests and answers none by itself; a broken one takes none."""

    broken = False

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.more = asyncio.Event()

    def send(
        self,
        origin: Any,
        head: bytes,
        body: Body,
        sink: Any,
        timeouts: Any,
        *,
        awaited: bool = True,
    ) -> Sent:
        if self.broken:
            raise RuntimeError("a mistake of the gateway's own")
        self.sent.append(Sent(origin, head, body, sink))
        self.more.set()
        return self.sent[-1]

    def follow(self, origins: Any) -> None:
        pass


class Counting:
    """What is counted of a version, or what fails at it once an answer was written."""

    def __init__(self) -> None:
        self.broken = False
        self.told: list[str] = []
        self.failed = 0  # of them, those that count against it

    def counted(self, *_: Any, **__: Any) -> None:
        self.told.append("ok")

    def observed(self, *_: Any, **__: Any) -> None:
        if self.broken:
            raise RuntimeError("counting is in a state nobody foresaw")

    def erred(self, error: Any, seconds: float = 0.0) -> None:
        self.told.append(error.code)
        self.failed += error.at_fault

    def left(self) -> None:
        self.told.append("left")


class Talker(Caller):
    """A client; what it got stands in `answers`, or in `streamed`."""

    def __init__(self, body: dict[str, Any], path: bytes = b"/v1/chat/completions") -> None:
        super().__init__(body=json.dumps(body).encode())
        self.path = path
        self.arrived = perf_counter()
        self.about = {"request_id": "r-1"}
        self.request_id = b"r-1"
        self.head = Head(b"POST", path, b"", [])
        self.streamed: Any = None
        self.model: Any = None

    def header(self, name: bytes) -> bytes | None:
        return dict(self.headers).get(name)

    def note_model(self, model: Any) -> None:
        self.model = model

    def stream(self, status: int, headers: Any = ()) -> Any:
        self.heads.append(headers)
        self.streamed = Opened(self)
        return self.streamed

    @property
    def told(self) -> dict[bytes, bytes]:
        """Headers of the answer."""
        return dict(self.heads[-1])


@dataclass
class Opened:
    """The client's end of a stream; `slow`: it reads nothing for now."""

    exchange: Any
    pieces: list[bytes] = field(default_factory=list)
    ended: bool = False
    slow: bool = False
    waiting: Callable[[], None] | None = None

    @property
    def gone(self) -> bool:
        return bool(self.exchange.gone)

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    def write(self, data: bytes) -> bool:
        self.pieces.append(data)
        return not self.slow

    def on_drain(self, callback: Callable[[], None]) -> None:
        self.waiting = callback

    def end(self) -> None:
        self.ended = True


class AtOnce(Executor):
    """Runs what it is given before anything else happens; a broken one fails at it."""

    broken = False

    def submit(self, call: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        if self.broken:
            done.set_exception(RuntimeError("a mistake of the gateway's own"))
        else:
            done.set_result(call(*args, **kwargs))
        return done


class Blocks:
    """Of the arena: words of pairs, by the number of their block."""

    def __init__(self) -> None:
        self.words: dict[int, Any] = {}

    def array(self, block: int, worker: int) -> Any:
        return self.words.setdefault(block, np.zeros(answers.WORDS, np.int64))


class Counted:
    """A host's limits, which remember what was reserved and what became of it.

    Whoever asks, it is one caller's budgets that are asked.
    """

    def __init__(self, money: int | None = 10**15, tokens: int | None = 10**9) -> None:
        self._host = Host(1)
        self._limits = self._host.workers[0]
        self.leave(money, tokens)
        self.reserved: list[tuple[int, int]] = []
        self.ends: list[tuple[str, int, int]] = []

    def leave(self, money: int | None, tokens: int | None) -> None:
        """So much is left from now on."""
        self._host.limit(0, ceilings={2: money, 5: tokens})

    def cover(self, rows: Any, *asked: Any) -> Any:
        return self._granted(lambda: self._limits.cover([0], *asked))

    def reserve(self, rows: Any, *amounts: Any) -> Any:
        return self._granted(lambda: self._limits.reserve([0], *amounts))

    def _granted(self, reserve: Callable[[], Grant]) -> Any:
        money, tokens, _ = self._host.held(0)
        grant = reserve()
        money_held, tokens_held, _ = self._host.held(0)
        self.reserved.append((money_held - money, tokens_held - tokens))
        return Remembered(grant, self.ends)

    @property
    def refused_at(self) -> Rates:
        return self._limits.refused_at


class Remembered:
    """A grant, and a list of what became of all."""

    def __init__(self, grant: Grant, ends: list[tuple[str, int, int]]) -> None:
        self._grant = grant
        self._ends = ends
        self.output = grant.output
        self.rates = grant.rates

    def settle(self, money: int, tokens: int) -> None:
        self._ends.append(("settled", money, tokens))
        self._grant.settle(money, tokens)

    def release(self) -> None:
        self._ends.append(("released", 0, 0))
        self._grant.release()


def key_for(*models: str, rows: tuple[int, ...] = ()) -> Principal:
    return Principal(1, "till", "client", frozenset(models) or None, rows=rows)


@dataclass
class Rig:
    """`over` has what happened to each request that is over, `mail` what control is told."""

    llm: models.LanguageModels
    upstreams: FakeUpstreams
    counting: dict[tuple[str, int], Counting]
    over: list[Happened]
    blocks: Blocks
    mail: list[dict[str, Any]]
    pool: AtOnce

    def ask(
        self,
        body: dict[str, Any],
        dialect: Dialect = Dialect.CHAT,
        key: Principal | None = None,
        headers: Sequence[Header] = (),
        path: bytes = b"",
    ) -> Any:
        """One request; `key`: of whoever sends it, where keys are asked for.

        It goes to the proxy of a dialect, or to what the lane has at a `path`.
        """
        talker: Any = Talker(body)
        talker.headers = list(headers)
        if GZIPPED in talker.headers:
            talker.body = gzip.compress(talker.body)
        given = dict(headers).get(TRACEPARENT)
        if given is not None:
            talker.head.trace = read_traceparent(given)
        if key is not None:
            door: Any = None
            talker.head.passage = Passage(door, key, memoryview(bytearray(8)).cast("q"))
        endpoint = self.llm.paths()[path] if path else self.llm.proxies[dialect]
        endpoint(talker)
        return talker

    async def turn(self) -> None:
        """What the loop was asked to do next is done."""
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def sent(self, number: int) -> None:
        """So many requests have been sent on."""
        while len(self.upstreams.sent) < number:
            self.upstreams.more.clear()
            await self.upstreams.more.wait()

    @property
    def last(self) -> Sent:
        return self.upstreams.sent[-1]


def uncounted(name: str, version: int, settings: Settings) -> list[UpstreamCounter | None]:
    return [None] * (1 + len(settings.version.upstreams))


def rig(
    document: str,
    splits: dict[str, Split] | None = None,
    counters: models.Counters = uncounted,
    limits: Limits | None = None,
    tell: Callable[[dict[str, Any]], bool] = bool,
    later: Later = at_once,
) -> Rig:
    config = parse(document)
    services = new_services()
    upstreams = FakeUpstreams()
    loop = asyncio.get_running_loop()
    over: list[Happened] = []

    class Heard(models.LanguageModels):
        def _over(
            self, dialect: Dialect, exchange: Any, chosen: Chosen, happened: Happened
        ) -> None:
            over.append(happened)
            super()._over(dialect, exchange, chosen, happened)

    nobody: Any = None
    connections: Any = upstreams
    blocks, mail = Blocks(), []  # type: tuple[Any, list[dict[str, Any]]]
    pool = AtOnce()
    pairs = Pairs(loop, blocks, 0, pool, mail.append)
    llm = Heard(loop, services, nobody, limits, None, 0, counters, tell, pairs, connections, later)
    counting: dict[tuple[str, int], Counting] = {}
    found: dict[str, tuple[int, dict[int, LlmDeployment], Split | None]] = {}
    for name, model in config.llm.models.items():
        versions = {}
        for number in model.versions:
            plain = settings_of(config.llm, name, number, price_map.prices()).plain()
            held = Held(name, number, "", "", "d", plain, {}, 0, kind=LLM)
            counting[name, number] = Counting()
            observer: Any = counting[name, number]
            versions[number] = llm.attach(held, models.load(held), observer)
        found[name] = (max(versions), versions, (splits or {}).get(name))
    llm.follow(found)
    return Rig(llm, upstreams, counting, over, blocks, mail, pool)


def chat(model: str = "m", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}


def whole(text: str = "hello", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": USAGE,
        **more,
    }


def chunk(delta: Any = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "c1", "object": "chat.completion.chunk", "choices": choices, **more}
