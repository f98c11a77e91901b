"""Runs a model on ONNX Runtime: arrays in, arrays out.

Knows ONNX Runtime, devices and its tensor types. Knows nothing of batches, queues or requests. Its
exceptions are translated here, and their paths into anybody's file system stay here.
"""

from __future__ import annotations

import ctypes
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort

from gateway import devices
from gateway.config import ModelSettings
from gateway.devices import CUDA
from gateway.errors import ModelFailed, ModelRefused
from gateway.serving import cuda, text
from gateway.tensors import Array, Signature

log = logging.getLogger("penstock.serving")

CPU = "CPUExecutionProvider"
_BF16 = 16  # TensorProto.BFLOAT16
_SILENT = 4  # nothing below fatal: what goes wrong is raised, and said once
_LEVELS = {
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


class Runtime(Protocol):
    """Something that runs a model.

    Attributes:
        signature: what it takes and gives.
        device: `cpu`, or `cuda:N`.
        threads: how many threads one run uses on the CPU; 0: the runtime's choice.
    """

    signature: Signature
    device: str
    threads: int

    def run(self, inputs: Sequence[Array], wanted: Sequence[int]) -> list[Array]:
        """Runs the model once. Any thread, several at a time.

        Args:
            inputs: one array per input of the signature, C-contiguous.
            wanted: indices of the outputs to compute.

        Returns:
            One array per index in `wanted`.

        Raises:
            ModelFailed: the run failed.
            InvalidTensor: an input holds what the model cannot be given.
        """

    def close(self) -> None:
        """Lets go of the model. May take a while: off the event loop."""


class OnnxRuntime:
    """One ONNX Runtime session. Instances of a deployment share it, and so its weights.

    Args:
        source: the ONNX file, or the model itself as bytes.
        folder: where external data of a model given as bytes lies.
        signature: what the model takes and gives, in the model's own order.
        settings: `device`, `tf32`, `intra_op_threads`, `optimization` and `max_output_bytes` apply.
        gpu: which one a device without a number means.
        providers: those that may be used; None: all that ONNX Runtime has here.

    Raises:
        ModelRefused: ONNX Runtime will not load it, or the device is not there.
    """

    def __init__(
        self,
        source: Path | bytes,
        folder: Path,
        signature: Signature,
        settings: ModelSettings,
        gpu: int = 0,
        providers: Sequence[str] | None = None,
    ) -> None:
        self.signature = signature
        self.threads = settings.intra_op_threads
        self._max_output_bytes = settings.max_output_bytes
        options = _options(settings, signature)
        if isinstance(source, bytes):
            options.add_session_config_entry(
                "session.model_external_initializers_file_folder_path", str(folder)
            )
        available = ort.get_available_providers() if providers is None else providers
        self._session, self.device = _open(source, folder, options, settings, gpu, available)
        self._check_names()
        self._inputs = tuple(spec.name for spec in signature.inputs)
        self._outputs = tuple(spec.name for spec in signature.outputs)
        kinds = [spec.datatype for spec in signature.inputs]
        self._texts = tuple(i for i, kind in enumerate(kinds) if kind == "BYTES")
        self._bf16 = frozenset(i for i, kind in enumerate(kinds) if kind == "BF16")
        self._text_outputs = frozenset(
            i for i, spec in enumerate(signature.outputs) if spec.datatype == "BYTES"
        )
        self._run = self._way()
        self._shrinking = _shrinking(self.device)
        # Until the next run; None: nothing out of the ordinary.
        self._next_options: Any = None
        # Grows to its bound.
        self._names: dict[tuple[int, ...], list[str]] = {}

    def run(self, inputs: Sequence[Array], wanted: Sequence[int]) -> list[Array]:
        """See `Runtime.run`."""
        if self._texts:
            inputs = self._with_text(inputs)
        key = tuple(wanted)
        names = self._names.get(key)
        if names is None:
            names = [self._outputs[index] for index in key]
            if len(self._names) < 1024:
                self._names[key] = names
        try:
            options, self._next_options = self._next_options, None
            outputs: list[Array] = self._run(inputs, names, options)
        except Exception as error:
            raise ModelFailed(f"model run failed: {_short(error)}") from error
        size = 0
        for output in outputs:
            size += output.nbytes
        if size > self._max_output_bytes:
            # The error must not keep them, nor the arena what they took: a run can give back only
            # what was free before it began.
            outputs.clear()
            del output
            self._next_options = self._shrinking
            raise ModelFailed(
                f"outputs hold {size} bytes, max_output_bytes is {self._max_output_bytes}"
            )
        if self._text_outputs:
            outputs = [
                text.to_bytes(output) if index in self._text_outputs else output
                for index, output in zip(key, outputs, strict=True)
            ]
        return outputs

    def close(self) -> None:
        """See `Runtime.close`."""
        del self._session

    def _check_names(self) -> None:
        """What the signature names must be what the session has, or every run would fail."""
        for side, specs, own in (
            ("input", self.signature.inputs, self._session.get_inputs()),
            ("output", self.signature.outputs, self._session.get_outputs()),
        ):
            names = [tensor.name for tensor in own]
            missing = [spec.name for spec in specs if spec.name not in names]
            if missing or (side == "input" and len(names) != len(specs)):
                wanted = [spec.name for spec in specs]
                raise ModelRefused(f"{side}s: expected {wanted}, the loaded model has {names}")

    def _way(self) -> Callable[[Sequence[Array], list[str], Any], list[Array]]:
        bf16_out = any(spec.datatype == "BF16" for spec in self.signature.outputs)
        if self._texts:
            if bf16_out:
                raise ModelRefused("BF16 outputs cannot be read beside BYTES inputs")
            return self._run_plain
        if bf16_out or self.device != "cpu":
            return self._run_bound
        return self._run_plain

    def _run_plain(self, inputs: Sequence[Array], names: list[str], options: Any) -> list[Array]:
        feed: dict[str, Any] = dict(zip(self._inputs, inputs, strict=True))
        for index in self._bf16:
            feed[self._inputs[index]] = _bf16_value(inputs[index])
        outputs: list[Array] = self._session.run(names, feed, options)
        return outputs

    def _run_bound(self, inputs: Sequence[Array], names: list[str], options: Any) -> list[Array]:
        """Through an I/O binding: ONNX Runtime copies each tensor once to or from the device."""
        binding = self._session.io_binding()
        for index, (name, array) in enumerate(zip(self._inputs, inputs, strict=True)):
            if index in self._bf16:
                binding.bind_ortvalue_input(name, _bf16_value(array))
            else:
                binding.bind_cpu_input(name, array)
        for name in names:
            binding.bind_output(name, "cpu")
        self._session.run_with_iobinding(binding, options)
        return [_read(value) for value in binding.get_outputs()]

    def _with_text(self, inputs: Sequence[Array]) -> list[Array]:
        arrays = list(inputs)
        for index in self._texts:
            arrays[index] = text.to_str(self._inputs[index], arrays[index])
        return arrays


def _shrinking(device: str) -> Any:
    """For a run that gives back to the system, or the GPU, what its arenas do not use."""
    arenas = "cpu:0" if device == "cpu" else f"cpu:0;{device.replace('cuda', 'gpu')}"
    options = ort.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", arenas)
    return options


def _options(settings: ModelSettings, signature: Signature) -> Any:
    ort.set_default_logger_severity(_SILENT)
    options = ort.SessionOptions()
    options.log_severity_level = _SILENT
    options.intra_op_num_threads = settings.intra_op_threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = _LEVELS[settings.optimization]
    # A spinning thread takes the core from the event loop that waits to write the last answer.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if any(-1 in spec.shape[1:] for spec in signature.inputs):
        # One memory plan is kept for every combination of shapes ever seen, without a bound.
        options.enable_mem_pattern = False
    return options


def _open(
    source: Path | bytes,
    folder: Path,
    options: Any,
    settings: ModelSettings,
    gpu: int,
    available: Sequence[str],
) -> tuple[Any, str]:
    """A session on the device asked for; `auto` falls back to the CPU where CUDA does not work."""
    model = source if isinstance(source, bytes) else str(source)
    device, problem, number = settings.device, "", ""
    if device != "cpu" and CUDA in available:
        number = str(devices.number(device, gpu))
        try:
            missing = cuda.load_libraries()
            session = ort.InferenceSession(
                model,
                options,
                providers=[(CUDA, cuda.options(number, settings.tf32)), CPU],
                enable_fallback=0,  # it would print the reason and keep it from us
            )
            # Where its libraries are missing, ONNX Runtime leaves the provider out and goes on.
            if CUDA in session.get_providers():
                session.disable_fallback()
                return session, f"cuda:{number}"
            problem = _short(missing) if missing else "it does not work here"
        except Exception as error:
            problem = _short(error, folder)
        if device != "auto":
            raise ModelRefused(
                f"device '{device}': GPU {number}: {problem}; available: {', '.join(available)}"
            )
    elif device not in ("cpu", "auto"):
        raise ModelRefused(f"device '{device}': wanted {CUDA}, available: {', '.join(available)}")
    try:
        session = ort.InferenceSession(model, options, providers=[CPU])
    except Exception as error:
        raise ModelRefused(f"ONNX Runtime does not load it: {_short(error, folder)}") from error
    session.disable_fallback()
    if problem:
        log.warning("device 'auto': GPU %s: %s; a model runs on the CPU", number, problem)
    return session, "cpu"


def _bf16_value(array: Array) -> Any:
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(np.ascontiguousarray(array), _BF16)


def _read(value: Any) -> Array:
    """A NumPy copy of an output; BF16, which NumPy has no type for, as bit patterns."""
    if value.data_type() != "tensor(bfloat16)":
        array: Array = value.numpy()
        return array
    shape = tuple(value.shape())
    if 0 in shape:
        return np.empty(shape, np.uint16)
    bits = ctypes.cast(value.data_ptr(), ctypes.POINTER(ctypes.c_uint16))
    return np.ctypeslib.as_array(bits, shape).copy()


_PREFIX = re.compile(r"\[ONNXRuntimeError\] : \d+ : (\w+) : ")
_NODE = re.compile(r"while running (\w+) node")
# A place in ONNX Runtime's own source, the function there, and the condition that was checked.
_CHECK = re.compile(r"\S+\.(?:cc|h|hpp|cu|cuh):\d+ .*? was false\.\s*")
_PLACE = re.compile(r"\S+\.(?:cc|h|hpp|cu|cuh):\d+ (?:[^()]*\([^()]*\)\s*|\w+ )")
# Of a call of CUDA's that failed: template arguments, the machine's name, a place in the source.
_CALL = re.compile(r"\[with [^\]]*\]\s*|\s*; (?:hostname|file|line)=[^;]*")
_FOLDERS = re.compile(r"(?<![\w.])(?:\.{0,2}/[^\s/:'\"]+)+/(?=[^\s/])")


def _short(error: Exception | str, folder: Path | None = None) -> str:
    """What ONNX Runtime says, in one line, without folders or places in its own source."""
    words = str(error)
    if folder is not None:
        words = words.replace(f"{folder}/", "").replace(str(folder), "the model's own")
    words = " ".join(words.split())
    node = _NODE.search(words)
    if node is not None:
        words = f"{node[1]}: {words.partition(' Status Message: ')[2] or 'failed'}"
    words = _PREFIX.sub(lambda match: f"{match[1]}: ", words)
    words = _CALL.sub("", _PLACE.sub("", _CHECK.sub("", words)))
    words = _FOLDERS.sub("", words)
    return words[:300] or type(error).__name__
