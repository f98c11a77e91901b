"""From a request to its answer: which dialect a path speaks, and what is sent back.

Pure but for the counts of scripts that fail so often or let through so many. Knows nothing of
connections and pauses.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote

import orjson

from gateway.llm.fake import chat, completions, embeddings, errors, messages, responses
from gateway.llm.fake.content import Content, Counted, Wanted, content_of
from gateway.llm.fake.frames import Piece
from gateway.llm.fake.records import Received
from gateway.llm.fake.script import Script, changed, in_path, in_text, told
from gateway.llm.fake.texts import last_text

Header = tuple[str, str]


class Spoken(Protocol):
    """A dialect that streams: a module of this package."""

    def read(self, values: Mapping[str, Any]) -> Wanted:
        """What a request asks for."""

    def whole(
        self, content: Content, wanted: Wanted, script: Script, number: int, created: int
    ) -> dict[str, Any]:
        """An answer in one piece."""

    def pieces(
        self, content: Content, wanted: Wanted, script: Script, number: int, created: int
    ) -> Iterable[Piece]:
        """The frames of a streamed one."""

    def failed(self, kind: errors.Kind, message: str, number: int) -> bytes:
        """The event of an error within a stream."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send.

    Attributes:
        status: of it.
        headers: but those of framing.
        body: of an answer in one piece.
        pieces: of a stream; None: it is none.
        tokens: that `body` stands for, which its pace is by.
        counted: that it tells; None: none.
        broken: the error event for a stream that breaks.
    """

    status: int
    headers: list[Header]
    body: bytes = b""
    pieces: Iterable[Piece] | None = None
    tokens: int = 0
    counted: Counted | None = None
    broken: bytes = b""


# Ends of paths, whatever comes before them: Azure's hold deployments, tests' hold scripts.
_SPOKEN: dict[str, Spoken] = {
    "/chat/completions": chat,
    "/completions": completions,
    "/responses": responses,
    "/messages": messages,
}
_PLAIN: dict[str, Callable[[Mapping[str, Any], Script], tuple[dict[str, Any], Counted | None]]] = {
    "/embeddings": embeddings.answer,
    "/messages/count_tokens": messages.count,
}
# Where requests say what is to be answered, by dialect.
_SAID = ("messages", "input", "prompt")
_COUNTS = "/fake/counts"
_DEPLOYMENT = re.compile(r"/deployments/([^/?]+)")
_JSON = ("content-type", "application/json")
_STREAM = ("content-type", "text/event-stream; charset=utf-8")
# What an upstream says that no caller of a proxy should be told.
_PRIVATE = [
    ("set-cookie", "__cf_bm=secret; path=/; HttpOnly"),
    ("alt-svc", 'h3=":443"; ma=86400'),
    ("cf-ray", "8f00fake"),
    ("server", "cloudflare"),
    ("openai-organization", "org-secret"),
    ("strict-transport-security", "max-age=31536000"),
]


class Answers:
    """Answers requests, and counts for scripts that want so.

    Attributes:
        script: what each request begins with.
        queued: scripts of the next requests, one each.
    """

    def __init__(self, script: Script, counts: Mapping[str, int]) -> None:
        """Takes the script of every request, and the counts that `/fake/counts` tells."""
        self._counts = counts
        self.script = script
        self.queued: list[Mapping[str, Any]] = []
        self._failed: dict[str, int] = {}
        self._windows: dict[str, tuple[float, int]] = {}

    def script_of(self, path: str, headers: Iterable[Header], values: Any) -> Script:
        """The script of a request, its failures counted.

        Raises:
            BadScript: an instruction in it is none.
        """
        script = told(self.script, in_path(path))
        if isinstance(values, dict):
            script = told(script, in_text(str(values.get("model", ""))))
            said = next((values[field] for field in _SAID if field in values), None)
            script = told(script, in_text(last_text(said)))
            script = told(script, str((values.get("metadata") or {}).get("fake", "")))
        script = told(script, next((v for name, v in headers if name == "x-fake"), ""))
        if self.queued:
            script = changed(script, self.queued.pop(0))
        if script.fails and script.times >= 0:
            failed = self._failed.get(script.name, 0)
            if failed >= script.times:
                return script.mended()
            self._failed[script.name] = failed + 1
        return script

    def forget(self) -> None:
        """Begins anew: nothing failed so far, all windows are open, nothing is queued."""
        self._failed.clear()
        self._windows.clear()
        self.queued.clear()

    def answer(self, received: Received) -> Answer:
        """The answer to a request whose script is known."""
        script = received.script
        if received.path == _COUNTS:
            return _plain(dict(self._counts), None, [])
        left = self._left(script)
        if left < 0:
            return _failure(received, errors.KINDS["rate_limit"], self._limits(received, 0))
        if script.key and _key(received) != script.key:
            return _failure(received, errors.KINDS["auth"], [])
        if script.error or script.status >= 300:
            kind = errors.kind_of(script.error, script.status)
            return _failure(received, kind, self._limits(received, left))
        try:
            return _answer(received, self._limits(received, left))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            return bad_request(received, f"{type(error).__name__}: {error}")

    def _left(self, script: Script) -> int:
        """Requests that may still come in this window; below 0: this one is one too many."""
        if not script.limit:
            return 0
        now = time.monotonic()
        began, count = self._windows.get(script.name, (now, 0))
        if now - began >= script.window_s:
            began, count = now, 0
        self._windows[script.name] = (began, count + 1)
        return script.limit - count - 1

    def _limits(self, received: Received, left: int) -> list[Header]:
        script = received.script
        if not script.limit:
            return []
        began, _ = self._windows[script.name]
        reset = max(0.0, began + script.window_s - time.monotonic())
        tokens = script.limit_tokens or 1000 * script.limit
        if is_anthropic(received.path):
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + reset))
            told = {"limit": script.limit, "remaining": left, "reset": at}
            return [(f"anthropic-ratelimit-requests-{word}", str(v)) for word, v in told.items()]
        told = {"limit": script.limit, "remaining": left, "reset": f"{reset:.3f}s"}
        by_request = [(f"x-ratelimit-{word}-requests", str(v)) for word, v in told.items()]
        return [*by_request, ("x-ratelimit-limit-tokens", str(tokens))]


def is_anthropic(path: str) -> bool:
    """Whether a path is one of Anthropic's API."""
    return "/messages" in path


