"""Metadata, configuration, index and the repository's bodies."""

from __future__ import annotations

import orjson
import pytest

from gateway import __version__
from gateway.config import ModelSettings
from gateway.errors import InvalidParameter, MalformedJson
from gateway.tensors import Signature
from gateway.wire.answers import error_body
from gateway.wire.oip.metadata import model_config, model_metadata, server_metadata
from gateway.wire.oip.repository import (
    index,
    read_index_request,
    read_load_request,
    read_unload_request,
)
from tests.wire.oip_rig import spec

SIGNATURE = Signature(
    (spec("X", "FP32", -1, 3), spec("S", "BYTES", -1, -1)),
    (spec("Y", "FP16", -1, 2, labels=("no", "yes")),),
    batched=True,
)


def test_the_server_lists_the_extensions_that_work():
    assert server_metadata() == {
        "name": "penstock",
        "version": __version__,
        "extensions": [
            "binary_tensor_data",
            "classification",
            "model_configuration",
            "model_repository",
            "parameters",
            "schedule_policy",
            "statistics",
        ],
    }


def test_a_models_metadata_gives_full_shapes_and_versions_as_strings():
    assert model_metadata("m", [1, 12], SIGNATURE) == {
        "name": "m",
        "versions": ["1", "12"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "X", "datatype": "FP32", "shape": [-1, 3]},
            {"name": "S", "datatype": "BYTES", "shape": [-1, -1]},
        ],
        "outputs": [{"name": "Y", "datatype": "FP16", "shape": [-1, 2]}],
        "properties": {"Y.labels": '["no","yes"]'},
    }


def test_without_labels_there_are_no_properties():
    assert "properties" not in model_metadata("m", [1], Signature(SIGNATURE.inputs, (), True))


def test_the_configuration_leaves_the_batch_dimension_out():
    settings = ModelSettings(
        max_batch_size=16,
        max_queue_delay_ms=0.5,
        preferred_batch_sizes=[4, 8],
        max_queue_rows=99,
        timeout_ms=20,
        instances=2,
        device="cuda:1",
    )
    config = model_config("m", [1, 3], SIGNATURE, settings)
    assert config["max_batch_size"] == 16
    assert config["input"] == [
        {"name": "X", "data_type": "TYPE_FP32", "dims": [3]},
        {"name": "S", "data_type": "TYPE_STRING", "dims": [-1]},
    ]
    assert config["output"] == [{"name": "Y", "data_type": "TYPE_FP16", "dims": [2]}]
    assert config["instance_group"] == [{"name": "m", "kind": "KIND_GPU", "count": 2, "gpus": [1]}]
    assert config["dynamic_batching"] == {
        "preferred_batch_size": [4, 8],
        "max_queue_delay_microseconds": 500,
        "default_queue_policy": {
            "timeout_action": "REJECT",
            "allow_timeout_override": True,
            "max_queue_size": 99,
            "default_timeout_microseconds": 20_000,
        },
    }
    assert (config["name"], config["platform"], config["backend"]) == (
        "m",
        "onnxruntime_onnx",
        "onnxruntime",
    )
    assert orjson.loads(orjson.dumps(config)) == config


@pytest.mark.parametrize(
    ("signature", "settings"),
    [
        (Signature(SIGNATURE.inputs, SIGNATURE.outputs, batched=False), ModelSettings()),
        (SIGNATURE, ModelSettings(max_batch_size=0)),
    ],
    ids=["unbatched", "never-batched"],
)
def test_without_batching_the_configuration_gives_full_shapes(signature, settings):
    config = model_config("m", [1, 3], signature, settings)
    assert config["max_batch_size"] == 0
    assert config["input"][0]["dims"] == [-1, 3]
    assert "dynamic_batching" not in config


@pytest.mark.parametrize(
    ("device", "kind"), [("auto", "KIND_AUTO"), ("cpu", "KIND_CPU"), ("cuda", "KIND_GPU")]
)
def test_the_device_is_the_instances_kind(device, kind):
    config = model_config("m", [1, 3], SIGNATURE, ModelSettings(device=device))
    assert config["instance_group"] == [{"name": "m", "kind": kind, "count": 1}]


def test_the_index_leaves_out_what_is_not_known():
    entries = [("a", 1, "READY", ""), ("b", 0, "UNAVAILABLE", "corrupt"), ("c", 0, "", "")]
    assert index(entries) == [
        {"name": "a", "version": "1", "state": "READY"},
        {"name": "b", "state": "UNAVAILABLE", "reason": "corrupt"},
        {"name": "c"},
    ]


@pytest.mark.parametrize(
    ("body", "only_ready"),
    [
        (b"", False),
        (b" \n", False),
        (b"{}", False),
        (b'{"ready":false}', False),
        (b'{"ready":true}', True),
    ],
)
def test_an_index_request_may_ask_for_ready_models(body, only_ready):
    assert read_index_request(body) is only_ready


@pytest.mark.parametrize("value", [b"1", b'"true"', b"null", b"[]"])
def test_ready_is_a_boolean(value):
    with pytest.raises(InvalidParameter, match="expected a boolean"):
        read_index_request(b'{"ready":' + value + b"}")


@pytest.mark.parametrize("read", [read_index_request, read_load_request, read_unload_request])
@pytest.mark.parametrize("body", [b"[]", b"5", b"{", b"\xff", b"[" * 250_000])
def test_other_bodies_are_refused(read, body):
    with pytest.raises(MalformedJson):
        read(body)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"parameters":{}}', b'{"parameters":{"x":1}}'])
def test_plain_load_and_unload_requests_pass(body):
    read_load_request(body)
    read_unload_request(body)


@pytest.mark.parametrize("name", ["config", "file:1/model.onnx"])
def test_clients_bring_no_configuration_and_no_files(name):
    body = orjson.dumps({"parameters": {name: "{}"}})
    with pytest.raises(InvalidParameter, match=f"parameter '{name}': configuration and files"):
        read_load_request(body)


def test_unload_dependents_is_a_boolean():
    read_unload_request(b'{"parameters":{"unload_dependents":true}}')
    with pytest.raises(InvalidParameter, match="'unload_dependents': expected a boolean"):
        read_unload_request(b'{"parameters":{"unload_dependents":1}}')


def test_an_error_body_has_one_key_and_is_always_json():
    assert orjson.loads(error_body('a "b"\n\u6c34')) == {"error": 'a "b"\n\u6c34'}
    assert orjson.loads(error_body("lone \ud800")) == {"error": "lone ?"}
