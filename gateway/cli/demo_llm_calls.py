"""Asks for chat completions, whole and streamed, and notes what came when: for `penstock demo llm`.

Knows as much of HTTP and of the dialect as any client must. Knows nothing of what is shown.
"""

from __future__ import annotations

import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

CHAT = "/v1/chat/completions"
AT_ONCE = 8
ANSWERED_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer.

    Attributes:
        status: of it.
        code: the gateway's of its error; empty: it is none.
        text: what it says.
        first_token_s: until the first of that came; of a whole answer, all of it.
        upstream: that gave it, as the gateway tells.
    """

    status: int
    code: str
    text: str
    first_token_s: float
    upstream: str


class Caller:
    """Asks one server on this machine."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(
        self,
        count: int,
        key: str,
        model: str,
        script: str,
        stream: bool = False,
        at_once: int = AT_ONCE,
    ) -> list[Answered]:
        """Asks so many times, some at once.

        Args:
            count: of requests.
            key: that is shown.
            model: that is asked for.
            script: what the fake provider behind the gateway is to do.
            stream: the answers are to come in pieces.
            at_once: of them.
        """
        messages = [{"role": "user", "content": f"Tell me of the mill. fake?{script}"}]
        asked = {"model": model, "messages": messages, "max_tokens": 200, "stream": stream}
        body = json.dumps(asked)
        with ThreadPoolExecutor(at_once) as crowd:
            return list(crowd.map(lambda _: self._ask(key, body), range(count)))

    def _ask(self, key: str, body: str) -> Answered:
        line = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWERED_WITHIN_S)
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        began = time.perf_counter()
        try:
            line.request("POST", CHAT, body, headers)
            answer = line.getresponse()
            upstream = answer.getheader("penstock-upstream", "")
            if answer.getheader("content-type", "").startswith("text/event-stream"):
                text, first = _streamed(answer)
                return Answered(answer.status, "", text, first - began, upstream)
            told = json.loads(answer.read())
            took = time.perf_counter() - began
            if answer.status != 200:
                code = answer.getheader("penstock-error-code", "")
                return Answered(answer.status, code, "", took, upstream)
            text = told["choices"][0]["message"]["content"]
            return Answered(200, "", text, took, upstream)
        finally:
            line.close()


def _streamed(answer: http.client.HTTPResponse) -> tuple[str, float]:
    """The text of a stream, and when the first of it came."""
    text, first = "", 0.0
    while line := answer.readline():
        data = line.removeprefix(b"data: ").strip()
        if not line.startswith(b"data: ") or data == b"[DONE]":
            continue
        chunk: dict[str, Any] = json.loads(data)
        piece = "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
        if piece and not first:
            first = time.perf_counter()
        text += piece
    return text, first
