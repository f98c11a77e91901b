"""The repository extension's bodies: index, load and unload.

Knows what clients may write there. Knows nothing of models, or of whether any of it is allowed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.errors import InvalidParameter
from gateway.wire.oip.fields import Parameters, as_object, flag, parameters_of, quoted
from gateway.wire.oip.text import parse


def read_index_request(body: bytes) -> bool:
    """Whether only ready models are asked for. The body may be empty.

    Raises:
        MalformedJson: not a JSON object.
        InvalidParameter: `ready` is not a boolean.
    """
    if not body.strip():
        return False
    return flag(as_object(parse(body), "index request"), "ready", False, "index request")


def read_load_request(body: bytes) -> None:
    """Checks a load request, which may say nothing of its own.

    Raises:
        MalformedJson: not a JSON object.
        InvalidParameter: it brings a configuration or files, which are not taken from clients.
    """
    for name in _parameters(body, "load request"):
        if name == "config" or name.startswith("file:"):
            raise InvalidParameter(
                f"load request: parameter {quoted(name)}: configuration and files are not taken "
                "from clients, expected none"
            )


def read_unload_request(body: bytes) -> None:
    """Checks an unload request. No model depends on another, so that the flag changes nothing.

    Raises:
        MalformedJson: not a JSON object.
        InvalidParameter: `unload_dependents` is not a boolean.
    """
    flag(_parameters(body, "unload request"), "unload_dependents", False, "unload request")


def index(entries: Iterable[tuple[str, int, str, str]]) -> list[dict[str, Any]]:
    """The index document.

    Args:
        entries: name, version (0 where unknown), state ("" where never loaded) and reason.
    """
    return [_entry(*entry) for entry in entries]


def _entry(name: str, version: int, state: str, reason: str) -> dict[str, Any]:
    optional = {"version": str(version) if version else "", "state": state, "reason": reason}
    return {"name": name} | {key: value for key, value in optional.items() if value}


def _parameters(body: bytes, place: str) -> Parameters:
    if not body.strip():
        return {}
    return parameters_of(as_object(parse(body), place), place)
