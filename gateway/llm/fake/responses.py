"""OpenAI's responses: reads a request, writes an answer, whole or in pieces.

Knows the dialect. Knows nothing of connections, of time, or of why an answer is what it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

import orjson

from gateway.llm.fake.content import Content, Counted, ToolCall, Wanted
from gateway.llm.fake.errors import Kind
from gateway.llm.fake.frames import Piece, framed
from gateway.llm.fake.script import Script
from gateway.llm.fake.texts import chars_in, last_text


def read(values: Mapping[str, Any]) -> Wanted:
    """What a request asks for."""
    choice = values.get("tool_choice")
    tools = [tool for tool in values.get("tools") or () if tool["type"] == "function"]
    if isinstance(choice, dict):
        tools = [tool for tool in tools if tool["name"] == choice.get("name")]
    form = (values.get("text") or {}).get("format") or {}
    return Wanted(
        model=values["model"],
        stream=bool(values.get("stream")),
        prompt_chars=chars_in(values["input"]) + chars_in(values.get("instructions")),
        last_text=last_text(values["input"]),
        max_tokens=values.get("max_output_tokens"),
        tools=[(tool["name"], tool.get("parameters") or {}) for tool in tools]
        if choice != "none"
        else (),
        must_call=choice == "required" or isinstance(choice, dict),
        schema=form.get("schema"),
        tells_usage=True,
    )


def usage(counted: Counted) -> dict[str, Any]:
    """`usage` of an answer."""
    return {
        "input_tokens": counted.input,
        "input_tokens_details": {
            "cached_tokens": counted.cached,
            "cache_write_tokens": counted.cache_write,
        },
        "output_tokens": counted.output,
        "output_tokens_details": {"reasoning_tokens": counted.reasoning},
        "total_tokens": counted.input + counted.output,
    }


def whole(
    content: Content, wanted: Wanted, script: Script, number: int, created: int
) -> dict[str, Any]:
    """A whole answer."""
    cut = content.finish == "length"
    filtered = content.finish == "content_filter"
    reason = {"reason": "max_output_tokens" if cut else "content_filter"}
    response = _begun(wanted, script, number, created) | {
        "status": "incomplete" if cut or filtered else "completed",
        "incomplete_details": reason if cut or filtered else None,
        "output": [_item(item, "completed") for item in _items(content, number)],
    }
    if script.usage != "absent":
        response["usage"] = usage(content.counted)
    return response


def pieces(
    content: Content, wanted: Wanted, script: Script, number: int, created: int
) -> Iterator[Piece]:
    """The events of a streamed answer."""
    numbers = count()
    begun = _begun(wanted, script, number, created)
    for kind in ("created", "in_progress"):
        yield _event(numbers, f"response.{kind}", response=begun)
    for index, item in enumerate(_items(content, number)):
        yield from _streamed(numbers, index, item)
    done = whole(content, wanted, script, number, created)
    yield _event(numbers, f"response.{done['status']}", response=done)


def failed(kind: Kind, message: str, number: int) -> bytes:
    """The event of an error within a stream."""
    told = {"type": "error", "code": kind.code, "message": message or kind.message}
    return framed(orjson.dumps(told | {"param": None, "sequence_number": 1000}), "error")


def _begun(wanted: Wanted, script: Script, number: int, created: int) -> dict[str, Any]:
    return {
        "id": f"resp_fake{number}",
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "model": script.model or wanted.model,
        "output": [],
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": None,
    }


Item = tuple[str, str, tuple[str, ...], ToolCall | None]


def _items(content: Content, number: int) -> Iterator[Item]:
    """Kind, id, tokens and, of a call of a tool, the call."""
    if content.reasoning:
        yield "reasoning", f"rs_fake{number}", content.reasoning, None
    if content.text:
        kind = "refusal" if content.finish == "refusal" else "output_text"
        yield kind, f"msg_fake{number}", content.text, None
    for n, call in enumerate(content.calls):
        yield "function_call", f"fc_fake{number}_{n}", call.arguments, call


def _item(item: Item, status: str) -> dict[str, Any]:
    kind, name, tokens, call = item
    text, done = "".join(tokens), status == "completed"
    head = {"id": name, "status": status}
    if call is not None:
        said = text if done else ""
        return {**head, "type": kind, "call_id": call.id, "name": call.name, "arguments": said}
    if kind == "reasoning":
        summary = [{"type": "summary_text", "text": text}] if done else []
        return {"id": name, "type": kind, "summary": summary}
    content = [_part(kind, text)] if done else []
    return {**head, "type": "message", "role": "assistant", "content": content}


def _part(kind: str, text: str) -> dict[str, Any]:
    if kind == "refusal":
        return {"type": kind, "refusal": text}
    return {"type": kind, "text": text, "annotations": [], "logprobs": []}


def _streamed(numbers: count[int], index: int, item: Item) -> Iterator[Piece]:
    kind, name, tokens, call = item
    where: dict[str, Any] = {"item_id": name, "output_index": index}
    begun = _item(item, "in_progress")
    yield _event(
        numbers, "response.output_item.added", call is not None, output_index=index, item=begun
    )
    if call is not None:
        yield from _arguments(numbers, where, tokens, call)
    elif kind == "reasoning":
        yield from _summary(numbers, where | {"summary_index": 0}, tokens)
    else:
        yield from _text(numbers, where | {"content_index": 0}, kind, tokens)
    done = _item(item, "completed")
    yield _event(numbers, "response.output_item.done", output_index=index, item=done)


def _arguments(
    numbers: count[int], where: Mapping[str, Any], tokens: tuple[str, ...], call: ToolCall
) -> Iterator[Piece]:
    kind = "response.function_call_arguments"
    for token in tokens:
        yield _event(numbers, f"{kind}.delta", token=True, delta=token, **where)
    whole = "".join(tokens)
    yield _event(numbers, f"{kind}.done", arguments=whole, name=call.name, **where)


def _summary(
    numbers: count[int], where: Mapping[str, Any], tokens: tuple[str, ...]
) -> Iterator[Piece]:
    kind = "response.reasoning_summary"
    yield _event(numbers, f"{kind}_part.added", part={"type": "summary_text", "text": ""}, **where)
    for token in tokens:
        yield _event(numbers, f"{kind}_text.delta", token=True, delta=token, **where)
    text = "".join(tokens)
    yield _event(numbers, f"{kind}_text.done", text=text, **where)
    yield _event(numbers, f"{kind}_part.done", part={"type": "summary_text", "text": text}, **where)


def _text(
    numbers: count[int], where: Mapping[str, Any], kind: str, tokens: tuple[str, ...]
) -> Iterator[Piece]:
    yield _event(numbers, "response.content_part.added", part=_part(kind, ""), **where)
    extra: dict[str, Any] = {"logprobs": []} if kind == "output_text" else {}
    for token in tokens:
        yield _event(numbers, f"response.{kind}.delta", token=True, delta=token, **extra, **where)
    text = "".join(tokens)
    word = "refusal" if kind == "refusal" else "text"
    said: dict[str, Any] = {word: text}
    yield _event(numbers, f"response.{kind}.done", **said, **extra, **where)
    yield _event(numbers, "response.content_part.done", part=_part(kind, text), **where)


def _event(numbers: count[int], kind: str, token: bool = False, **values: Any) -> Piece:
    told = {"type": kind, "sequence_number": next(numbers), **values}
    return Piece(framed(orjson.dumps(told), kind), token)
