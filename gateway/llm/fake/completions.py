"""OpenAI's older completions: reads a request, writes an answer, whole or in pieces.

Knows the dialect. Knows nothing of connections, of time, or of why an answer is what it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from gateway.llm.fake import chat
from gateway.llm.fake.content import Content, Wanted
from gateway.llm.fake.errors import Kind
from gateway.llm.fake.frames import Piece, framed
from gateway.llm.fake.script import Script

MAX_TOKENS = 16  # where a request does not say


def read(values: Mapping[str, Any]) -> Wanted:
    """What a request asks for: an answer to each of its prompts, times `n`."""
    prompt = values["prompt"]
    several = isinstance(prompt, list) and bool(prompt) and not isinstance(prompt[0], int)
    prompts = prompt if several else [prompt]
    # A prompt of token ids counts as many tokens as it has.
    chars = sum(len(p) if isinstance(p, str) else 4 * len(p) for p in prompts)
    most = values.get("max_tokens")
    return Wanted(
        model=values["model"],
        stream=bool(values.get("stream")),
        prompt_chars=chars,
        last_text=prompts[-1] if isinstance(prompts[-1], str) else "",
        max_tokens=MAX_TOKENS if most is None else most,
        n=len(prompts) * (values.get("n") or 1),
        tells_usage=bool((values.get("stream_options") or {}).get("include_usage")),
    )


def whole(
    content: Content, wanted: Wanted, script: Script, number: int, created: int
) -> dict[str, Any]:
    """A whole answer."""
    text = "".join(content.text)
    choices = [_choice(n, text, chat.finish_of(content)) for n in range(wanted.n)]
    told = {} if script.usage == "absent" else {"usage": chat.usage(content.counted)}
    return _head(wanted, script, number, created) | {"choices": choices} | told


def pieces(
    content: Content, wanted: Wanted, script: Script, number: int, created: int
) -> Iterator[Piece]:
    """The frames of a streamed answer."""
    begin = _head(wanted, script, number, created)
    usage = chat.usage(content.counted)
    at_end = script.usage == "always" or (script.usage == "asked" and wanted.tells_usage)
    nulls = {"usage": None} if wanted.tells_usage and script.usage != "absent" else {}
    for n in range(wanted.n):
        for token in content.text:
            yield _frame(begin | {"choices": [_choice(n, token, None)]} | nulls, token=True)
        told = {"usage": usage} if script.usage == "finish" else nulls
        yield _frame(begin | {"choices": [_choice(n, "", chat.finish_of(content))]} | told)
    if at_end:
        yield _frame(begin | {"choices": [], "usage": usage})
    yield chat.DONE


def failed(kind: Kind, message: str, number: int) -> bytes:
    """The event of an error within a stream."""
    return chat.failed(kind, message, number)


def _head(wanted: Wanted, script: Script, number: int, created: int) -> dict[str, Any]:
    return chat.head(wanted, script, number, created, "text_completion")


def _choice(index: int, text: str, finish: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish}


def _frame(chunk: Mapping[str, Any], token: bool = False) -> Piece:
    return Piece(framed(orjson.dumps(chunk)), token)
