"""What would change between two configuration documents, path by path.

Knows documents, and that variables and options lie over them. Knows nothing of revisions or of what
runs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from gateway.config import FIXED_SECTIONS, Config, ModelConfig
from gateway.layers import Layered, leaves

Path = tuple[str, ...]
# Names that one line tells; the rest is counted.
MAX_TOLD = 10
# Mappings by name outside of `models`: what is new in one is told in one line, as a new model is.
_NAMED = (
    *(("llm", of) for of in ("providers", "models", "teams", "tags")),
    ("routes",),
)


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that changes.

    Attributes:
        path: `models.fraud.max_batch_size`, or `models.fraud` for a whole model, and likewise of
            providers and language models, teams, tags and routes.
        before, after: values; of something whole, its settings, or None where it is not there.
        inherited: the side on which the document does not say so itself.
        restart: it takes effect at the next start of a server.
        model: whose it is, if it is a model's.
        models: of a default, those that have no value of their own and so change with it.
        kept_by: the variable or option because of which nothing changes; `kept` is its value.
    """

    path: str
    kind: Literal["changed", "added", "removed"]
    before: Any
    after: Any
    inherited: Literal["", "before", "after"] = ""
    restart: bool = False
    model: str = ""
    models: Sequence[str] = ()
    kept_by: str = ""
    kept: Any = None

    def words(self) -> str:
        """One line for people."""
        if self.kind != "changed":
            found = self.after if self.kind == "added" else self.before
            told = ", ".join(f"{name} {value}" for name, value in found.items())
            return f"{self.path}: {self.kind}{f' ({told})' if told else ''}"
        marks = {side: " (inherited)" if self.inherited == side else "" for side in _SIDES}
        later = ", at the next start" if self.restart else ""
        return (
            f"{self.path}: {text(self.before)}{marks['before']} ->"
            f" {text(self.after)}{marks['after']}{self._but()}{later}"
        )

    def _but(self) -> str:
        if self.kept_by:
            return f", but {self.kept_by} keeps {text(self.kept)}"
        return f", inherited by {_listed(self.models)}" if self.models else ""

    def as_json(self) -> dict[str, Any]:
        """The difference as plain values."""
        return asdict(self)


_SIDES = ("before", "after")


def differences(old: Config, new: Config) -> list[Difference]:
    """Everything that is another thing in `new`: sections first, then models by name."""
    return [*_sections(old, new), *_models(old, new)]


def effective_differences(
    old: Layered, new: Layered, hints: Mapping[str, Collection[str]]
) -> list[Difference]:
    """Everything that is another thing in force, and what a variable or option keeps as it is.

    Args:
        old: what is in force.
        new: what would be.
        hints: models that are known besides those named, each with the settings that it brings
            along itself.
    """
    found = [
        replace(one, models=_heirs(old.effective, new.effective, one.path, hints))
        for one in differences(old.effective, new.effective)
    ]
    paths = {one.path for one in found}
    found = [part for one in found for part in _parts(one)]
    unheard = [
        one
        for one in differences(old.document, new.document)
        if one.kind == "changed" and one.path not in paths
    ]
    values = _values(new.effective, unheard)
    kept = [replace(o, kept_by=new.giver(o.path), kept=values.get(o.path)) for o in unheard]
    return [*found, *kept]


def _heirs(
    old: Config, new: Config, path: str, hints: Mapping[str, Collection[str]]
) -> Sequence[str]:
    """The models that change with a default: those that stay, and do not set it themselves."""
    section, _, rest = path.partition(".")
    if section != "defaults":
        return ()
    field = rest.partition(".")[0]
    named, before = new.models, old.models
    known = (hints.keys() | named.keys()) - (named.keys() ^ before.keys())
    return sorted(
        name
        for name in known
        if field not in hints.get(name, ())
        and (name not in named or field not in named[name].model_fields_set)
    )


def _values(config: Config, of: Sequence[Difference]) -> dict[str, Any]:
    """The values in force where something else was asked for, by path."""
    if not of:
        return {}
    found = leaves(config.model_dump(mode="json", exclude={"models"}))
    for name in {one.model for one in of} & config.models.keys():
        own = leaves(config.models[name].model_dump(mode="json"))
        found |= {("models", name, *path): value for path, value in own.items()}
    return _flat(found)


