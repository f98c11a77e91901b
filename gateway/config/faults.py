"""How a fault of the document is told: its path, what is wrong, and what was given.

Knows what pydantic says. Knows nothing of what may be set. What may be a secret is not repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# What is wrong with them is said without what they say.
_MAY_HOLD_A_SECRET = frozenset(("endpoint", "jwks_url", "headers_file", "key", "api_key_env"))
# What people write who know it from elsewhere, and what stands for it here.
_INSTEAD = {"api_key": "api_key_env names the variable that holds it, api_key_file the file"}


class Below(ValueError):
    """Faults of settings that were looked at together, each with its path below theirs."""

    def __init__(self, faults: Sequence[tuple[tuple[int | str, ...], str]]) -> None:
        """Takes what is wrong, by where."""
        super().__init__("\n".join(f"{place_text(place)}: {said}" for place, said in faults))
        self.faults = tuple(faults)


def fault_lines(fault: Any, repeated: bool = True) -> Iterator[str]:
    """Each thing that is wrong with its path; with what was given, if that may be `repeated`."""
    place = fault["loc"]
    error = fault.get("ctx", {}).get("error")
    if isinstance(error, Below):
        for further, said in error.faults:
            yield f"{place_text((*place, *further))}: {said}"
        return
    yield f"{place_text(place)}: {fault_text(fault) if repeated else without_value(fault)}"


def place_text(place: tuple[int | str, ...]) -> str:
    """A path as people write it: `models.fraud.padding.buckets[0]`."""
    text = ""
    for step in place:
        if step == "[key]":  # the name itself is at fault; it is the step before
            continue
        if isinstance(step, str) and not step.isprintable():
            step = repr(step)[1:-1]
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text or "(document)"


def fault_text(fault: Any) -> str:
    """What is wrong, and what was given where that may be shown."""
    said = without_value(fault)
    # What concerns several settings says itself which of them has what.
    whole = fault["type"] == "extra_forbidden" or ", got " in said
    return said if whole else f"{said}{_given_text(fault['loc'], fault['input'])}"


def without_value(fault: Any) -> str:
    """What is wrong alone."""
    if fault["type"] == "extra_forbidden":
        instead = _INSTEAD.get(fault["loc"][-1])
        return "no such setting" + (f": {instead}" if instead else "")
    if fault["type"] == "model_type":  # pydantic would name the class
        return "expected a mapping"
    if fault["type"] == "union_tag_not_found":
        return f"expected {fault['ctx']['discriminator']} in it, got none"
    if fault["type"] == "union_tag_invalid":
        which, wanted = (fault["ctx"][name] for name in ("discriminator", "expected_tags"))
        return f"expected {which} to be one of {wanted}, got '{fault['ctx']['tag']}'"
    said: str = fault["msg"].removeprefix("Value error, ")
    return f"{said[:1].lower()}{said[1:]}"


def _given_text(place: tuple[int | str, ...], value: Any) -> str:
    """What was given, where it can be shown: no secret stands in the document, unless by mistake.

    An address may have a password in it, a path may be what the file should hold, and whatever is
    no single value may have either somewhere.
    """
    if isinstance(value, Mapping):
        return ", got a mapping"
    if isinstance(value, list):
        return ", got a list"
    text = repr(value)
    secret = bool(place) and place[-1] in _MAY_HOLD_A_SECRET
    if secret or any(sign in text for sign in ("@", "://", "-----")):
        return ", got what is not repeated here"
    return f", got {text[:77]}..." if len(text) > 80 else f", got {text}"
