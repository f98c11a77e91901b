"""A deployment: one loaded version of a model, ready to serve.

Knows what belongs together (file, session, costs, queue, threads) and the order in which it comes
and goes. Knows nothing of routes or requests. Loading blocks and belongs on a thread; attaching is
cheap and happens on the event loop that will serve it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from gateway.config import ModelSettings
from gateway.errors import GatewayError, ModelRefused
from gateway.models import content, embedding, onnx_file
from gateway.models.signature import signature as read_signature
from gateway.plan import Held
from gateway.serving import aside, memory
from gateway.serving.batcher import Batcher, Deliver, Refuse
from gateway.serving.cost import CostModel
from gateway.serving.execution import Execution
from gateway.serving.outputs import OutputSets
from gateway.serving.padding import Padder
from gateway.serving.pooled import Pooled
from gateway.serving.pruned import Pruner
from gateway.serving.runtime import OnnxRuntime, Runtime
from gateway.serving.threads import Threads
from gateway.serving.tokens import TextReader, padded
from gateway.serving.turn import Scheduler, TurnBudget
from gateway.serving.warmup import LENGTHS, Unfit, warm
from gateway.tensors import Signature

log = logging.getLogger("penstock.serving")


@dataclass(frozen=True, slots=True)
class Loaded:
    """What loading leaves behind; nothing of it is bound to an event loop yet.

    Attributes:
        name, version: identity.
        file: what the ONNX file says of itself.
        settings: in force.
        runtime: warmed up; its `signature` is the one to serve by.
        pruner: builds runtimes that make some of the outputs; None: there shall be none.
        wall, hold: cost models, fed by the warm-up.
        load_s: how long all this took.
        notes: what its owner should know, as sentences: it stayed cold, or is not batched.
        texts: reads texts to what it takes, where it makes embeddings.
    """

    name: str
    version: int
    file: onnx_file.OnnxFile
    settings: ModelSettings
    runtime: Runtime
    pruner: Pruner | None
    wall: CostModel
    hold: CostModel
    load_s: float
    notes: tuple[str, ...] = ()
    texts: TextReader | None = None


def load(held: Held, gpu: int = 0) -> Loaded:
    """Reads, checks, loads and warms up a version. Blocks: call it on a thread.

    Args:
        held: what to load.
        gpu: which one a device without a number means.

    Raises:
        ModelRefused: it cannot be served, or its files are not those that `held.digest` names; the
            message says why.
    """
    began = perf_counter()
    what = f"model '{held.name}' version {held.version}"
    try:
        settings = ModelSettings.model_validate(dict(held.settings))
        folder = Path(held.folder)
        file = onnx_file.inspect(folder, held.file)
        files = embedding.files_of(file, settings.embeddings)
        stamps = content.stamps(folder, files)
        _require(content.digest(folder, files) == held.digest)
        size = file.size + sum((folder / name).stat().st_size for name in file.external)
        memory.require(size, memory.available_bytes())
        own = read_signature(file, held.declared, settings.max_batch_size)
        signature = own
        if settings.embeddings is not None:
            signature = read_signature(
                file, held.declared, settings.max_batch_size, settings.embeddings
            )
            settings = padded(signature, settings)
        check_settings(signature, settings)
        source = onnx_file.servable(file)
        runtime: Runtime = OnnxRuntime(source, folder, own, settings, gpu)
        texts = None
        if settings.embeddings is not None:
            places = embedding.places_of(own.inputs, own.outputs, settings.embeddings)
            texts = TextReader(folder, settings.embeddings, places, signature)
            runtime = Pooled(runtime, places, signature, settings.embeddings)
        # ONNX Runtime has read the files once more, and so has whoever reads texts.
        _require(stamps == content.stamps(folder, files))
    except ModelRefused as error:
        raise ModelRefused(f"{what}: {error}") from error
    except (OSError, ValueError) as error:
        raise ModelRefused(f"{what}: cannot be read: {type(error).__name__}") from error
    wall, hold, notes = _warm_up(what, runtime, settings)
    if texts is not None:
        notes += _doubts(what, runtime, texts)
    pruner = None
    # What could not be warmed up whole would be tried out in parts by somebody's request.
    cold = settings.warmup and not wall.runs
    if len(signature.outputs) > 1 and settings.max_output_sets and not cold:
        pruner = Pruner(file, stamps, runtime, settings, _lengths(settings))
    return Loaded(
        held.name,
        held.version,
        file,
        settings,
        runtime,
        pruner,
        wall,
        hold,
        perf_counter() - began,
        notes,
        texts,
    )


def _require(unchanged: bool) -> None:
    if not unchanged:
        raise ModelRefused("its files are no longer what was tried out")


def check_settings(signature: Signature, settings: ModelSettings) -> None:
    """Finds settings that do not fit the model, before anything is loaded.

    Raises:
        ModelRefused: naming the setting.
    """
    if not signature.batched:
        return
    largest = max(settings.preferred_batch_sizes, default=0)
    if largest > settings.max_batch_size:
        raise ModelRefused(
            f"preferred_batch_sizes: wanted at most max_batch_size"
            f" {settings.max_batch_size}, got {largest}"
        )
    if settings.padding is not None:
        Padder(signature, settings.padding)


def _warm_up(
    what: str, runtime: Runtime, settings: ModelSettings
) -> tuple[CostModel, CostModel, tuple[str, ...]]:
    wall, hold = CostModel(), CostModel()
    if not settings.warmup:
        return wall, hold, ()
    lengths = _lengths(settings)
    notes = []
    try:
        cold = warm(runtime, settings.max_batch_size, wall, hold, lengths)
    except Unfit as unfit:
        notes.append(f"{what}: served without batching: {unfit}")
        runtime.signature = replace(runtime.signature, batched=False)
        wall, hold = CostModel(), CostModel()
        cold = warm(runtime, 1, wall, hold, lengths)
    if cold:
        notes.append(f"{what}: starts cold: {cold}")
    for note in notes:
        log.warning("%s", note)
    return wall, hold, tuple(notes)


def _doubts(what: str, runtime: Runtime, texts: TextReader) -> tuple[str, ...]:
    """Whether a tokenizer may be another model's, as far as its largest id tells."""
    try:
        runtime.run(texts.extreme(), (0,))
    except GatewayError as error:
        note = f"{what}: fails with the largest id of its tokenizer, {texts.largest}: {error}"
        log.warning("%s", note)
        return (note,)
    return ()


