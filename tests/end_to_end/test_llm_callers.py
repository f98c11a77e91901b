"""Callers with a token or a certificate spend no more than theirs, over both workers."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.llm.fake.server import FakeProvider
from tests.certificates import Authority
from tests.end_to_end.provider import Provider
from tests.end_to_end.server import Answer, RunningServer, eventually, running

CHAT = "/v1/chat/completions"
BODY = json.dumps(
    {"model": "assistant", "max_tokens": 8, "messages": [{"role": "user", "content": "hello"}]}
).encode()


@dataclass
class World:
    """A server, who signs tokens for it, and whose certificates it takes."""

    server: RunningServer
    provider: Provider
    anybody: ssl.SSLContext
    till: ssl.SSLContext

    def ask(self, token: str = "", context: ssl.SSLContext | None = None) -> Answer:
        line = http.client.HTTPSConnection(
            "localhost", self.server.port, timeout=30, context=context or self.anybody
        )
        headers = {"authorization": f"Bearer {token}"} if token else {}
        with closing(line):
            line.request("POST", CHAT, BODY, {**headers, "content-type": "application/json"})
            answer = line.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())

    def spent(self) -> dict[str, int]:
        """Tokens by owner."""
        page = self.server.admin("GET", "/api/spend").json()["spend"]
        return {one["owner"]: one["spent"]["total"]["tokens"] for one in page}


def document(fake: FakeProvider, provider: Provider, authority: Authority) -> str:
    limits = {"max_parallel": 100, "budgets": ["100000tokens/day"]}
    callers = [{"name": "till", "subject": "cn:till", "role": "client", "limits": limits}]
    llm: dict[str, Any] = {
        "providers": {"fake": {"base_url": fake.url(), "allow_private": True}},
        "teams": {"web": {"budgets": ["1000tokens/total"]}, "others": {"max_parallel": 0}},
        "models": {"assistant": {"upstreams": [{"provider": "fake", "model": "gpt-4o-mini"}]}},
    }
    jwt = provider.as_config().replace("{", "{team_claim: groups, team: others, ", 1)
    options = {"client_ca": authority.file, "client_certificates": "optional"}
    return (
        f"{authority.yaml('server', **options)}"
        f"access: {{data: keys, jwt: {jwt}, certificates: {json.dumps(callers)}}}\n"
        f"llm: {json.dumps(llm)}\n"
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("callers")
    authority = Authority(home / "tls")
    authority.issue()
    till = authority.issue_client("till")
    provider = Provider(home)
    with FakeProvider(name="default") as fake:
        config = document(fake, provider, authority)
        with running(home, "--workers", "2", config=config, ready=False) as server:
            server.wait_settled()
            yield World(server, provider, authority.client(), till)


def test_tokens_of_a_team_share_its_budget_and_never_pass_it(world):
    first = world.provider.token("client", sub="ann", groups=["staff", "web"])
    second = world.provider.token("client", sub="ben", groups=["web"])
    answer = world.ask(first)
    assert answer.status == 200, answer.body
    each = answer.json()["usage"]["total_tokens"]
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda n: world.ask((first, second)[n % 2]), range(1000 // each)))
    while (last := world.ask(second)).status == 200:  # what others had reserved and did not use
        told.append(last)
    assert "of team 'web'" in last.json()["error"]["message"]
    assert {one.status for one in told} <= {200, 429}
    spent = each * (1 + sum(one.status == 200 for one in told))
    eventually(lambda: world.spent().get("team:web") == spent)
    assert spent <= 1000


def test_a_token_of_no_team_is_held_to_the_limits_of_all_others(world):
    refused = world.ask(world.provider.token("client", groups=["staff"]))
    assert (refused.status, "of team 'others'" in refused.body.decode()) == (429, True)


def test_a_certificate_has_an_account_of_its_own(world):
    answer = world.ask(context=world.till)
    assert answer.status == 200, answer.body
    used = answer.json()["usage"]["total_tokens"]
    eventually(lambda: world.spent().get("certificate:till") == used)