def _sections(old: Config, new: Config) -> Iterator[Difference]:
    before, after = (
        leaves(side.model_dump(mode="json", exclude={"models"})) for side in (old, new)
    )
    wholes = {one.path: one for one in _named(old, new)}
    yield from wholes.values()
    for path in dict.fromkeys((*before, *after)):
        if before.get(path) != after.get(path) and not _is_of(path, wholes):
            yield Difference(
                ".".join(path),
                "changed",
                before.get(path),
                after.get(path),
                restart=_needs_restart(path, after.get(path)),
            )


def _named(old: Config, new: Config) -> Iterator[Difference]:
    """What has a name in one of the documents alone, with what the document itself says of it."""
    before, after = (
        side.model_dump(mode="json", exclude_unset=True, include={"llm", "routes"})
        for side in (old, new)
    )
    for path in _NAMED:
        was, comes = (_below(side, path) for side in (before, after))
        for name in sorted(was.keys() ^ comes.keys()):
            whole = ".".join((*path, name))
            if name in comes:
                yield Difference(whole, "added", None, _flat(leaves(comes[name])))
            else:
                yield Difference(whole, "removed", _flat(leaves(was[name])), None)


def _below(document: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    for name in path:
        document = document.get(name) or {}
    return document


def _is_of(path: Path, wholes: Collection[str]) -> bool:
    """Whether a path leads into one of these."""
    return any(
        path[: len(named)] == named and ".".join(path[: len(named) + 1]) in wholes
        for named in _NAMED
    )


def _parts(one: Difference) -> Iterator[Difference]:
    """A list of things with fields is told by what is different in it."""
    sides = [side for side in (one.before, one.after) if side is not None]
    if one.kind != "changed" or not sides or not all(_has_fields(side) for side in sides):
        yield one
        return
    before, after = one.before or [], one.after or []
    for place in range(max(len(before), len(after))):
        path = f"{one.path}[{place}]"
        if place >= len(before):
            yield replace(one, path=path, kind="added", before=None, after=_said(after[place]))
        elif place >= len(after):
            yield replace(one, path=path, kind="removed", before=_said(before[place]), after=None)
        else:
            was, comes = leaves(before[place]), leaves(after[place])
            for field in dict.fromkeys((*was, *comes)):
                if was.get(field) != comes.get(field):
                    at = ".".join((path, *field))
                    yield replace(one, path=at, before=was.get(field), after=comes.get(field))


def _has_fields(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, Mapping) for one in value)


def _said(values: Mapping[str, Any]) -> dict[str, Any]:
    return _flat({path: value for path, value in leaves(values).items() if value is not None})


def _needs_restart(path: Path, after: Any) -> bool:
    if path == ("repository", "allow_load"):
        return bool(after)  # switching it off is obeyed at once
    if path == ("access", "certificates"):
        return False
    return path[0] in FIXED_SECTIONS or path == ("repository", "change_timeout_s")


def _models(old: Config, new: Config) -> Iterator[Difference]:
    for name in sorted(old.models.keys() | new.models.keys()):
        before, after = (_set(side, name) for side in (old, new))
        if name not in old.models:
            yield Difference(f"models.{name}", "added", None, _flat(after), model=name)
        elif name not in new.models:
            yield Difference(f"models.{name}", "removed", _flat(before), None, model=name)
        else:
            for path in dict.fromkeys((*before, *after)):
                if path not in before or path not in after or before[path] != after[path]:
                    yield _field(old, new, name, path)


def _field(old: Config, new: Config, name: str, path: Path) -> Difference:
    before, after = _set(old, name), _set(new, name)
    return Difference(
        ".".join(("models", name, *path)),
        "changed",
        before[path] if path in before else _inherited(old, path),
        after[path] if path in after else _inherited(new, path),
        "before" if path not in before else "after" if path not in after else "",
        model=name,
    )


def _set(config: Config, name: str) -> dict[Path, Any]:
    """What the document itself says of a model. What it leaves out may come from elsewhere."""
    model = config.models.get(name)
    return {} if model is None else leaves(model.model_dump(mode="json", exclude_unset=True))


def _inherited(config: Config, path: Path) -> Any:
    everything = ModelConfig.model_validate(config.defaults.model_dump()).model_dump(mode="json")
    return leaves(everything).get(path)


def _flat(values: Mapping[Path, Any]) -> dict[str, Any]:
    return {".".join(path): value for path, value in values.items()}


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MAX_TOLD
    return ", ".join(names[:MAX_TOLD]) + (f" and {more} more" if more > 0 else "")


def text(value: Any) -> str:
    """A value for people."""
    return "none" if value is None else str(value)
