"""An upstream that is left alone is asked again since somebody says so; who and why is written."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gateway.config import Config, parse
from gateway.control.llm_documents import CloseWanted
from gateway.control.llm_operations import models, operations
from gateway.errors import NotFound, StoreFailed
from gateway.llm import price_map
from gateway.llm.pools.breaker import CLOSE_BREAKER
from gateway.llm.settings import settings_of
from gateway.plan import LLM, Held, Plan
from tests.control.auditing import ANN

pytestmark = pytest.mark.anyio

DOCUMENT = """
llm:
  providers: {p: {base_url: "http://p.example/v1"}}
  models:
    m:
      versions:
        1: {upstreams: [{provider: p, model: a}]}
        2: {upstreams: [{provider: p, model: a}, {provider: p, model: b}]}
"""


def plan() -> Plan:
    llm = parse(DOCUMENT).llm
    prices = price_map.prices()
    settings = [settings_of(llm, "m", version, prices).plain() for version in (1, 2)]
    held = [
        Held("m", version, "", "", "d", plain, {}, 0, kind=LLM)
        for version, plain in enumerate(settings, 1)
    ]
    return Plan(1, tuple(held), ())


def test_what_each_upstream_charges_is_told_with_the_entry_that_says_so():
    upstreams = [
        {"provider": "p", "model": "mine", "priced_as": "gpt-4o-mini"},
        {"provider": "p", "model": "free", "price": {}},
        {"provider": "p", "model": "nobody-knows"},
    ]
    llm = {
        "providers": {"p": {"base_url": "http://p.example/v1"}},
        "models": {"m": {"upstreams": upstreams}},
    }
    plain = settings_of(Config.model_validate({"llm": llm}).llm, "m", 1, price_map.prices())
    held = Held("m", 1, "", "", "d", plain.plain(), {}, 0, kind=LLM)
    (line,) = models(Plan(1, (held,), ()))
    assert [one["price"] for one in line["upstreams"]] == [
        {
            "entry": "gpt-4o-mini",
            "input_usd_per_million": 0.15,
            "output_usd_per_million": 0.6,
        },
        {"entry": None, "input_usd_per_million": 0.0, "output_usd_per_million": 0.0},
        None,
    ]


class World:
    """Control, as far as closing goes; `full`: no disk takes anything."""

    def __init__(self) -> None:
        self.written: list[Any] = []
        self.told: list[Any] = []
        self.full = False
        nobody: Any = None
        (self.close,) = [
            row.handle
            for row in operations(nobody, plan, self.record, self.told.append)
            if row.name == "close_upstream"
        ]

    async def record(self, actor: Any, action: str, subject: str, before: Any, after: Any) -> None:
        if self.full:
            raise StoreFailed("the disk is full")
        assert not self.told or len(self.told) == len(self.written), "first written, then told"
        self.written.append((actor, action, subject, after))

    async def ask(self, **wanted: Any) -> Any:
        path: Any = SimpleNamespace(model=wanted.pop("model", "m"))
        asked: Any = SimpleNamespace(actor=ANN, path=path, body=CloseWanted(**wanted))
        return await self.close(asked)


def message(version: int, upstream: str) -> dict[str, Any]:
    return {"type": CLOSE_BREAKER, "model": "m", "version": version, "upstream": upstream}


async def test_workers_are_told_of_each_version_that_asks_it_once_that_is_written():
    world = World()
    told = await world.ask(upstream="p/a", why="it is back")
    assert told == {"model": "m", "upstream": "p/a", "versions": [1, 2]}
    assert world.told == [message(1, "p/a"), message(2, "p/a")]
    assert world.written == [
        (ANN, "upstream close", f"m/{version}/p/a", {"why": "it is back"}) for version in (1, 2)
    ]


async def test_one_version_alone_where_it_is_named():
    world = World()
    assert (await world.ask(upstream="p/a", version=2))["versions"] == [2]
    assert (await world.ask(upstream="p/b"))["versions"] == [2]
    assert world.told == [message(2, "p/a"), message(2, "p/b")]


@pytest.mark.parametrize(
    "wanted",
    [
        {"upstream": "p/c"},
        {"upstream": "p/b", "version": 1},
        {"upstream": "p/a", "version": 3},
        {"upstream": "p/a", "model": "n"},
    ],
)
async def test_what_asks_no_such_upstream_is_not_found(wanted):
    world = World()
    with pytest.raises(NotFound, match="has no upstream"):
        await world.ask(**wanted)
    assert (world.told, world.written) == ([], [])


async def test_what_cannot_be_written_is_not_done():
    world = World()
    world.full = True
    with pytest.raises(StoreFailed):
        await world.ask(upstream="p/a")
    assert world.told == []