def _lengths(settings: ModelSettings) -> tuple[int, ...]:
    return tuple(settings.padding.buckets[:1]) if settings.padding else LENGTHS


class Deployment:
    """A loaded version on the event loop that serves it.

    Attributes:
        signature, settings: as loaded.
        texts: reads texts to what it takes; None: it makes no embeddings.
        batcher: takes its riders.
    """

    __slots__ = (
        "_aside_thread",
        "_name",
        "_output_sets",
        "_runtime",
        "_scheduler",
        "_threads",
        "_turn",
        "batcher",
        "settings",
        "signature",
        "texts",
    )

    def __init__(
        self,
        loaded: Loaded,
        deliver: Deliver,
        refuse: Refuse,
        scheduler: Scheduler,
        turn: TurnBudget,
        left: Callable[[int], None] | None = None,
        mark: Callable[[int], None] | None = None,
        built: Callable[[bool], None] | None = None,
    ) -> None:
        self.signature = loaded.runtime.signature
        self.settings = loaded.settings
        self.texts = loaded.texts
        self._name = loaded.name
        self._runtime = loaded.runtime
        self._scheduler = scheduler
        self._turn = turn
        short = f"{loaded.name[:40]}-{loaded.version}"
        # One for all that there ever are: who is closed may still have a run under way, behind
        # which the next one's wait.
        self._aside_thread = Threads(1, f"aside-{short}")
        self._threads = Threads(loaded.settings.instances, f"run-{short}")
        self._output_sets = None
        if loaded.pruner is not None:
            self._output_sets = OutputSets(
                loaded.name,
                [spec.name for spec in self.signature.outputs],
                loaded.settings.max_output_sets,
                loaded.pruner,
                scheduler,
                Threads(1, f"prune-{short}"),
                mark,
                built,
            )
        self.batcher = Batcher(
            loaded.name,
            loaded.runtime,
            loaded.settings,
            deliver,
            refuse,
            scheduler,
            turn,
            self._threads,
            wall=loaded.wall,
            hold=loaded.hold,
            left=left,
            mark=mark,
            output_sets=self._output_sets,
        )

    @property
    def execution(self) -> Execution:
        """How its batches run."""
        return self.batcher.execution

    def aside(
        self,
        deliver: aside.Deliver,
        mark: Callable[[int], None] | None = None,
        cores: float = 1.0,
        beside: aside.Beside = lambda batch: None,
        crowded: Callable[[], bool] = lambda: False,
    ) -> aside.Aside:
        """A way to run riders that nobody waits for; its owner closes it before this closes.

        Args:
            deliver: gets every batch of them that has run, or failed.
            mark: gets +1 before a batch runs and -1 after.
            cores: that this process may keep busy.
            beside: who else runs some of the batches, to be timed.
            crowded: riders that somebody waits for, wait for a run.
        """
        return aside.Aside(
            self._name,
            self._runtime,
            self.settings,
            deliver,
            self._scheduler,
            self._turn,
            self._aside_thread,
            self.batcher.hold,
            mark,
            cores,
            beside,
            crowded,
        )

    def drain(self, on_empty: Callable[[], None]) -> None:
        """Takes no more riders; calls back, once, when the last one is answered."""
        if self._output_sets is not None:
            self._output_sets.stop()
        self.batcher.drain(on_empty)

    def abandon(self, error: GatewayError) -> int:
        """Refuses everybody who still waits, and says how many they were."""
        return self.batcher.abandon(error)

    def close(self) -> None:
        """Ends the threads and lets go of the model. Blocks until what runs is over."""
        self._threads.close()
        self._aside_thread.close()
        if self._output_sets is not None:
            self._output_sets.close()
        self._runtime.close()
