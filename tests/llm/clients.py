"""The stock clients, as anybody configures them: a base URL, and a key.

Typed as anything: a test reads of an answer what it knows to be there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import anthropic
import openai

KEY = "sk-test"
PATIENCE_S = 30.0


class Clients:
    """Clients, one for each base URL and key. They do not try again by themselves."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._made: dict[tuple[type, str, str], Any] = {}

    def openai(self, base_url: str, key: str = KEY) -> Any:
        return self._client(openai.OpenAI, base_url, key)

    def azure(self, endpoint: str, key: str = KEY, deployment: str | None = None) -> Any:
        """Azure's, whose paths are below `/openai` and name the model."""
        made = openai.AzureOpenAI(
            azure_endpoint=endpoint,
            azure_deployment=deployment,
            api_version="2024-10-21",
            api_key=key,
            max_retries=0,
            timeout=PATIENCE_S,
        )
        return self._stack.enter_context(made)

    def anthropic(self, base_url: str, key: str = KEY) -> Any:
        """Anthropic's, whose base URL has no version in it."""
        return self._client(anthropic.Anthropic, base_url, key)

    def _client(self, kind: type, base_url: str, key: str) -> Any:
        known = (kind, base_url, key)
        if known not in self._made:
            made = kind(base_url=base_url, api_key=key, max_retries=0, timeout=PATIENCE_S)
            self._made[known] = self._stack.enter_context(made)
        return self._made[known]


@contextlib.contextmanager
def opened() -> Iterator[Clients]:
    """Clients that are closed with the block."""
    with contextlib.ExitStack() as stack:
        yield Clients(stack)
