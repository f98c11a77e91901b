"""Tells what differs between the signatures of two versions of a model.

Knows where a version's files are and what its owner declared. Knows nothing of why somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.config import Config, Scores
from gateway.control.registry import Registry
from gateway.errors import GatewayError, VersionNotFound
from gateway.llm.features import SIGNATURE
from gateway.models import onnx_file
from gateway.models.signature import signature
from gateway.monitor.scores import reading
from gateway.plan import LLM, Plan
from gateway.tensors import Signature, TensorSpec


class Signatures:
    """Of versions that are held, or registered. Blocking: called on a thread."""

    def __init__(
        self, plan: Callable[[], Plan], registry: Registry, config: Callable[[], Config]
    ) -> None:
        """Takes its collaborators.

        Args:
            plan: the newest.
            registry: of the home.
            config: the document in force.
        """
        self._plan = plan
        self._registry = registry
        self._config = config

    def of(self, model: str, version: int) -> Signature:
        """What a version takes and gives.

        Raises:
            ModelNotFound, VersionNotFound: nobody has it.
            ModelRefused: its file is none, or is not what was declared.
        """
        embeddings = self._config().settings(model).embeddings
        for held in self._plan().held:
            if (held.name, held.version) == (model, version):
                if held.kind == LLM:
                    return SIGNATURE
                file = onnx_file.inspect(Path(held.folder), held.file)
                return signature(file, held.declared, 1, embeddings)
        found = self._registry.show(model).pick(version)
        file = onnx_file.inspect(found.folder, found.file)
        return signature(file, found.declared, 1, embeddings)

    def differences(self, model: str, before: int, after: int) -> str:
        """What clients would notice of another version's signature; empty where nothing differs.

        Raises:
            ModelRefused: one of them cannot be read.
        """
        try:
            return differences(self.of(model, before), self.of(model, after))
        except VersionNotFound:
            # It is neither held nor registered: it cannot be loaded, which says why.
            return ""

    def kind_of_scores(self, model: str, version: int, said: Scores) -> str:
        """`binary`, `multiclass` or `value`; empty where it has no scores, or nobody can tell."""
        if self._config().settings(model).embeddings is not None:
            return ""
        try:
            return reading(self.of(model, version), said.kind, said.output, said.positive).kind
        except (GatewayError, ValueError):
            return ""


def differences(before: Signature, after: Signature) -> str:
    """What differs in tensors, in words; empty where nothing does."""
    return "; ".join(
        (
            *_between("input", before.inputs, after.inputs),
            *_between("output", before.outputs, after.outputs),
        )
    )


def _between(side: str, before: Sequence[TensorSpec], after: Sequence[TensorSpec]) -> list[str]:
    old, new = ({one.name: one for one in specs} for specs in (before, after))
    found = [f"{side} '{name}' is missing" for name in old if name not in new]
    found += [f"{side} '{name}' is new" for name in new if name not in old]
    for name in old.keys() & new.keys():
        if (was := _told(old[name])) != (now := _told(new[name])):
            found.append(f"{side} '{name}': {was} before, {now} now")
    return sorted(found)


def _told(spec: TensorSpec) -> str:
    labels = f" of {', '.join(spec.labels)}" if spec.labels else ""
    return f"{spec.datatype} {list(spec.shape)}{labels}"
