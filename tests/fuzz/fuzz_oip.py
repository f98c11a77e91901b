"""Throws damaged requests at the codec for as long as it is told to.

    python -m tests.fuzz.fuzz_oip --seconds 30 --seed 7

Every input is a good request, bent in a few places by a seeded generator; a find is printed with
what is needed to repeat it. Decoding may refuse, and nothing else may happen.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections import Counter

import numpy as np
import orjson

from gateway.errors import InvalidRequest
from gateway.wire.coding import compress, inflate
from gateway.wire.oip.binary import parse_header_length
from gateway.wire.oip.codec import Codec
from tests.wire.oip_rig import binary_tensor, codec_of, objects, request, spec, strings, tensor

ROWS = 2
WIDE = 400
PIECES = [
    *(bytes([code]) for code in b'[]{}",:\\-+.eE0189 \0\xff'),
    b"NaN",
    b"-Infinity",
    b"null",
    b"true",
    b"1e999",
    b"-0",
    b"0.1e-400",
    b"18446744073709551616",
    b'"data":[',
    b'"id":"',
    b'"shape":[',
    b'"parameters":{"binary_data_size":4},',
    b"\\ud800",
    b"[" * 120,
]


def seeds() -> list[tuple[bytes, int | None]]:
    """Good requests of every kind, with their header lengths."""
    mixed = [
        binary_tensor(24, name="X", shape=[ROWS, 3]),
        tensor(name="S", datatype="BYTES", shape=[ROWS, 1], data=["a", "b"]),
    ]
    text = strings(b"a", b"bc")
    packed = [
        tensor(shape=[ROWS, 3], data=[[1, 2.5, -3e-7], [4, 5, 6]]),
        binary_tensor(len(text), name="S", datatype="BYTES", shape=[ROWS, 1]),
    ]
    wishes = [
        {"name": "Y", "parameters": {"binary_data": True}},
        {"name": "T"},
        {"name": "label", "parameters": {"classification": 1}},
    ]
    headers = [
        orjson.dumps({"id": "a", "inputs": mixed, "parameters": {"binary_data_output": True}}),
        orjson.dumps({"inputs": packed, "outputs": wishes, "parameters": {"timeout": 5}}),
    ]
    whole = [
        request(tensor(shape=[ROWS, 3], data=[1, 2, 3, 4, 5, 6.5]), mixed[1], id="b"),
        request(packed[0], mixed[1], outputs=wishes[1:2]),
    ]
    return [
        (headers[0] + bytes(24), len(headers[0])),
        (headers[1] + text, len(headers[1])),
        *((body, None) for body in whole),
        (bytes(24), 0),
    ]


def bent(random_: random.Random, body: bytes) -> bytes:
    """`body`, damaged in one to four places."""
    changed = bytearray(body)
    for _ in range(random_.randint(1, 4)):
        place = random_.randint(0, len(changed))
        length = random_.choice([0, 0, 1, 1, 2, 8, 40])
        kind = random_.random()
        if kind < 0.6:
            changed[place : place + length] = random_.choice(PIECES)
        elif kind < 0.8:
            start = random_.randint(0, len(changed))
            changed[place:place] = changed[start : start + length]
        else:
            del changed[place : place + length]
    return bytes(changed)


def outputs() -> list[np.ndarray]:
    """What a run might give: three outputs, one with what JSON cannot say."""
    floats = np.array([[1, np.nan], [np.inf, -0.0]], "<f4")
    return [floats, objects([b"x", b'"]'], ROWS), np.arange(ROWS, dtype="<i8")]


def new_codec() -> Codec:
    """Two inputs, three outputs."""
    return codec_of(
        [spec("X", "FP32", -1, 3), spec("S", "BYTES", -1, 1)],
        [spec("Y", "FP32", -1, 2), spec("T", "BYTES", -1), spec("label", "INT64", -1)],
    )


def single_codec() -> Codec:
    """One input: what the short way is for."""
    return codec_of([spec("X", "FP32", -1, 3)], [spec("Y", "FP32", -1, 2)])


def wide_codec() -> Codec:
    """One input wide enough that its numbers are read straight from the text."""
    return codec_of([spec("X", "FP32", -1, WIDE)], [spec("Y", "FP32", -1, 2)])


def attempt(codec: Codec, body: bytes, header_length: int | None) -> str:
    """Decodes and answers; the name of the refusal, or "read"."""
    try:
        if header_length is not None:
            header_length = parse_header_length(b"%d" % header_length, len(body))
        read = codec.decode(body, header_length)
    except InvalidRequest as error:
        if len(str(error)) > 1000:
            raise AssertionError(f"a message of {len(str(error))} characters") from error
        return type(error).__name__
    found = outputs()[: 3 if len(read.inputs) == 2 else 1]
    if read.rows == ROWS:
        answer, length = codec.answer(codec.render(found), read, 0, ROWS)
        if b"NaN" not in answer and b"Infinity" not in answer:
            orjson.loads(answer[:length])
    return "read"


def inflated(body: bytes, coding: bytes) -> None:
    """Inflating damaged data refuses, or gives something."""
    try:
        inflate(body, coding, 1 << 16)
    except InvalidRequest:
        return


def fuzz(seed: int, seconds: float = math.inf, attempts: float = math.inf) -> Counter[str]:
    """Runs until the time is over or so many bodies were tried; counts what came of them."""
    random_ = random.Random(seed)
    codecs = [new_codec(), single_codec(), wide_codec()]
    bodies = seeds()
    single = request(tensor(shape=[ROWS, 3], data=[1, 2, 3, 4, 5, 6]))
    bodies += [(single, None), (b'{"id":"q",' + single[1:], None)]
    numbers = [round(random_.gauss(0, 100), 5) for _ in range(WIDE)]
    bodies.append((request(tensor(shape=[ROWS, WIDE], data=numbers * ROWS)), None))
    bodies.append((request(tensor(shape=[ROWS, WIDE], data=[numbers] * ROWS)), None))
    counts: Counter[str] = Counter()
    end = time.monotonic() + seconds
    tried = 0
    while time.monotonic() < end and tried < attempts:
        tried += 1
        good, header_length = random_.choice(bodies)
        body = bent(random_, good) if random_.random() < 0.95 else good
        if header_length and random_.random() < 0.3:
            header_length = max(0, header_length + random_.randint(-3, 3))
        for codec in codecs:
            try:
                counts[attempt(codec, body, header_length)] += 1
            except Exception:
                sys.stderr.write(f"seed {seed}: {body!r} with header length {header_length}\n")
                raise
        if random_.random() < 0.05:
            coding = random_.choice([b"gzip", b"deflate"])
            inflated(bent(random_, compress(good, coding)), coding)
    return counts


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    options = parser.parse_args()
    counts = fuzz(options.seed, seconds=options.seconds)
    for name, count in counts.most_common():
        sys.stdout.write(f"{count:10} {name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
