"""What scenarios of language models send, and what they hold money against."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import pytest

from gateway.llm.fake.server import FakeProvider
from gateway.llm.price_map import prices
from loadtest import language
from loadtest.scenarios import SCENARIOS, spending
from loadtest.servers import ask


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        yield provider


@pytest.mark.parametrize("chars", [1, 300, 300_000])
def test_a_prompt_is_as_long_as_was_asked_for(chars):
    assert len(language.text(chars, random.Random(1))) == chars


def test_a_request_is_answered_by_the_fake(fake):
    body = language.chat_body(language.text(300, random.Random(1)))
    status, answer = ask(fake.port, language.CHAT, "POST", body, language.JSON)
    assert status == 200
    assert json.loads(answer)["usage"]["prompt_tokens"] == 75


def test_the_budget_is_held_against_the_price_that_stands_in_the_table():
    price = prices().of("openai", language.UPSTREAMS["openai"])
    assert price is not None
    assert price.most(1, 0) == spending.INPUT
    assert price.most(0, 1) == spending.OUTPUT


def test_every_shape_is_asked_for_once():
    assert len(set(spending.SHAPES)) == len(spending.SHAPES)
    assert {kind for kind, _ in spending.SHAPES} == set(language.UPSTREAMS)


def test_each_scenario_of_language_models_says_what_it_is():
    mine = {name: made for name, made in SCENARIOS.items() if name.startswith("language-")}
    assert len(mine) == 7
    assert all(made.__doc__ for made in mine.values())
