"""Requests for embeddings that a model of our own answers, and the answers.

Knows the dialect of `/v1/embeddings`. Knows nothing of tokenisers or of how vectors are made.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from gateway.errors import InvalidParameter
from gateway.wire.llm.fields import Values, shown, wanted_count

MAX_INPUTS = 2048
"""As OpenAI has it."""


@dataclass(frozen=True, slots=True)
class EmbeddingsAsked:
    """What a request asks for.

    Attributes:
        texts: 1 to `MAX_INPUTS` of them, none empty.
        base64: vectors as the base64 of their bytes rather than as numbers: what the stock client
            of OpenAI asks for where its caller did not choose.
        dimensions: how long the vectors are to be; None: as the model makes them.
    """

    texts: tuple[str, ...]
    base64: bool = False
    dimensions: int | None = None


def read_embeddings(values: Values) -> EmbeddingsAsked:
    """Reads a request.

    Raises:
        InvalidParameter: it asks for what no model of our own can do.
    """
    given = values.get("input")
    texts = [given] if type(given) is str else given
    if type(texts) is not list or not 0 < len(texts) <= MAX_INPUTS:
        raise InvalidParameter(
            f"parameter 'input': expected a text, or 1 to {MAX_INPUTS} of them, got"
            f" {len(given) if type(given) is list else shown(given)}"
        )
    for number, one in enumerate(texts):
        if type(one) is not str or not one:
            raise InvalidParameter(
                f"parameter 'input[{number}]': expected a text that is not empty, "
                f"got {shown(one)}; tokens are one tokeniser's own, and are not taken"
            )
    encoding = values.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise InvalidParameter(
            f"parameter 'encoding_format': expected float or base64, got {shown(encoding)}"
        )
    dimensions = wanted_count(values, "dimensions", least=1)
    return EmbeddingsAsked(tuple(texts), encoding == "base64", dimensions)


def embeddings_answer(
    vectors: npt.NDArray[np.float32], asked: EmbeddingsAsked, model: str, tokens: int
) -> bytes:
    """The answer.

    Args:
        vectors: (texts, length) in the order of the texts, as the model makes them.
        asked: the request, which `check_dimensions` was asked of.
        model: the name that the answer tells.
        tokens: that the model read, over all texts.
    """
    if asked.dimensions is not None:
        vectors = shortened(vectors, asked.dimensions)
    rows = np.ascontiguousarray(vectors, "<f4")
    data = [
        {"object": "embedding", "index": index, "embedding": _told(row, asked.base64)}
        for index, row in enumerate(rows)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    answer = {"object": "list", "data": data, "model": model, "usage": usage}
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def check_dimensions(asked: EmbeddingsAsked, length: int) -> None:
    """Refuses a request for more than a model makes, before it is asked to make anything.

    Raises:
        InvalidParameter: its vectors have fewer dimensions.
    """
    if asked.dimensions is not None and asked.dimensions > length:
        raise InvalidParameter(
            f"parameter 'dimensions': expected at most {length}, which the model makes, "
            f"got {asked.dimensions}"
        )


def shortened(vectors: npt.NDArray[np.float32], dimensions: int) -> npt.NDArray[np.float32]:
    """The first dimensions, scaled to the length that the whole vectors have.

    Models that are trained for it keep most of their meaning in the first dimensions.

    Args:
        vectors: (vectors, length).
        dimensions: 1 to length.

    Source: Kusupati and others, Matryoshka Representation Learning (2022).
    """
    first = vectors[:, :dimensions]
    wanted = np.linalg.norm(vectors, axis=1, keepdims=True)
    # A vector of nothing stays one.
    held = np.maximum(np.linalg.norm(first, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    short: npt.NDArray[np.float32] = (first * (wanted / held)).astype(np.float32)
    return short


def _told(row: npt.NDArray[np.float32], as_base64: bool) -> Any:
    return base64.b64encode(row.tobytes()).decode() if as_base64 else row
