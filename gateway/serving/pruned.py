"""Builds sessions over a part of a graph, for requests that ask for some of its outputs.

Knows the file that a deployment was loaded from and how it was loaded. Knows nothing of who asks,
or when: building blocks and belongs on a thread, one at a time.

A session of its own holds its own weights: ONNX Runtime's Python interface can neither lend it
those of the whole, which the whole has rearranged for itself, nor share what it rearranged. Hence
the question before each, whether there is memory for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from gateway.config import ModelSettings
from gateway.errors import ModelRefused
from gateway.models import content, onnx_file, pruning
from gateway.serving import memory
from gateway.serving.cost import CostModel
from gateway.serving.runtime import OnnxRuntime, Runtime
from gateway.serving.warmup import warm
from gateway.tensors import Array


class Pruned:
    """A runtime that makes some of a model's outputs, asked for by their places in the whole.

    Attributes:
        outputs: the places of those that it makes.
        signature, device, threads: as the whole has them.
    """

    def __init__(self, whole: Runtime, runtime: Runtime, outputs: Sequence[int]) -> None:
        self.signature = whole.signature
        self.device = whole.device
        self.threads = whole.threads
        self.outputs = frozenset(outputs)
        self._runtime = runtime
        self._places = {index: place for place, index in enumerate(outputs)}

    def run(self, inputs: Sequence[Array], wanted: Sequence[int]) -> list[Array]:
        """See `Runtime.run`; every index in `wanted` must be one of `outputs`."""
        return self._runtime.run(inputs, [self._places[index] for index in wanted])

    def close(self) -> None:
        """See `Runtime.close`."""
        self._runtime.close()


class Builder(Protocol):
    """Something that builds pruned runtimes."""

    def build(self, wanted: Sequence[int]) -> Pruned | None:
        """A runtime that makes these outputs and leaves work out, or None: there is none to build.

        Raises:
            ModelRefused: it cannot be built, or there is no memory for it; the message leaves the
                model's name to whoever knows it.
        """


class Pruner:
    """Builds the pruned runtimes of one loaded model, from the file that the whole came from.

    Args:
        file: what was found in the file.
        stamps: of its files when the whole was loaded.
        whole: the runtime that makes all outputs, warmed up as `settings` say.
        settings: it was loaded by.
        lengths: variable dimensions to warm up with.
        available: bytes of memory that may be taken; None: nobody says.
    """

    def __init__(
        self,
        file: onnx_file.OnnxFile,
        stamps: tuple[tuple[int, ...], ...],
        whole: Runtime,
        settings: ModelSettings,
        lengths: Sequence[int],
        available: Callable[[], int | None] = memory.available_bytes,
    ) -> None:
        self._file = file
        self._stamps = stamps
        self._whole = whole
        # Not `auto` once more: a part on the CPU is no help to a whole on a GPU.
        self._settings = settings.model_copy(update={"device": whole.device})
        self._lengths = lengths
        self._available = available
        self._needs: frozenset[int] | None = None
        self._built: set[int] = set()

    def build(self, wanted: Sequence[int]) -> Pruned | None:
        """See `Builder.build`."""
        count = len(self._whole.signature.outputs)
        self._check_files()
        if self._needs is None:
            self._needs = frozenset()  # no node to leave out, should reading fail
            self._needs = onnx_file.needs(self._file)
        kept = pruning.cover(self._needs, sum(1 << index for index in wanted), count)
        if kept == (1 << count) - 1 or kept in self._built:
            return None
        outputs = [index for index in range(count) if kept >> index & 1]
        runtime = self._open(kept, outputs)
        self._built.add(kept)
        return Pruned(self._whole, runtime, outputs)

    def _open(self, kept: int, outputs: Sequence[int]) -> OnnxRuntime:
        file, signature = self._file, self._whole.signature
        model = onnx_file.pruned(file, kept, self._afford)
        signature = replace(signature, outputs=tuple(signature.outputs[i] for i in outputs))
        runtime = OnnxRuntime(model, file.folder, signature, self._settings)
        try:
            self._check_files()  # they may have changed while they were read
            self._warm(runtime)
        except BaseException:
            runtime.close()
            raise
        return runtime

    def _afford(self, size: int) -> None:
        memory.require(size, self._available())

    def _check_files(self) -> None:
        """Other files would make it answer by another model's weights."""
        try:
            stamps = content.stamps(self._file.folder, self._file.files)
        except OSError as error:
            raise ModelRefused(f"its files: {error.strerror}") from error
        if stamps != self._stamps:
            raise ModelRefused("its files changed since it was loaded")

    def _warm(self, runtime: OnnxRuntime) -> None:
        if not self._settings.warmup:
            return
        cold = warm(runtime, self._settings.max_batch_size, CostModel(), CostModel(), self._lengths)
        if cold:  # though the whole took the same inputs
            raise ModelRefused(cold)
