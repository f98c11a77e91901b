"""What it costs that a model of texts is asked with texts.

Knows the contestants. Knows nothing of how load or servers work.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import orjson

from loadtest import models
from loadtest.bench import INFER, Bench
from loadtest.bodies import Pool, write_pool
from loadtest.turns import Measure, Result, ratios, take_turns

NAME = "encoder"
ASK = "/v1/embeddings"
COUNT = 1024


def embeddings(bench: Bench) -> list[Result]:
    """Texts of 16 and of 128 tokens at /v1/embeddings, against ready tensors at /v2."""
    path = models.encoder(bench.folder)
    document = {"models": {NAME: {"path": str(path), "embeddings": {}}}}
    ours = bench.penstock(home=bench.folder / "home-embeddings", config=document)
    measures, detail, faults = [], {}, 0
    for tokens in (16, 128):
        texts = some_texts(COUNT, tokens)
        asked, ready = _asked(bench, texts, tokens), _ready(bench, path.parent, texts, tokens)
        plays = {
            "texts": bench.player(ours.port, ASK, asked),
            "tensors": bench.player(ours.port, INFER.format(NAME), ready),
        }
        rows = take_turns(plays, bench.rounds, bench.show)
        speeds = [{name: speed.rps for name, speed in row.items()} for row in rows]
        faults += sum(speed.faults for row in rows for speed in row.values())
        of = f"{tokens} tokens"
        measures += [
            Measure(f"{of}: share of ready tensors", ratios(speeds, "texts", "tensors")),
            Measure(f"{of}: embeddings/s", [one["texts"] for one in speeds], unit="1/s"),
            Measure(f"{of}: with ready tensors", [one["tensors"] for one in speeds], unit="1/s"),
        ]
        detail[of] = {"reading_us": round(_reading_us(path.parent, texts), 1)}
    title = f"Embeddings of one text, {models.ENCODER}, 32 connections, one worker"
    return [Result("embeddings", title, measures, detail=detail, faults=faults)]


def some_texts(count: int, tokens: int) -> list[str]:
    """Words at random, each a token, beside the two that every text has."""
    rng = random.Random(tokens)
    words = models.words()
    return [" ".join(rng.choices(words, k=tokens - 2)) for _ in range(count)]


def _asked(bench: Bench, texts: Sequence[str], tokens: int) -> Pool:
    bodies = [
        json.dumps({"model": NAME, "input": text, "encoding_format": "base64"}).encode()
        for text in texts
    ]
    headers = {"Content-Type": "application/json"}
    return bench.pool(f"texts-{tokens}", lambda path: write_pool(path, bodies, headers))


def _ready(bench: Bench, folder: Path, texts: Sequence[str], tokens: int) -> Pool:
    """The same as the tensors that a tokenizer makes of them."""
    tokenizer = models.tokenizer(folder)
    bodies = [_tensors(np.array([tokenizer.encode(text).ids], "<i8")) for text in texts]
    length = bodies[0].index(b"}]}") + 3
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(length),
    }
    return bench.pool(f"tensors-{tokens}", lambda path: write_pool(path, bodies, headers))


def _tensors(ids: np.ndarray) -> bytes:
    tensors = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    inputs = [
        {
            "name": name,
            "shape": list(tensor.shape),
            "datatype": "INT64",
            "parameters": {"binary_data_size": tensor.nbytes},
        }
        for name, tensor in tensors.items()
    ]
    head = orjson.dumps({"parameters": {"binary_data_output": True}, "inputs": inputs})
    return head + b"".join(tensor.tobytes() for tensor in tensors.values())


def _reading_us(folder: Path, texts: Sequence[str]) -> float:
    """What the tokenizer alone takes for a text, on a core of its own."""
    tokenizer = models.tokenizer(folder)
    began = time.perf_counter()
    for text in texts:
        tokenizer.encode_batch_fast([text])
    return (time.perf_counter() - began) / len(texts) * 1e6
