"""The documents that describe the server and its models.

Knows the fields of server metadata, model metadata and Triton's model configuration. Knows nothing
of which models there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from gateway import __version__
from gateway.config import ModelSettings
from gateway.tensors import Signature, TensorSpec

# Clients look here before they use an extension: nothing is listed that does not work.
EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
)


def server_metadata() -> dict[str, Any]:
    """Name, version and what works besides the protocol itself."""
    return {
        "name": "penstock",
        "version": __version__,
        "extensions": list(EXTENSIONS),
    }


def model_metadata(
    name: str, versions: Iterable[int | str], signature: Signature
) -> dict[str, Any]:
    """What a model takes and gives.

    Class labels stand in `properties`, which the protocol makes strings: a JSON array under
    `OUTPUT.labels`.
    """
    document: dict[str, Any] = {
        "name": name,
        "versions": [str(version) for version in versions],
        "platform": "onnxruntime_onnx",
        "inputs": [_tensor(spec) for spec in signature.inputs],
        "outputs": [_tensor(spec) for spec in signature.outputs],
    }
    labels = {
        f"{spec.name}.labels": orjson.dumps(spec.labels).decode()
        for spec in signature.outputs
        if spec.labels
    }
    if labels:
        document["properties"] = labels
    return document


def model_config(
    name: str, versions: Iterable[int], signature: Signature, settings: ModelSettings
) -> dict[str, Any]:
    """A model's configuration in the fields of Triton's ModelConfig.

    The version policy names the versions that serve, however they came to be chosen.
    Queue sizes count rows here. A batched signature whose runs are never shared
    (`max_batch_size` 0) shows its full shapes, as Triton does for such models.
    """
    batched = signature.batched and settings.max_batch_size > 0
    document: dict[str, Any] = {
        "name": name,
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "default_model_filename": "model.onnx",
        "version_policy": {"specific": {"versions": list(versions)}},
        "max_batch_size": settings.max_batch_size if batched else 0,
        "input": [_config_tensor(spec, batched) for spec in signature.inputs],
        "output": [_config_tensor(spec, batched) for spec in signature.outputs],
        "instance_group": [_instances(name, settings)],
        "parameters": {"intra_op_thread_count": {"string_value": str(settings.intra_op_threads)}},
    }
    if batched:
        document["dynamic_batching"] = _batching(settings)
    return document


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _config_tensor(spec: TensorSpec, batched: bool) -> dict[str, Any]:
    datatype = "STRING" if spec.datatype == "BYTES" else spec.datatype
    return {
        "name": spec.name,
        "data_type": f"TYPE_{datatype}",
        "dims": list(spec.shape[1:] if batched else spec.shape),
    }


def _instances(name: str, settings: ModelSettings) -> dict[str, Any]:
    kind, _, number = settings.device.partition(":")
    group: dict[str, Any] = {
        "name": name,
        "kind": {"auto": "KIND_AUTO", "cpu": "KIND_CPU"}.get(kind, "KIND_GPU"),
        "count": settings.instances,
    }
    if number:
        group["gpus"] = [int(number)]
    return group


def _batching(settings: ModelSettings) -> dict[str, Any]:
    policy: dict[str, Any] = {
        "timeout_action": "REJECT",
        "allow_timeout_override": True,
        "max_queue_size": settings.max_queue_rows,
    }
    if settings.timeout_ms is not None:
        policy["default_timeout_microseconds"] = round(settings.timeout_ms * 1000)
    return {
        "preferred_batch_size": list(settings.preferred_batch_sizes),
        "max_queue_delay_microseconds": round(settings.max_queue_delay_ms * 1000),
        "default_queue_policy": policy,
    }
