"""How a request shall be answered: the instructions that a caller may give, and where it may.

An instruction is a query string, `tokens=200&rate=50`. It stands, each place over those before it,

- in the path: a segment that begins with `~`, as in `http://127.0.0.1:9100/~status=503/v1`, so that
  one fake stands for several providers;
- in the model's name, after `fake?`: `fake?tokens=3`;
- in the text of the last message or prompt, after `fake?` and up to a blank: it survives any
  translation;
- in the body's `metadata.fake`, and in the header `x-fake`.

Knows nothing of what any instruction does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import parse_qsl, unquote

_IN_TEXT = re.compile(r"fake\?([^\s\"'<>]+)")
_SEGMENT = re.compile(r"/~([^/?]*)")
# A text is searched from its end: long prompts are data, not instructions.
_SEARCHED_CHARS = 2000


class BadScript(ValueError):
    """An instruction that the fake does not know: a slip of the pen in a test."""


@dataclass(frozen=True, slots=True)
class Script:
    """What an answer is made of. Every default is a plain, whole and immediate answer.

    Attributes:
        name: for finding what was received; counts of `times` and `limit` are kept by it.
        tokens: of the text, where nothing else says what the text is.
        text: the text itself.
        echo: the text is the last message's.
        reasoning: tokens of reasoning before the text.
        tools: calls of tools to make (of those offered) instead of a text.
        arguments: `good`, as the tool's schema wants them, or `broken`: no JSON at all.
        refuse: the answer is a refusal.
        finish: tells this finish reason whatever the answer is.
        input: tokens of the prompt to tell; negative: a quarter of its characters.
        output: tokens of the answer to tell; negative: those that were sent.
        cached: of the prompt, read from a cache.
        cache_write: of the prompt, written into a cache for five minutes.
        cache_write_1h: of the prompt, written for an hour.
        usage: how a stream tells it: `asked` | `always` | `finish` (on the chunk that finishes) |
            `empty_choice` (a chunk with an empty delta) | `every` (running, on each chunk) |
            `null_after` (followed by a chunk without) | `absent` (no answer tells any).
        ttft_s: until the first token.
        rate: tokens a second after the first; 0: as fast as they are taken.
        jitter: share by which each pause may be shorter or longer.
        early_head: the head, and what comes before the first token, are sent at once.
        status: of an error to answer with; with 3xx a redirect to `location`.
        error: kind of the error (`errors.py`); says the status, too.
        message: of the error.
        key: that must be shown; another one is an error.
        leak: the error's message repeats the key it was asked with, as some providers' do.
        retry_after_s: tells `Retry-After`.
        should_retry: tells `x-should-retry`.
        location: where a redirect leads.
        times: so often an answer fails, later ones do not; negative: always.
        limit: requests that are let through in `window_s`; then 429. 0: all.
        window_s: the window of `limit`.
        limit_tokens: told beside it.
        break_at: breaks an answer before this token (0: the first); negative: it does not break.
        break_as: `cut` (closed) | `reset` | `stall` | `error` (an error event) | `garbage` |
            `half` (of a frame, then closed) | `end` (a proper end of the body, too early).
        drop: closes the connection instead of answering.
        hang: never answers.
        then: of the connection after the answer: `close` (at once, unannounced) | `drop` (when the
            next request comes).
        framing: of a body that is not a stream: `length` | `chunked` | `close`.
        interim: status 100 or 103 to send first.
        eol: of event frames: `lf` | `crlf` | `cr`.
        split: bytes per chunk of a stream's body; 0: a frame.
        comments: sends comment lines (or `ping` events) between frames.
        padding: letters of obfuscation in each chunk.
        model: to tell instead of the one asked for.
        fingerprint: to tell.
        azure: begins streams with a chunk of filter results and no choice.
        headers: sends what a proxy must not pass on: cookies, its organisation, its address.
    """

    name: str = ""
    tokens: int = 16
    text: str = ""
    echo: bool = False
    reasoning: int = 0
    tools: int = 0
    arguments: str = "good"
    refuse: bool = False
    finish: str = ""
    input: int = -1
    output: int = -1
    cached: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    usage: str = "asked"
    ttft_s: float = 0.0
    rate: float = 0.0
    jitter: float = 0.0
    early_head: bool = False
    status: int = 200
    error: str = ""
    message: str = ""
    key: str = ""
    leak: bool = False
    retry_after_s: float = -1.0
    should_retry: str = ""
    location: str = ""
    times: int = -1
    limit: int = 0
    window_s: float = 60.0
    limit_tokens: int = 0
    break_at: int = -1
    break_as: str = "cut"
    drop: bool = False
    hang: bool = False
    then: str = ""
    framing: str = "length"
    interim: int = 0
    eol: str = "lf"
    split: int = 0
    comments: bool = False
    padding: int = 0
    model: str = ""
    fingerprint: str = "fp_fake"
    azure: bool = False
    headers: bool = False

    @property
    def fails(self) -> bool:
        """Whether the answer is to be anything but a whole one."""
        return (
            self.status >= 300 or bool(self.error) or self.break_at >= 0 or self.drop or self.hang
        )

    def mended(self) -> Script:
        """The same without its failures."""
        return replace(self, status=200, error="", break_at=-1, drop=False, hang=False)


_KINDS: dict[str, Callable[[Any], Any]] = {
    field.name: type(field.default) for field in fields(Script)
}


def told(script: Script, query: str) -> Script:
    """The script with the instructions of a query string over it.

    Raises:
        BadScript: an instruction that there is not, or a value that is none of its kind.
    """
    return changed(script, dict(parse_qsl(query, keep_blank_values=True))) if query else script


def changed(script: Script, values: Mapping[str, Any]) -> Script:
    """The same with instructions by name, their values as text or as they are.

    Raises:
        BadScript: as `told`.
    """
    unknown = sorted(values.keys() - _KINDS.keys())
    if unknown:
        raise BadScript(f"no such instruction: {', '.join(unknown)}")
    try:
        return replace(script, **{name: _value(name, value) for name, value in values.items()})
    except ValueError as error:
        raise BadScript(f"{dict(values)}: {error}") from error


def in_path(path: str) -> str:
    """The instructions in a path, its `~` segments together."""
    return "&".join(unquote(found) for found in _SEGMENT.findall(path)) if "~" in path else ""


def in_text(text: str) -> str:
    """The instructions in a text or a model's name; "" for none."""
    found = _IN_TEXT.findall(text[-_SEARCHED_CHARS:]) if "fake?" in text else ()
    return "&".join(found)


def _value(name: str, value: Any) -> Any:
    kind = _KINDS[name]
    if kind is bool and isinstance(value, str):
        if value not in ("0", "1"):
            raise ValueError(f"'{name}': expected 0 or 1, got {value!r}")
        return value == "1"
    return kind(value)
