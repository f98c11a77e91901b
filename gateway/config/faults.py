"""How a fault of the document is told: its path, what is wrong, and what was given.

Knows what pydantic says, and how to look up what may be set. Knows nothing of what settings mean.
What may be a secret is not repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel

# What is wrong with them is said without what they say.
_MAY_HOLD_A_SECRET = frozenset(("endpoint", "jwks_url", "headers_file", "key", "api_key_env"))
# What people write who know it from elsewhere, and what stands for it here.
_LITELLM = "it is LiteLLM's: penstock config import-litellm FILE prints a document of ours"
_INSTEAD = {
    "api_key": "api_key_env names the variable that holds it, api_key_file the file",
    "api_base": "is 'base_url' meant?",
    **dict.fromkeys(("rpm", "rpm_limit"), "teams, tags and callers have requests_per_minute"),
    **dict.fromkeys(("tpm", "tpm_limit"), "teams, tags and callers have tokens_per_minute"),
    "max_budget": "teams, tags and callers have budgets, such as [10usd/day, 5000tokens/total]",
    "max_parallel_requests": "is 'max_parallel' meant?",
    **dict.fromkeys(
        ("model_list", "litellm_settings", "router_settings", "general_settings"), _LITELLM
    ),
}
_UNKNOWN = "no such setting"
Place = tuple[int | str, ...]


class Below(ValueError):
    """Faults of settings that were looked at together, each with its path below theirs."""

    def __init__(self, faults: Sequence[tuple[tuple[int | str, ...], str]]) -> None:
        """Takes what is wrong, by where."""
        super().__init__("\n".join(f"{place_text(place)}: {said}" for place, said in faults))
        self.faults = tuple(faults)


def fault_lines(
    fault: Any,
    repeated: bool = True,
    document: object = None,
    root: type[BaseModel] | None = None,
) -> Iterator[str]:
    """Each thing that is wrong with its path.

    Args:
        fault: as pydantic tells it.
        repeated: whether what was given may be.
        document: that was read, whose own paths are told.
        root: what it was read as, which knows what may be set.
    """
    place = fault["loc"]
    error = fault.get("ctx", {}).get("error")
    if isinstance(error, Below):
        for further, said in error.faults:
            yield f"{place_text(as_written((*place, *further), document))}: {said}"
        return
    said = fault_text(fault) if repeated else without_value(fault)
    if root is not None and said == _UNKNOWN and (near := nearest(root, place)):
        said = f"{said}: is '{near}' meant?"
    yield f"{place_text(as_written(place, document))}: {said}"


def as_written(place: Place, document: object) -> Place:
    """The path of what is at fault as the document has it.

    A number that names something in a mapping is a name there, and a model of one version does not
    number it.
    """
    steps: list[int | str] = []
    at, left = document, list(place)
    while left:
        step = left.pop(0)
        if isinstance(at, Mapping):
            if step == "versions" and left and "versions" not in at and "upstreams" in at:
                left.pop(0)
                continue
            steps.append(str(step))
            at = at.get(step, at.get(int(step)) if str(step).isdecimal() else None)
        else:
            steps.append(step)
            known = isinstance(at, list) and isinstance(step, int) and step < len(at)
            at = at[step] if known else None  # type: ignore[index]
    return tuple(steps)


def nearest(root: type[BaseModel], place: Place) -> str | None:
    """The setting whose name is most like that of an unknown one, by its path from there."""
    sections = [root]
    for step in place[:-1]:
        # Names of models and places in lists are no fields: what may be set below stays the same.
        named = [one.model_fields[step] for one in sections if step in one.model_fields]
        if named:
            sections = [one for field in named for one in _sections(field.annotation)]
    fields = {name: field for one in sections for name, field in one.model_fields.items()}
    found = {name: name for name in fields}
    for name, field in fields.items():
        for below in _sections(field.annotation):
            for deeper in below.model_fields:
                found.setdefault(deeper, f"{name}.{deeper}")
    near = get_close_matches(str(place[-1]), list(found), 1, 0.75)
    return found[near[0]] if near else None


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """What may stand in a field of this type: sections, alone or in lists and mappings."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    else:
        for part in get_args(annotation):
            yield from _sections(part)


def place_text(place: Place) -> str:
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
        return _UNKNOWN + (f": {instead}" if instead else "")
    if fault["type"] == "missing":
        return f"expected {fault['loc'][-1]}, got nothing"
    if fault["type"] == "too_short":
        least, got = fault["ctx"]["min_length"], fault["ctx"]["actual_length"]
        return f"expected {least} or more, got {got or 'none'}"
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
