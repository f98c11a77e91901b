"""Finds the key that a provider knows this gateway by.

Knows environment variables and files. Knows nothing of requests. A key is never in a plan, a log or
an error: what is told is where it was looked for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from gateway.config.llm import LlmProvider
from gateway.errors import ModelRefused

MAX_KEY_BYTES: Final = 16_384


def credential(
    name: str, provider: LlmProvider, environment: Mapping[str, str] = os.environ
) -> bytes | None:
    """A provider's key; None where it has none. Reads a file.

    Raises:
        ModelRefused: it should have one, and that is not there, or cannot stand in a header.
    """
    where = f"llm.providers.{name}"
    if provider.api_key_env is not None:
        found = environment.get(provider.api_key_env, "")
        where = f"{where}: variable {provider.api_key_env}"
    elif provider.api_key_file is not None:
        where = f"{where}: api_key_file {provider.api_key_file.name}"
        try:
            with provider.api_key_file.open("rb") as file:
                found = file.read(MAX_KEY_BYTES + 1).decode("ascii", "replace")
        except OSError as error:
            raise ModelRefused(f"{where}: {error.strerror}") from error
    else:
        return None
    found = found.strip()
    if not found:
        raise ModelRefused(f"{where}: expected a key, found none")
    if len(found) > MAX_KEY_BYTES or not found.isascii() or not found.isprintable():
        raise ModelRefused(f"{where}: expected printable ASCII of at most {MAX_KEY_BYTES} bytes")
    return found.encode()
