"""docs/llm-routing.md tells the defaults that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from gateway.config.llm import Llm, LlmBreaker, LlmRetries, Order
from gateway.llm.price_map import LISTED_ON
from gateway.yaml_text import read

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "llm-routing.md").read_text()


@pytest.mark.parametrize(
    ("section", "settings"), [("breaker", LlmBreaker()), ("retries", LlmRetries())]
)
def test_every_default_is_told(section: str, settings: BaseModel):
    table = PAGE.split(f"| `{section}.` | default |")[1].split("\n\n")[0]
    told = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", table, re.MULTILINE))
    assert told == {name: str(value).lower() for name, value in settings.model_dump().items()}


def test_every_order_is_told():
    told = re.findall(r"^\| `(\w+)` \| ", PAGE.split("## What a failure is")[0], re.MULTILINE)
    assert set(told) == set(get_args(Order))


def test_the_day_of_the_list_prices_is_told():
    assert LISTED_ON in PAGE


def test_the_document_in_it_is_one():
    values, faults = read(PAGE.split("```yaml\n")[1].split("```")[0], "page")
    assert faults == []
    names = ("east", "west", "openai")
    others = ("claude", "long")
    found = values["llm"]
    found["providers"] = {name: {"base_url": "https://llm.example/v1"} for name in names}
    upstreams = {"upstreams": [{"provider": "openai", "model": "x"}]}
    found["models"] |= dict.fromkeys(others, upstreams)
    assert Llm.model_validate(found).models["assistant"].versions[1].order == "weighted"
