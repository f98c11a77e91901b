"""Embeddings of our own models, as the clients of OpenAI ask for and read them."""

from __future__ import annotations

import base64
from typing import Any

import httpx2
import numpy as np
import openai
import orjson
import pytest

from gateway.errors import InvalidParameter
from gateway.wire.llm.embeddings import (
    EmbeddingsAsked,
    check_dimensions,
    embeddings_answer,
    read_embeddings,
    shortened,
)

VECTORS = np.array([[0.6, 0.8, 0.0], [0.1, -0.2, 1e-9]], np.float32)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"input": "a"}, EmbeddingsAsked(("a",))),
        ({"input": ["a", "b"], "encoding_format": None}, EmbeddingsAsked(("a", "b"))),
        ({"input": "a", "encoding_format": "base64"}, EmbeddingsAsked(("a",), base64=True)),
        ({"input": "a", "dimensions": 2}, EmbeddingsAsked(("a",), dimensions=2)),
    ],
)
def test_a_request_is_read(values: dict[str, Any], expected: EmbeddingsAsked) -> None:
    assert read_embeddings(values) == expected


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": ["a", ""]}, r"input\[1\]"),
        ({"input": [1, 2]}, r"input\[0\]"),
        ({"input": [["a"]]}, r"input\[0\]"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "dimensions": "2"}, "dimensions"),
    ],
)
def test_what_cannot_be_embedded_is_refused(values: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidParameter, match=f"parameter '{name}'"):
        read_embeddings(values)


@pytest.mark.parametrize(
    ("given", "got"), [([], "got 0"), (["a"] * 2049, "got 2049"), (7, "got 7")]
)
def test_how_many_texts_came_is_told(given: Any, got: str) -> None:
    with pytest.raises(InvalidParameter, match=f"1 to 2048 of them, {got}$"):
        read_embeddings({"input": given})


def test_an_answer_tells_numbers_exactly() -> None:
    answer = orjson.loads(embeddings_answer(VECTORS, EmbeddingsAsked(("a", "b")), "m", 7))
    told = [one.pop("embedding") for one in answer["data"]]
    assert np.array_equal(np.array(told, np.float32), VECTORS)
    assert answer == {
        "object": "list",
        "data": [{"object": "embedding", "index": index} for index in range(2)],
        "model": "m",
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }


def test_base64_is_of_little_endian_floats() -> None:
    asked = EmbeddingsAsked(("a", "b"), base64=True)
    for vectors in (VECTORS, VECTORS.astype(">f4"), np.asfortranarray(VECTORS)):
        answer = orjson.loads(embeddings_answer(vectors, asked, "m", 7))
        rows = [np.frombuffer(base64.b64decode(one["embedding"]), "<f4") for one in answer["data"]]
        assert np.array_equal(rows, VECTORS)


def test_fewer_dimensions_keep_the_length_of_the_vectors() -> None:
    short = shortened(VECTORS, 2)
    assert short.shape == (2, 2)
    assert np.allclose(np.linalg.norm(short, axis=1), np.linalg.norm(VECTORS, axis=1))
    assert np.allclose(short[1] / short[1, 0], VECTORS[1, :2] / VECTORS[1, 0])
    assert not shortened(np.zeros((1, 3), np.float32), 1).any()


def test_more_dimensions_than_there_are_cannot_be_had() -> None:
    check_dimensions(EmbeddingsAsked(("a",), dimensions=3), 3)
    with pytest.raises(InvalidParameter, match="at most 3"):
        check_dimensions(EmbeddingsAsked(("a",), dimensions=4), 3)


@pytest.mark.parametrize("chosen", [None, "float", "base64"])
def test_the_openai_client_reads_what_it_asked_for(chosen: Any) -> None:
    asked: list[EmbeddingsAsked] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(read_embeddings(orjson.loads(request.content)))
        body = embeddings_answer(VECTORS, asked[0], "m", 7)
        return httpx2.Response(200, content=body, headers={"content-type": "application/json"})

    connection = httpx2.Client(transport=httpx2.MockTransport(answer))
    client = openai.OpenAI(api_key="k", base_url="http://gateway.test/v1", http_client=connection)
    form = {} if chosen is None else {"encoding_format": chosen}
    got = client.embeddings.create(model="m", input=["a", "b"], **form)
    assert asked[0].base64 == (chosen != "float")
    if chosen != "base64":  # then it hands the text on
        assert np.array_equal(np.array([one.embedding for one in got.data], np.float32), VECTORS)
    assert got.usage.total_tokens == 7