def bad_request(received: Received, message: str) -> Answer:
    """The answer to what cannot be understood."""
    return _failure(received, errors.KINDS["invalid"], [], message)


def _answer(received: Received, limits: list[Header]) -> Answer:
    path, headers = received.path.partition("?")[0], [*_headers(received), *limits]
    if received.method == "GET" and "/models" in path:
        return _plain(_models(received, path), None, headers)
    if received.method == "POST":
        for end, answer in _PLAIN.items():
            if path.endswith(end):
                return _plain(*answer(received.values, received.script), headers)
        for end, spoken in _SPOKEN.items():
            if path.endswith(end):
                return _said(spoken, received, headers)
    return _failure(received, errors.KINDS["not_found"], limits)


def _key(received: Received) -> str:
    shown = (received.header(name) for name in ("authorization", "x-api-key", "api-key"))
    return next(filter(None, shown), "").removeprefix("Bearer ")


def _models(received: Received, path: str) -> dict[str, Any]:
    name = unquote(path.partition("/models")[2].strip("/"))
    if name:
        return embeddings.model(name)
    return embeddings.models(anthropic=received.header("anthropic-version") is not None)


def _plain(body: dict[str, Any], counted: Counted | None, headers: list[Header]) -> Answer:
    return Answer(200, [_JSON, *headers], orjson.dumps(body), counted=counted)


def _said(spoken: Spoken, received: Received, headers: list[Header]) -> Answer:
    script, number, values = received.script, received.number, received.values
    # Azure's callers name the model in the path alone.
    deployment = _DEPLOYMENT.search(received.path)
    if deployment:
        values = {"model": deployment[1], **values}
    if spoken is messages and received.header("anthropic-version") is None:
        raise ValueError("anthropic-version: header is required")
    wanted = spoken.read(values)
    content = content_of(wanted, script, number)
    created = int(time.time())
    broken = spoken.failed(errors.KINDS["overloaded"], script.message, number)
    if wanted.stream:
        pieces = spoken.pieces(content, wanted, script, number, created)
        headers = [_STREAM, ("cache-control", "no-cache"), *headers]
        return Answer(200, headers, pieces=pieces, counted=content.counted, broken=broken)
    body = orjson.dumps(spoken.whole(content, wanted, script, number, created))
    tokens = content.counted.output
    return Answer(200, [_JSON, *headers], body, None, tokens, content.counted, broken)


def _headers(received: Received) -> list[Header]:
    anthropic = is_anthropic(received.path)
    named = ("request-id" if anthropic else "x-request-id", f"req_fake{received.number}")
    found = [named]
    if not anthropic:
        found.append(("openai-processing-ms", "1"))
    return found + _PRIVATE if received.script.headers else found


def _failure(
    received: Received, kind: errors.Kind, limits: list[Header], message: str = ""
) -> Answer:
    script = received.script
    headers = [_JSON, *_headers(received), *limits]
    message = message or script.message
    if script.leak:
        message = f"{message or kind.message} You sent: {_key(received)}"
    if script.retry_after_s >= 0:
        headers.append(("retry-after", f"{script.retry_after_s:g}"))
    if script.should_retry:
        headers.append(("x-should-retry", script.should_retry))
    if script.location:
        headers.append(("location", script.location))
    anthropic = is_anthropic(received.path)
    status = kind.anthropic_status if anthropic else kind.status
    if script.status >= 300:
        status = script.status
    body = (
        errors.anthropic_body(kind, message, received.number)
        if anthropic
        else errors.openai_body(kind, message)
    )
    return Answer(status, headers, orjson.dumps(body))
