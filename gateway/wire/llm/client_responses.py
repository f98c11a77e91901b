"""Asks an upstream that speaks chat for a client that speaks OpenAI's responses.

Knows both shapes of a request. Knows nothing of answers; see `client_responses_answers`. What the
provider would have to remember is refused: such upstreams keep nothing between two requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway.wire.llm.asked import Asked, cannot, leave_out, picked, unsupported
from gateway.wire.llm.client_responses_answers import REPEATED
from gateway.wire.llm.fields import Values, mapping, mappings, text, written

Message = dict[str, Any]
Part = dict[str, Any]

_AS_THEY_ARE = (
    *("model", "stream", "temperature", "top_p", "parallel_tool_calls"),
    *("user", "safety_identifier", "service_tier"),
    *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
)
_TRANSLATED = (
    *("input", "instructions", "max_output_tokens", "reasoning", "text", "tools", "tool_choice"),
    *("metadata", "store"),
)
_REMEMBERED = ("previous_response_id", "conversation", "prompt", "background")
_WITHOUT_EFFECT = ("include", "stream_options")
_KNOWN = frozenset({*_AS_THEY_ARE, *_TRANSLATED, *_REMEMBERED, *_WITHOUT_EFFECT})


def request(values: Values, asked: Asked) -> dict[str, Any]:
    """A request of responses as one of chat.

    Raises:
        InvalidParameter: what it says cannot be said, and must not be left out.
    """
    for name in _REMEMBERED:
        if values.get(name):
            raise cannot(name, "the model's provider keeps nothing between requests")
    leave_out(values, _KNOWN, asked)
    for name in REPEATED:
        if not written(values.get(name)):
            raise cannot(name, "expected something nested less deep: the answer repeats it")
    sent = {
        **picked(values, *_AS_THEY_ARE),
        "messages": _conversation(values, asked),
        **_tools(values, asked),
    }
    if values.get("store") is True:  # chat takes metadata of what is to be stored alone
        sent |= picked(values, "store", "metadata")
    if values.get("max_output_tokens") is not None:
        sent[asked.limit_field] = values["max_output_tokens"]
    if (effort := text(mapping(values, "reasoning"), "effort")) and asked.thinks_by != "nothing":
        sent["reasoning_effort"] = effort
    if verbosity := text(mapping(values, "text"), "verbosity"):
        sent["verbosity"] = verbosity
    if form := _format(mapping(mapping(values, "text"), "format")):
        sent["response_format"] = form
    return sent


def _format(form: Values) -> dict[str, Any] | None:
    kind = form.get("type")
    if kind == "json_schema":
        schema = picked(form, "name", "description", "schema", "strict")
        return {"type": "json_schema", "json_schema": schema}
    return {"type": "json_object"} if kind == "json_object" else None


def _conversation(values: Values, asked: Asked) -> list[Message]:
    messages: list[Message] = []
    if instructions := text(values, "instructions"):
        messages.append({"role": "system", "content": instructions})
    given = values.get("input")
    if type(given) is str:
        return [*messages, {"role": "user", "content": given}]
    shown: list[Part] = []  # pictures of tools, which only a user may send in chat
    for number, item in enumerate(mappings(values, "input")):
        where, kind = f"input[{number}]", text(item, "type") or "message"
        if kind == "function_call_output":
            shown += _add_result(messages, item, where)
            continue
        _add_user(messages, shown)
        shown = []
        if kind == "message":
            messages.append(_message(item, where))
        elif kind == "function_call":
            _add_call(messages, item)
        elif kind == "item_reference":
            raise cannot(where, "the model's provider keeps nothing between requests")
        elif kind != "reasoning":  # what was thought has no place in chat
            unsupported(where, asked)
    _add_user(messages, shown)
    return messages


def _add_user(messages: list[Message], parts: list[Part]) -> None:
    if parts:
        messages.append({"role": "user", "content": parts})


def _message(item: Values, where: str) -> Message:
    role = text(item, "role")
    content = item.get("content")
    said = content if type(content) is str else _parts(item, "content", where)
    if role == "assistant" and type(said) is list:
        said = "".join(part["text"] for part in said if part["type"] == "text")
    elif type(said) is list and len(said) == 1 and said[0]["type"] == "text":
        said = said[0]["text"]
    return {"role": "system" if role == "developer" else role, "content": said}


def _parts(item: Values, key: str, where: str) -> list[Part]:
    return [
        _part(part, f"{where}.{key}[{number}]") for number, part in enumerate(mappings(item, key))
    ]


def _part(part: Values, where: str) -> Part:
    kind = text(part, "type")
    if kind in ("input_text", "output_text", "text", "summary_text"):
        return {"type": "text", "text": text(part, "text")}
    if kind == "refusal":
        return {"type": "text", "text": text(part, "refusal")}
    if kind == "input_image" and text(part, "image_url"):
        url = {"url": part["image_url"], **picked(part, "detail")}
        return {"type": "image_url", "image_url": url}
    if kind == "input_file" and text(part, "file_data"):
        return {"type": "file", "file": picked(part, "filename", "file_data")}
    if kind == "input_audio":
        return {"type": "input_audio", "input_audio": mapping(part, "input_audio")}
    raise cannot(where, f"the model's provider takes no part of type {kind!r} without its data")


def _add_call(messages: list[Message], item: Values) -> None:
    """To what the assistant said just before, since all calls of one turn are one message's."""
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    function = {"name": text(item, "name"), "arguments": text(item, "arguments")}
    call = {"id": text(item, "call_id"), "type": "function", "function": function}
    messages[-1].setdefault("tool_calls", []).append(call)


def _add_result(messages: list[Message], item: Values, where: str) -> list[Part]:
    """Adds the words of a tool's result; returns what else it shows."""
    output = item.get("output")
    parts = [] if type(output) is str else _parts(item, "output", where)
    words = [part["text"] for part in parts if part["type"] == "text"]
    content = output if type(output) is str else "\n".join(words)
    messages.append({"role": "tool", "tool_call_id": text(item, "call_id"), "content": content})
    return [part for part in parts if part["type"] != "text"]


def _tools(values: Values, asked: Asked) -> dict[str, Any]:
    tools = list(_functions(values, asked))
    if not tools:
        return {}
    choice = _tool_choice(values.get("tool_choice"), asked)
    return {"tools": tools} | ({"tool_choice": choice} if choice else {})


def _functions(values: Values, asked: Asked) -> Iterator[dict[str, Any]]:
    for number, tool in enumerate(mappings(values, "tools")):
        if tool.get("type") == "function":
            function = picked(tool, "name", "description", "parameters", "strict")
            yield {"type": "function", "function": function}
        else:
            unsupported(f"tools[{number}]", asked)  # one that OpenAI runs, or of free form


def _tool_choice(choice: Any, asked: Asked) -> Any:
    if type(choice) is str:
        return choice
    if type(choice) is not dict:
        return None
    if choice.get("type") == "function":
        return _named(choice)
    if choice.get("type") == "allowed_tools":
        allowed = {**picked(choice, "mode"), "tools": list(map(_named, mappings(choice, "tools")))}
        return {"type": "allowed_tools", "allowed_tools": allowed}
    return unsupported("tool_choice", asked)


def _named(tool: Values) -> dict[str, Any]:
    return {"type": "function", "function": {"name": text(tool, "name")}}
