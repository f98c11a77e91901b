"""Requests in one dialect, and what they become in another: pairs, both ways."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from gateway.errors import InvalidParameter
from gateway.wire.llm.asked import Asked
from gateway.wire.llm.translate import Translation, translation
from gateway.wire.llm.words import Dialect

ASKED = Asked("assistant", "7", 1700000000, max_output_tokens=1000)
TO_MESSAGES = Translation(Dialect.CHAT, Dialect.MESSAGES)
TO_CHAT = Translation(Dialect.MESSAGES, Dialect.CHAT)
HELLO = [{"role": "user", "content": "Hello"}]
MARK = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"$ref": "#/$defs/city"}},
    "$defs": {"city": {"type": "string"}},
}


def tool(name: str, **function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": SCHEMA, **function}}


def calls(*pairs: tuple[str, str]) -> list[dict[str, Any]]:
    return [
        {"id": name, "type": "function", "function": {"name": "f", "arguments": arguments}}
        for name, arguments in pairs
    ]


def pdf(data: str) -> dict[str, Any]:
    source = {"type": "base64", "media_type": "application/pdf", "data": data}
    return {"type": "document", "source": source}


CHOICES: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("choice-auto", {"tool_choice": "auto"}, "fg", {"type": "auto"}),
    (
        "choice-none-has-nothing-parallel",
        {"tool_choice": "none", "parallel_tool_calls": False},
        "fg",
        {"type": "none"},
    ),
    (
        "one-at-a-time-needs-a-choice",
        {"parallel_tool_calls": False},
        "fg",
        {"type": "auto", "disable_parallel_tool_use": True},
    ),
    (
        "choice-of-one",
        {"tool_choice": {"type": "function", "function": {"name": "g"}}},
        "fg",
        {"type": "tool", "name": "g"},
    ),
    (
        "allowed-tools",
        {
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [tool("g")]},
            }
        },
        "g",
        {"type": "any"},
    ),
]

CHAT_TO_MESSAGES = [
    pytest.param(
        {"messages": HELLO},
        {"messages": HELLO, "max_tokens": 1000},
        id="the-limit-that-must-be-said",
    ),
    pytest.param(
        {"messages": HELLO, "max_tokens": 5, "max_completion_tokens": 7},
        {"messages": HELLO, "max_tokens": 7},
        id="the-newer-limit-first",
    ),
    pytest.param(
        {
            "messages": [
                {"role": "system", "content": "One."},
                *HELLO,
                {"role": "developer", "content": [{"type": "text", "text": "Two.", **MARK}]},
                {"role": "system", "content": "Three.", **MARK},
            ]
        },
        {
            "messages": HELLO,
            "system": [
                {"type": "text", "text": "One."},
                {"type": "text", "text": "Two.", **MARK},
                {"type": "text", "text": "Three.", **MARK},
            ],
        },
        id="system-prompts-in-order-with-their-marks",
    ),
    pytest.param(
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "text",
                            "text": "Look",
                            "prompt_cache_breakpoint": {"mode": "explicit"},
                        },
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                        {"type": "image_url", "image_url": {"url": "https://example.com/a.jpg"}},
                        {
                            "type": "file",
                            "file": {
                                "filename": "a.pdf",
                                "file_data": "data:application/pdf;base64,BBBB",
                            },
                        },
                        {"type": "file", "file": {"file_data": "BBBB"}},
                        {
                            "type": "file",
                            "file": {
                                "file_data": "data:text/plain;charset=utf-8;base64,"
                                + base64.b64encode("héllo".encode()).decode()
                            },
                        },
                    ],
                }
            ]
        },
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Look", "cache_control": {"type": "ephemeral"}},
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"},
                        },
                        {
                            "type": "image",
                            "source": {"type": "url", "url": "https://example.com/a.jpg"},
                        },
                        {**pdf("BBBB"), "title": "a.pdf"},
                        pdf("BBBB"),
                        {
                            "type": "document",
                            "source": {"type": "text", "media_type": "text/plain", "data": "héllo"},
                        },
                    ],
                }
            ]
        },
        id="images-and-documents",
    ),
    pytest.param(
        {
            "messages": [
                *HELLO,
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": calls(("a", '{"x": 1}'), ("b.1", "")),
                },
                {"role": "tool", "tool_call_id": "a", "content": "42"},
                {
                    "role": "tool",
                    "tool_call_id": "b.1",
                    "content": [{"type": "text", "text": "1"}, {"type": "text", "text": "2"}],
                    **MARK,
                },
                {"role": "user", "content": "And?"},
                {"role": "assistant", "refusal": "No."},
            ]
        },
        {
            "messages": [
                *HELLO,
                {
                    "role": "assistant",
                    "content": [
                        {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
                        {"type": "tool_use", "id": "b_1", "name": "f", "input": {}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "a", "content": "42"},
                        {
                            "type": "tool_result",
                            "tool_use_id": "b_1",
                            "content": [
                                {"type": "text", "text": "1"},
                                {"type": "text", "text": "2"},
                            ],
                            **MARK,
                        },
                        {"type": "text", "text": "And?"},
                    ],
                },
                {"role": "assistant", "content": "No."},
            ]
        },
        id="calls-and-their-results-in-one-message",
    ),
    pytest.param(
        {
            "messages": [
                *HELLO,
                {
                    "role": "assistant",
                    "content": "Looking.",
                    "thinking_blocks": [
                        {"index": 0, "type": "thinking", "thinking": "hm", "signature": "s"},
                        {"type": "thinking", "thinking": "unsigned"},
                        {"type": "redacted_thinking", "data": "x"},
                    ],
                },
                {"role": "assistant", "content": ""},
            ]
        },
        {
            "messages": [
                *HELLO,
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "s"},
                        {"type": "redacted_thinking", "data": "x"},
                        {"type": "text", "text": "Looking."},
                    ],
                },
            ]
        },
        id="thoughts-go-back-signed-and-first",
    ),
    pytest.param(
        {
            "messages": HELLO,
            "tools": [
                tool("f", description="d", strict=True),
                {"type": "function", "function": {"name": "g"}, **MARK},
                {"type": "web_search_20250305", "name": "web_search"},
            ],
            "tool_choice": "required",
            "parallel_tool_calls": False,
        },
        {
            "messages": HELLO,
            "tools": [
                {"name": "f", "description": "d", "strict": True, "input_schema": SCHEMA},
                {"name": "g", "input_schema": {"type": "object", "properties": {}}, **MARK},
                {"type": "web_search_20250305", "name": "web_search"},
            ],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        },
        id="tools",
    ),
    *(
        pytest.param(
            {"messages": HELLO, "tools": [tool("f"), tool("g")], **given},
            {
                "messages": HELLO,
                "tools": [{"name": name, "input_schema": SCHEMA} for name in names],
                "tool_choice": choice,
            },
            id=name,
        )
        for name, given, names, choice in CHOICES
    ),
    pytest.param(
        {"messages": HELLO, "tool_choice": "none"},
        {"messages": HELLO},
        id="no-choice-without-tools",
    ),
    pytest.param(
        {
            "messages": HELLO,
            "stream": True,
            "temperature": 1.7,
            "top_p": 0.9,
            "top_k": 40,
            "stop": ["END", "\n"],
            "user": "ada",
            "cache_control": {"type": "ephemeral"},
            "n": 2,
            "seed": 7,
            "logit_bias": {"5": 1},
            "stream_options": {"include_usage": True},
            "metadata": {"a": "b"},
            "service_tier": "flex",
        },
        {
            "messages": HELLO,
            "stream": True,
            "temperature": 1.0,
            "top_p": 0.9,
            "top_k": 40,
            "stop_sequences": ["END"],
            "metadata": {"user_id": "ada"},
            "cache_control": {"type": "ephemeral"},
        },
        id="what-fits-and-what-is-left-out",
    ),
    pytest.param(
        {"messages": HELLO, "stop": "END", "safety_identifier": "a", "user": "b"},
        {"messages": HELLO, "stop_sequences": ["END"], "metadata": {"user_id": "a"}},
        id="one-stop",
    ),
    pytest.param(
        {
            "messages": HELLO,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": SCHEMA, "strict": True},
            },
            "reasoning_effort": "high",
        },
        {
            "messages": HELLO,
            "output_config": {
                "format": {"type": "json_schema", "schema": SCHEMA},
                "effort": "high",
            },
        },
        id="a-schema-and-an-effort",
    ),
    pytest.param(
        {
            "messages": HELLO,
            "response_format": {"type": "json_object"},
            "reasoning_effort": "minimal",
        },
        {"messages": HELLO},
        id="neither-is-known",
    ),
    pytest.param(
        {"messages": HELLO, "reasoning_effort": "none"},
        {"messages": HELLO, "thinking": {"type": "disabled"}},
        id="no-thinking",
    ),
    pytest.param(
        {
            "messages": HELLO,
            "reasoning_effort": "low",
            "temperature": 0.5,
            "thinking": {"type": "enabled", "budget_tokens": 2000},
        },
        {"messages": HELLO, "thinking": {"type": "enabled", "budget_tokens": 2000}},
        id="its-own-thinking-goes-first-and-keeps-no-temperature",
    ),
]


@pytest.mark.parametrize(("given", "expected"), CHAT_TO_MESSAGES)
def test_chat_for_an_upstream_of_messages(given: dict[str, Any], expected: dict[str, Any]) -> None:
    sent = TO_MESSAGES.request({"model": "assistant", **given}, ASKED)
    assert sent == {"model": "assistant", "max_tokens": 1000, **expected}


BUDGETED = Asked("assistant", "7", 0, max_output_tokens=8000, thinks_by="budget")


@pytest.mark.parametrize(
    ("given", "budget"),
    [
        pytest.param({"reasoning_effort": "low"}, 1024, id="low"),
        pytest.param({"reasoning_effort": "medium"}, 4096, id="medium"),
        pytest.param({"reasoning_effort": "max"}, 6976, id="leaves-room-for-the-answer"),
        pytest.param({"reasoning_effort": "low", "max_tokens": 2000}, None, id="no-room"),
        pytest.param(
            {"reasoning_effort": "low", "tools": [tool("f")], "tool_choice": "required"},
            None,
            id="not-with-a-forced-tool",
        ),
        pytest.param(
            {
                "reasoning_effort": "low",
                "messages": [
                    *HELLO,
                    {"role": "assistant", "tool_calls": calls(("a", "{}"))},
                    {"role": "tool", "tool_call_id": "a", "content": "1"},
                ],
            },
            None,
            id="not-where-the-call-came-without-thoughts",
        ),
    ],
)
def test_models_that_take_a_budget_for_thinking(given: dict[str, Any], budget: int | None) -> None:
    sent = TO_MESSAGES.request({"model": "m", "messages": HELLO, **given}, BUDGETED)
    assert sent.get("thinking", {}).get("budget_tokens") == budget
    assert "output_config" not in sent


MESSAGES_TO_CHAT = [
    pytest.param({"messages": HELLO}, {"messages": HELLO}, id="plain"),
    pytest.param(
        {
            "system": [{"type": "text", "text": "One."}, {"type": "text", "text": "Two.", **MARK}],
            "messages": [*HELLO, {"role": "system", "content": "Three."}],
        },
        {
            "messages": [
                {"role": "system", "content": "One.\n\nTwo."},
                *HELLO,
                {"role": "system", "content": "Three."},
            ]
        },
        id="system-prompts",
    ),
    pytest.param(
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Look", **MARK},
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"},
                        },
                        {
                            "type": "image",
                            "source": {"type": "url", "url": "https://example.com/a"},
                        },
                        {**pdf("BBBB"), "title": "a.pdf"},
                        {
                            "type": "document",
                            "title": "T",
                            "source": {"type": "text", "media_type": "text/plain", "data": "héllo"},
                        },
                        {
                            "type": "document",
                            "source": {
                                "type": "content",
                                "content": [{"type": "text", "text": "x"}],
                            },
                        },
                    ],
                }
            ]
        },
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Look"},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                        {"type": "image_url", "image_url": {"url": "https://example.com/a"}},
                        {
                            "type": "file",
                            "file": {
                                "filename": "a.pdf",
                                "file_data": "data:application/pdf;base64,BBBB",
                            },
                        },
                        {"type": "text", "text": "T\nhéllo"},
                        {"type": "text", "text": "x"},
                    ],
                }
            ]
        },
        id="images-and-documents",
    ),
    pytest.param(
        {
            "messages": [
                *HELLO,
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "s"},
                        {"type": "text", "text": "Looking."},
                        {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
                        {"type": "tool_use", "id": "b", "name": "f", "input": {}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "a", "content": "42"},
                        {
                            "type": "tool_result",
                            "tool_use_id": "b",
                            "is_error": True,
                            "content": [
                                {"type": "text", "text": "1"},
                                {"type": "image", "source": {"type": "url", "url": "https://e/a"}},
                            ],
                        },
                        {"type": "text", "text": "And?"},
                    ],
                },
                {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}]},
            ]
        },
        {
            "messages": [
                *HELLO,
                {
                    "role": "assistant",
                    "content": "Looking.",
                    "tool_calls": calls(("a", '{"x":1}'), ("b", "{}")),
                },
                {"role": "tool", "tool_call_id": "a", "content": "42"},
                {"role": "tool", "tool_call_id": "b", "content": "Error: 1"},
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": "https://e/a"}},
                        {"type": "text", "text": "And?"},
                    ],
                },
                {"role": "assistant", "content": ""},
            ]
        },
        id="calls-and-their-results-each-a-message",
    ),
    pytest.param(
        {
            "messages": HELLO,
            "tools": [
                {"name": "f", "description": "d", "strict": True, "input_schema": SCHEMA, **MARK},
                {"type": "custom", "name": "g"},
                {"type": "web_search_20250305", "name": "web_search"},
            ],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        },
        {
            "messages": HELLO,
            "tools": [
                tool("f", description="d", strict=True),
                tool("g", parameters={"type": "object", "properties": {}}),
            ],
            "tool_choice": "required",
            "parallel_tool_calls": False,
        },
        id="tools",
    ),
    *(
        pytest.param(
            {
                "messages": HELLO,
                "tools": [{"name": "f", "input_schema": SCHEMA}],
                "tool_choice": given,
            },
            {"messages": HELLO, "tools": [tool("f")], "tool_choice": choice},
            id=f"choice-{given['type']}",
        )
        for given, choice in [
            ({"type": "auto"}, "auto"),
            ({"type": "none"}, "none"),
            ({"type": "tool", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
        ]
    ),
    pytest.param(
        {
            "messages": HELLO,
            "stream": True,
            "temperature": 0.3,
            "top_p": 0.9,
            "top_k": 40,
            "stop_sequences": ["END"],
            "metadata": {"user_id": "ada"},
            "output_config": {
                "effort": "low",
                "format": {"type": "json_schema", "schema": SCHEMA},
            },
            "cache_control": {"type": "ephemeral"},
            "service_tier": "auto",
        },
        {
            "messages": HELLO,
            "stream": True,
            "temperature": 0.3,
            "top_p": 0.9,
            "stop": ["END"],
            "user": "ada",
            "reasoning_effort": "low",
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
            },
        },
        id="what-fits-and-what-is-left-out",
    ),
    *(
        pytest.param(
            {"messages": HELLO, "thinking": thinking},
            {"messages": HELLO, **({"reasoning_effort": effort} if effort else {})},
            id=f"thinking-{effort}",
        )
        for thinking, effort in [
            ({"type": "enabled", "budget_tokens": 1024}, "low"),
            ({"type": "enabled", "budget_tokens": 8192}, "medium"),
            ({"type": "enabled", "budget_tokens": 30000}, "high"),
            ({"type": "adaptive"}, ""),
        ]
    ),
]


@pytest.mark.parametrize(("given", "expected"), MESSAGES_TO_CHAT)
def test_messages_for_an_upstream_of_chat(given: dict[str, Any], expected: dict[str, Any]) -> None:
    sent = TO_CHAT.request({"model": "assistant", "max_tokens": 50, **given}, ASKED)
    assert sent == {"model": "assistant", "max_completion_tokens": 50, **expected}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("no such city", "Error: no such city"),
        ("Error: no such city", "Error: no such city"),
        ("", "Error: "),
    ],
)
def test_a_tool_that_failed_does_not_read_as_one_that_did_not(content: str, told: str) -> None:
    result = {"type": "tool_result", "tool_use_id": "a", "content": content, "is_error": True}
    given = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": [result]}]}
    (message,) = TO_CHAT.request(given, STRICT)["messages"]
    assert message == {"role": "tool", "tool_call_id": "a", "content": told}


def test_an_older_upstream_gets_the_older_limit_and_no_effort() -> None:
    asked = Asked("m", "7", 0, limit_field="max_tokens", thinks_by="nothing")
    given = {"model": "m", "max_tokens": 0, "messages": HELLO, "output_config": {"effort": "low"}}
    assert TO_CHAT.request(given, asked) == {"model": "m", "max_tokens": 1, "messages": HELLO}


def test_a_long_name_of_a_user_is_told_as_its_digest() -> None:
    given = {"model": "m", "max_tokens": 1, "messages": HELLO, "metadata": {"user_id": "u" * 65}}
    user = TO_CHAT.request(given, ASKED)["user"]
    assert len(user) == 64
    assert user != "u" * 64


@pytest.mark.parametrize(
    ("pair", "given", "name"),
    [
        (TO_MESSAGES, {"messages": [{"role": "function", "content": "x"}]}, "messages[0].role"),
        (
            TO_MESSAGES,
            {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            "messages[0].content[0]",
        ),
        (
            TO_MESSAGES,
            {
                "messages": [
                    {"role": "user", "content": [{"type": "file", "file": {"file_id": "x"}}]}
                ]
            },
            "messages[0].content[0]",
        ),
        (
            TO_MESSAGES,
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "file:///a"}}],
                    }
                ]
            },
            "messages[0].content[0]",
        ),
        (
            TO_MESSAGES,
            {"messages": [{"role": "assistant", "tool_calls": calls(("a", "{"))}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
        (TO_MESSAGES, {"messages": HELLO, "tools": [{"type": "custom"}]}, "tools[0]"),
        (TO_MESSAGES, {"messages": HELLO, "functions": [{"name": "f"}]}, "functions"),
        (TO_MESSAGES, {"messages": HELLO, "tool_choice": "sometimes"}, "tool_choice"),
        (
            TO_CHAT,
            {"messages": [{"role": "user", "content": [{"type": "container_upload"}]}]},
            "messages[0].content[0]",
        ),
        (
            TO_CHAT,
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "document", "source": {"type": "file", "file_id": "x"}}
                        ],
                    }
                ]
            },
            "messages[0].content[0]",
        ),
    ],
)
def test_what_an_answer_depends_on_is_never_left_out(
    pair: Translation, given: dict[str, Any], name: str
) -> None:
    with pytest.raises(InvalidParameter) as refused:
        pair.request({"model": "m", "max_tokens": 5, **given}, ASKED)
    assert str(refused.value).startswith(f"parameter '{name}': ")


STRICT = Asked("m", "7", 0, refuse_unsupported=True)


@pytest.mark.parametrize(
    ("pair", "given", "name"),
    [
        (TO_MESSAGES, {"n": 2}, "n"),
        (TO_MESSAGES, {"logprobs": True}, "logprobs"),
        (TO_MESSAGES, {"seed": 7}, "seed"),
        (TO_MESSAGES, {"temperature": 1.5}, "temperature"),
        (TO_MESSAGES, {"response_format": {"type": "json_object"}}, "response_format"),
        (TO_MESSAGES, {"reasoning_effort": "minimal"}, "reasoning_effort"),
        (TO_MESSAGES, {"guided_json": {"a": 1}}, "guided_json"),
        (TO_CHAT, {"top_k": 40}, "top_k"),
        (TO_CHAT, {"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0]"),
        (
            TO_CHAT,
            {"messages": [{"role": "assistant", "content": [{"type": "server_tool_use"}]}]},
            "messages[0].content[0]",
        ),
    ],
)
def test_what_cannot_be_said_is_refused_where_that_is_asked_for(
    pair: Translation, given: dict[str, Any], name: str
) -> None:
    values = {"model": "m", "max_tokens": 5, "messages": HELLO, **given}
    with pytest.raises(InvalidParameter) as refused:
        pair.request(values, STRICT)
    assert str(refused.value).startswith(f"parameter '{name}': ")
    pair.request(values, ASKED)


def test_a_temperature_past_another_provider_s_range_is_refused_with_that_range() -> None:
    values = {"model": "m", "max_tokens": 5, "messages": HELLO, "temperature": 1.2}
    with pytest.raises(InvalidParameter) as refused:
        TO_MESSAGES.request(values, STRICT)
    said = "parameter 'temperature': expected 0 to 1, which is Anthropic's range, got 1.2"
    assert str(refused.value) == said


def test_what_asks_for_nothing_is_not_refused() -> None:
    nothing = {"n": 1, "logprobs": False, "logit_bias": {}, "presence_penalty": 0, "seed": None}
    values = {"model": "m", "messages": HELLO, "max_tokens": 5, **nothing}
    assert TO_MESSAGES.request(values, STRICT) == {"model": "m", "messages": HELLO, "max_tokens": 5}


def test_the_same_dialect_needs_no_translation() -> None:
    assert translation(Dialect.CHAT, Dialect.CHAT) is None
    assert translation(Dialect.CHAT, Dialect.MESSAGES) == TO_MESSAGES
    with pytest.raises(KeyError):
        translation(Dialect.EMBEDDINGS, Dialect.MESSAGES)
