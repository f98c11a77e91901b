"""Lays the environment and the command line over the document, and says where each value is from.

Knows names of variables and the order: a flag goes before the environment, that before the
document. Knows nothing of where documents are kept.

`PENSTOCK_SECTION__FIELD` sets a field, `PENSTOCK_MODELS__NAME__FIELD` one of a model; values are
written as in the document. NAME stands for the model of the document whose name reads so in
capitals with `_` for everything but letters and digits; where the document has none, for the name
in small letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.config import Config, Given, override, scalar
from gateway.errors import ConfigInvalid

PREFIX = "PENSTOCK_"
STEP = "__"
_MODELS = f"{PREFIX}MODELS{STEP}"


@dataclass(frozen=True, slots=True)
class Setting:
    """One value in force.

    Attributes:
        path: where it stands in the document, as `models.fraud.timeout_ms`.
        source: `default`, `document`, or the variable or option that set it.
    """

    path: str
    value: Any
    source: str


def from_environment(environ: Mapping[str, str], models: Iterable[str]) -> list[Given]:
    """The fields that variables set, by name of the variable.

    Args:
        environ: every variable; those without a double underscore are no fields.
        models: the names in the document.

    Raises:
        ConfigInvalid: a value is not YAML, or a name stands for two models.
    """
    names = sorted(name for name in environ if name.startswith(PREFIX) and STEP in name)
    known = list(models)
    return [Given(_path(name, known), scalar(environ[name], name), name) for name in names]


def effective(document: Config, environ: Mapping[str, str], flags: Sequence[Given]) -> Config:
    """What is in force, given a document.

    Raises:
        ConfigInvalid: a variable or option does not fit.
    """
    return override(document, [*from_environment(environ, document.models), *flags])


def settings(document: Config, environ: Mapping[str, str], flags: Sequence[Given]) -> list[Setting]:
    """Every value in force, with its source.

    Raises:
        ConfigInvalid: as `effective`.
    """
    given = [*from_environment(environ, document.models), *flags]
    merged = override(document, given)
    written = leaves(document.model_dump(mode="json", exclude_unset=True))
    values = leaves(merged.model_dump(mode="json", exclude={"models"}))
    values |= leaves(merged.model_dump(mode="json", include={"models"}, exclude_unset=True))

    def source(path: tuple[str, ...]) -> str:
        for one in reversed(given):
            if path[: len(one.path)] == one.path:
                return one.by
        return "document" if path in written else "default"

    return [Setting(".".join(path), value, source(path)) for path, value in values.items()]


def leaves(values: Mapping[str, Any], under: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Nested mappings laid flat: path to value. Lists are values."""
    found: dict[tuple[str, ...], Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= leaves(value, (*under, name))
        elif not isinstance(value, Mapping):
            found[*under, name] = value
    return found


def _path(variable: str, models: Sequence[str]) -> tuple[str, ...]:
    if not variable.startswith(_MODELS):
        return tuple(variable.removeprefix(PREFIX).lower().split(STEP))
    rest = variable.removeprefix(_MODELS)
    meant = [name for name in models if rest.startswith(_spelled(name) + STEP)]
    longest = max((len(name) for name in meant), default=0)
    meant = [name for name in meant if len(name) == longest]
    if len(meant) > 1:
        named = " and ".join(f"'{name}'" for name in sorted(meant))
        raise ConfigInvalid(f"{variable}: expected the name of one model, got that of {named}")
    if meant:
        field = rest[len(_spelled(meant[0])) + len(STEP) :]
        return ("models", meant[0], *field.lower().split(STEP))
    return ("models", *rest.lower().split(STEP))


def _spelled(model: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", model.upper())
