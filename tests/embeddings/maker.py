"""A small model of texts with its own tokenizer, and what it makes of them, worked out in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from tests.models.builders import make, save, value

WORDS = ["water", "wine", "bread", "salt", "river", "stone"]
WORDS += ["light", "bird", "house", "field", "rain", "snow"]
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
SIZE = 12
VOCABULARY = 68
INTEGER = TensorProto.INT64


def tokenizer() -> Tokenizer:
    """Word pieces, in lower case, between a [CLS] and a [SEP]."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pieces = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *WORDS]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


def weights(seed: int = 0, rows: int = VOCABULARY) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "ids": random.normal(size=(rows, SIZE)).astype(np.float32),
        "types": random.normal(size=(2, SIZE)).astype(np.float32),
        "own": random.normal(size=(SIZE, SIZE)).astype(np.float32),
        "others": random.normal(size=(SIZE, SIZE)).astype(np.float32),
    }


def model(seed: int = 0, rows: int = VOCABULARY, length: str | int = "tokens") -> onnx.ModelProto:
    """Each token sees itself and the mean of all: tanh(e @ own + mean(e) @ others)."""
    shape = ("rows", length)
    nodes = [
        helper.make_node("Gather", ["ids", "input_ids"], ["word"]),
        helper.make_node("Gather", ["types", "token_type_ids"], ["type"]),
        helper.make_node("Add", ["word", "type"], ["e"]),
        helper.make_node("Cast", ["attention_mask"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["real", "one"], ["across"]),
        helper.make_node("MatMul", ["across", "e"], ["sum"]),
        helper.make_node("ReduceSum", ["across", "two"], ["count"], keepdims=1),
        helper.make_node("Max", ["count", "least"], ["positive"]),
        helper.make_node("Div", ["sum", "positive"], ["mean"]),
        helper.make_node("MatMul", ["mean", "others"], ["seen"]),
        helper.make_node("MatMul", ["e", "own"], ["self"]),
        helper.make_node("Add", ["self", "seen"], ["both"]),
        helper.make_node("Tanh", ["both"], ["last_hidden_state"]),
    ]
    constants = weights(seed, rows) | {
        "one": np.array([1], np.int64),
        "two": np.array([2], np.int64),
        "least": np.array([1e-6], np.float32),
    }
    return make(
        nodes,
        [value(n, shape, INTEGER) for n in ("input_ids", "attention_mask", "token_type_ids")],
        [value("last_hidden_state", ("rows", length, SIZE))],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )


def lay(folder: Path, seed: int = 0, **given: object) -> Path:
    """The model and its tokenizer in a folder; the model's path."""
    path = save(folder, model(seed, **given))  # type: ignore[arg-type]
    tokenizer().save(str(folder / "tokenizer.json"))
    return path


def expected(texts: Sequence[str], seed: int = 0, most: int | None = None) -> np.ndarray:
    """(texts, SIZE): each alone, its tokens' vectors averaged and scaled to a length of 1."""
    reader, w = tokenizer(), weights(seed)
    if most is not None:
        reader.enable_truncation(most)
    found = []
    for text in texts:
        e = w["ids"][reader.encode(text).ids].astype(np.float64) + w["types"][0]
        mean = np.tanh(e @ w["own"] + e.mean(0) @ w["others"]).mean(0)
        found.append(mean / np.linalg.norm(mean))
    return np.array(found)


def tokens(texts: Sequence[str]) -> int:
    return sum(len(tokenizer().encode(text)) for text in texts)


def some_texts(count: int, seed: int = 0, longest: int = 40) -> list[str]:
    random = np.random.default_rng(seed)
    return [
        " ".join(random.choice(WORDS, size=random.integers(1, longest + 1))) for _ in range(count)
    ]
