"""Token counts where nobody can count: roughly right, and never a failure."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.wire.llm.counted import TOKENS_PER_MEDIUM, estimated_count


def counted(**values: Any) -> int:
    told: int = estimated_count(values)["input_tokens"]
    return told


def test_an_estimate_grows_with_what_is_sent() -> None:
    # Common words, of about a token each, and two marks; around them stands the message.
    text = (
        "The quick brown fox jumps over the lazy dog, and nobody in the village "
        "was surprised by that at all."
    )
    message = {"role": "user", "content": text}
    one = counted(messages=[message])
    assert 22 <= one <= 36
    assert counted(messages=[message, message]) == 2 * one
    assert counted(system=text, messages=[message]) > one
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    assert counted(messages=[message], tools=[{"name": "f", "input_schema": schema}]) > one + 15


def test_blocks_count_by_what_is_in_them() -> None:
    words = {"type": "text", "text": "x" * 400, "cache_control": {"type": "ephemeral"}}
    result = {"type": "tool_result", "tool_use_id": "t" * 40, "content": [words]}
    plain = {"type": "document", "source": {"type": "text", "data": "x" * 400}}
    for block in (words, result, plain):
        assert counted(messages=[{"role": "user", "content": [block]}]) == 104


def test_a_picture_counts_alike_whatever_its_bytes() -> None:
    for size in (10, 100_000):
        source = {"type": "base64", "media_type": "image/png", "data": "A" * size}
        image = {"type": "image", "source": source}
        assert counted(messages=[{"role": "user", "content": [image]}]) == TOKENS_PER_MEDIUM + 4


@pytest.mark.parametrize(
    "body",
    [b"{}", b'{"messages": 7, "tools": {}}', b'{"messages":' + b"[" * 900 + b"]" * 900 + b"}"],
)
def test_nothing_makes_it_fail(body: bytes) -> None:
    assert estimated_count(orjson.loads(body)) == {"input_tokens": 0}
