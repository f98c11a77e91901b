"""What would change between two configuration documents, path by path.

Knows documents. Knows nothing of revisions or of what runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from gateway.config import FIXED_SECTIONS, Config, ModelConfig
from gateway.layers import leaves

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that changes.

    Attributes:
        path: `models.fraud.max_batch_size`, or `models.fraud` for a whole model.
        before, after: values; of a whole model, its settings, or None where it is not there.
        inherited: the side on which the document does not say so itself.
        restart: it takes effect at the next start of a server.
        model: whose it is, if it is a model's.
    """

    path: str
    kind: Literal["changed", "added", "removed"]
    before: Any
    after: Any
    inherited: Literal["", "before", "after"] = ""
    restart: bool = False
    model: str = ""

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
            f" {text(self.after)}{marks['after']}{later}"
        )

    def as_json(self) -> dict[str, Any]:
        """The difference as plain values."""
        return asdict(self)


_SIDES = ("before", "after")


def differences(old: Config, new: Config) -> list[Difference]:
    """Everything that is another thing in `new`: sections first, then models by name."""
    return [*_sections(old, new), *_models(old, new)]


def _sections(old: Config, new: Config) -> Iterator[Difference]:
    before, after = (
        leaves(side.model_dump(mode="json", exclude={"models"})) for side in (old, new)
    )
    for path in dict.fromkeys((*before, *after)):
        if before.get(path) != after.get(path):
            yield Difference(
                ".".join(path),
                "changed",
                before.get(path),
                after.get(path),
                restart=_needs_restart(path, after.get(path)),
            )


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


def text(value: Any) -> str:
    """A value for people."""
    return "none" if value is None else str(value)
