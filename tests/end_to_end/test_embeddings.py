"""The stock OpenAI client against a real server with a model of texts of its own."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import openai
import pytest

from gateway.client import Client
from tests.embeddings import maker
from tests.end_to_end.server import RunningServer, eventually, running

DOCUMENT = """\
monitoring: {reference_rows: 100}
models:
  texts:
    path: %s
    max_batch_size: 16
    embeddings: {}
"""


@dataclass
class Gate:
    server: RunningServer
    openai: openai.OpenAI
    folder: Path


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    folder = tmp_path_factory.mktemp("embeddings")
    (folder / "home").mkdir()
    path = maker.lay(folder / "m")
    with running(folder / "home", "--workers", "1", config=DOCUMENT % path) as server:
        url = f"http://127.0.0.1:{server.port}/v1"
        with openai.OpenAI(api_key="none", base_url=url, max_retries=0) as client:
            yield Gate(server, client, folder / "m")


def vectors(answer: Any) -> np.ndarray:
    return np.array([one.embedding for one in answer.data])


@pytest.mark.parametrize("form", [{}, {"encoding_format": "float"}], ids=["base64", "float"])
def test_texts_get_the_vectors_that_numpy_makes_of_them(gate, form):
    texts = maker.some_texts(50)
    answer = gate.openai.embeddings.create(model="texts", input=texts, **form)
    assert np.allclose(vectors(answer), maker.expected(texts), atol=1e-6)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == maker.tokens(texts)
    assert [one.index for one in answer.data] == list(range(50))


def test_many_callers_at_once_get_what_each_would_get_alone(gate):
    texts = maker.some_texts(200, seed=1)

    def ask(text: str) -> np.ndarray:
        return vectors(gate.openai.embeddings.create(model="texts", input=text))[0]

    before = gate.server.metric("penstock_requests_total", model="texts", result="ok")
    with ThreadPoolExecutor(16) as callers:
        found = list(callers.map(ask, texts))
    assert np.allclose(found, maker.expected(texts), atol=1e-6)
    counted = gate.server.metric("penstock_requests_total", model="texts", result="ok")
    assert counted - before == 200


def test_tokens_are_told_as_those_of_language_models_are(gate):
    about = {"model": "texts", "gen_ai_operation_name": "embeddings"}
    about |= {"gen_ai_provider_name": "penstock", "gen_ai_token_type": "input"}

    def told() -> float:
        return gate.server.metric("gen_ai_client_token_usage_sum", **about)

    gate.openai.embeddings.create(model="texts", input="water")
    before = told()
    texts = maker.some_texts(20, seed=2)
    used = gate.openai.embeddings.create(model="texts", input=texts).usage.prompt_tokens
    eventually(lambda: told() - before == used)
    assert gate.server.admin("GET", "/api/llm/upstreams").json() == {"upstreams": []}


def test_ready_tensors_get_the_same_vector(gate):
    (ids,) = [maker.tokenizer().encode("water wine").ids]
    ones = np.ones((1, len(ids)), np.int64)
    tensors = {"input_ids": [ids], "attention_mask": ones, "token_type_ids": 0 * ones}
    with Client(f"http://127.0.0.1:{gate.server.port}") as client:
        answer = client.infer("texts", {name: np.array(one) for name, one in tensors.items()})
    assert np.allclose(answer["embedding"], maker.expected(["water wine"]), atol=1e-6)


def test_errors_are_the_clients_own(gate):
    with pytest.raises(openai.BadRequestError) as refused:
        gate.openai.embeddings.create(model="texts", input=["water", ""])
    assert refused.value.param == "input[1]"
    with pytest.raises(openai.NotFoundError):
        gate.openai.embeddings.create(model="nobody", input="water")
    with pytest.raises(openai.APIStatusError, match="ask /v1/embeddings"):
        gate.openai.chat.completions.create(model="texts", messages=[])
    assert [model.id for model in gate.openai.models.list()] == ["texts"]


def test_a_client_that_leaves_while_its_texts_are_read_is_counted_once_and_waited_for_no_more(gate):
    body = {"model": "texts", "input": ["water " * 80] * 2000}
    url = f"http://127.0.0.1:{gate.server.port}/v1/embeddings"
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.post(url, json=body, timeout=httpx2.Timeout(60, read=0.001))
    left = {"model": "texts", "result": "left"}
    eventually(lambda: gate.server.metric("penstock_requests_total", **left) == 1)
    gate.server.wait_in_flight(0, "texts")


def test_its_vectors_are_watched(gate):
    texts = maker.some_texts(150, seed=2)

    def watched() -> set[str]:
        # Rows from before there is a reference are what it is made of.
        gate.openai.embeddings.create(model="texts", input=texts)
        told = gate.server.admin("GET", "/api/models/texts/versions/1/drift").json()
        if not told.get("rows"):
            return set()
        return {one["name"] for one in (*told["features"], *told["outputs"])}

    eventually(lambda: {f"embedding[{n}]" for n in range(maker.SIZE)} <= watched())


def test_another_tokenizer_is_taken_over_like_another_model(gate):
    tokenizer = maker.tokenizer()
    tokenizer.post_processor = None
    tokenizer.save(str(gate.folder / "tokenizer.new"))
    (gate.folder / "tokenizer.new").replace(gate.folder / "tokenizer.json")

    def tokens() -> int:
        return gate.openai.embeddings.create(model="texts", input="water").usage.total_tokens

    assert tokens() == 3
    assert gate.server.admin("POST", "/api/reload").status == 200
    eventually(lambda: tokens() == 1)
