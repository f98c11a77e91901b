"""Pools of request bodies with fresh random content, and the files that hold them.

Knows the Open Inference Protocol's request form. Knows nothing of connections or of models' files.

A pool is thousands of distinct bodies: one body sent again and again is learnt by the branch
predictor and by every cache on the way, and flatters whoever decodes it.

    python -m loadtest.bodies FILE [--binary] [--rows N] [--count N]   # rows like the demo's

File format: for each body its length in decimal, a newline, its bytes. Lua can read that as well.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson

FEATURES = 30
DEMO_ROWS = Path(__file__).parent.parent / "gateway" / "demo_data" / "breast_cancer.csv"


@dataclass(frozen=True)
class Pool:
    """Bodies in a file, and the headers that all of them need."""

    path: Path
    headers: dict[str, str] = field(default_factory=dict)


def write_pool(path: Path, bodies: Sequence[bytes], headers: dict[str, str]) -> Pool:
    with path.open("wb") as file:
        for body in bodies:
            file.write(b"%d\n%s" % (len(body), body))
    return Pool(path, headers)


def read_pool(path: Path) -> list[bytes]:
    """The bodies of a pool file.

    Raises:
        ValueError: the file is cut short, or is none of ours.
    """
    data, bodies, at = path.read_bytes(), [], 0
    while at < len(data):
        newline = data.find(b"\n", at, at + 20)
        digits = data[at:newline]
        if newline < 0 or not digits.isdigit():
            raise ValueError(f"{path}: expected a body's length at byte {at}")
        start = newline + 1
        at = start + int(digits)
        if at > len(data):
            raise ValueError(f"{path}: the body at byte {start} is cut short")
        bodies.append(data[start:at])
    return bodies


# ---------------------------------------------------------------- rows


@cache
def _real_rows() -> np.ndarray[Any, np.dtype[np.float64]]:
    with DEMO_ROWS.open(newline="") as file:
        rows = [[float(value) for value in row[:FEATURES]] for row in list(csv.reader(file))[1:]]
    return np.array(rows)


def demo_rows(count: int, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Rows like the demo's real ones, every value moved: (count, 30), none equal to another."""
    real = _real_rows()
    moved = real[rng.integers(len(real), size=count)] * np.exp(
        rng.normal(0, 0.2, (count, FEATURES))
    )
    # Four significant digits, as measured data has; the length of the text is part of the load.
    digits = 3 - np.floor(np.log10(np.maximum(moved, 1e-12))).astype(int)
    return (np.round(moved * 10.0**digits) / 10.0**digits).astype(np.float32)


def normal_rows(
    count: int, width: int, rng: np.random.Generator
) -> np.ndarray[Any, np.dtype[np.float32]]:
    return rng.normal(size=(count, width)).astype(np.float32)


# ---------------------------------------------------------------- requests


def json_body(tensor: np.ndarray[Any, Any], name: str = "X", output: str | None = None) -> bytes:
    """One request with one FP32 tensor, JSON throughout, numbers in their shortest text."""
    request: dict[str, Any] = {
        "inputs": [
            {
                "name": name,
                "shape": list(tensor.shape),
                "datatype": "FP32",
                "data": np.ascontiguousarray(tensor, np.float32).ravel(),
            }
        ]
    }
    if output:
        request["outputs"] = [{"name": output}]
    return orjson.dumps(request, option=orjson.OPT_SERIALIZE_NUMPY)


def binary_body(
    tensor: np.ndarray[Any, Any],
    name: str = "X",
    output: str | None = None,
    parameters: dict[str, Any] | None = None,
) -> tuple[bytes, int]:
    """The same with binary tensors both ways: the body, and the length of its JSON part."""
    raw = np.ascontiguousarray(tensor, "<f4").tobytes()
    head: dict[str, Any] = {
        "inputs": [
            {
                "name": name,
                "shape": list(tensor.shape),
                "datatype": "FP32",
                "parameters": {"binary_data_size": len(raw)},
            }
        ]
    }
    if output:
        head["outputs"] = [{"name": output, "parameters": {"binary_data": True}}]
    if parameters:
        head["parameters"] = parameters
    text = orjson.dumps(head)
    return text + raw, len(text)


def json_pool(
    path: Path, tensors: Iterator[np.ndarray[Any, Any]], name: str = "X", output: str | None = None
) -> Pool:
    bodies = [json_body(tensor, name, output) for tensor in tensors]
    return write_pool(path, bodies, {"Content-Type": "application/json"})


def binary_pool(
    path: Path,
    tensors: Iterator[np.ndarray[Any, Any]],
    name: str = "X",
    output: str | None = None,
    parameters: dict[str, Any] | None = None,
) -> Pool:
    """A pool of binary requests of one shape, so that one header length fits all of them."""
    made = [binary_body(tensor, name, output, parameters) for tensor in tensors]
    lengths = {length for _, length in made}
    if len(lengths) != 1:
        raise ValueError(
            f"binary bodies of a pool: expected one header length, got {sorted(lengths)}"
        )
    return write_pool(
        path,
        [body for body, _ in made],
        {
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(lengths.pop()),
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.bodies", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--binary", action="store_true", help="binary tensors (default: JSON)")
    parser.add_argument("--rows", type=int, default=1, help="rows in a request")
    parser.add_argument("--count", type=int, default=4096, help="bodies in the pool")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rows = demo_rows(args.count * args.rows, np.random.default_rng(args.seed))
    make = binary_pool if args.binary else json_pool
    tensors = iter(rows.reshape(args.count, args.rows, FEATURES))
    pool = make(args.file, tensors, output="probabilities")
    print(f"{args.file}: {args.count} bodies; headers: {pool.headers}")


if __name__ == "__main__":
    main()
