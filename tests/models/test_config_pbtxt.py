"""What of a Triton configuration applies here."""

from __future__ import annotations

import pytest

from gateway.config import Config
from gateway.errors import ModelRefused
from gateway.models.config_pbtxt import VersionPolicy, read, understand

WHOLE = """
name: "fraud"
platform: "onnxruntime_onnx"
backend: "onnxruntime"
max_batch_size: 64
default_model_filename: "net.onnx"
input [
  { name: "x" data_type: TYPE_FP32 dims: [ 30 ] }
]
output [
  { name: "label" data_type: TYPE_STRING dims: [ ] },
  { name: "p" data_type: TYPE_FP32 dims: [ 2 ] label_filename: "labels.txt" }
]
instance_group [ { count: 3 kind: KIND_GPU gpus: [ 1 ] } ]
dynamic_batching {
  preferred_batch_size: [ 32, 16 ]
  max_queue_delay_microseconds: 250
  default_queue_policy {
    max_queue_size: 500 default_timeout_microseconds: 20000 timeout_action: REJECT
  }
}
version_policy: { latest { num_versions: 2 } }
"""


def test_everything_that_applies():
    got = understand(WHOLE, "fraud")
    assert got.hints == {
        "max_batch_size": 64,
        "preferred_batch_sizes": [16, 32],
        "max_queue_delay_ms": 0.25,
        "max_queue_rows": 500,
        "timeout_ms": 20.0,
        "instances": 3,
        "device": "cuda:1",
    }
    assert got.declared["max_batch_size"] == 64
    assert got.declared["inputs"] == [{"name": "x", "datatype": "FP32", "dims": [30], "labels": []}]
    assert [one["datatype"] for one in got.declared["outputs"]] == ["BYTES", "FP32"]
    assert (got.file, got.versions, got.ignored) == ("net.onnx", VersionPolicy(latest=2), ())


def test_hints_are_settings():
    settings = Config().settings("fraud", understand(WHOLE, "fraud").hints)
    assert (settings.max_batch_size, settings.instances, settings.device) == (64, 3, "cuda:1")


def test_an_empty_configuration_hints_at_nothing():
    got = understand("", "m")
    assert (got.hints, got.declared, got.file) == ({}, {}, "model.onnx")
    assert got.versions == VersionPolicy(latest=1)


def test_tensors_without_a_batch_size_are_whole():
    got = understand('input { name: "x" data_type: TYPE_INT8 dims: [-1, 4] }', "m")
    assert got.hints == {"max_batch_size": 0}
    assert got.declared["max_batch_size"] == 0


def test_what_changes_nothing_here_is_listed():
    text = """
    max_batch_size: 8
    input { name: "x" data_type: TYPE_FP32 dims: 1 format: FORMAT_NCHW }
    dynamic_batching {
      preserve_ordering: true
      default_queue_policy { allow_timeout_override: true }
    }
    instance_group { count: 1 gpus: [0, 1] host_policy: "numa" }
    optimization { graph { level: 1 } }
    parameters { key: "a" value { string_value: "b" } }
    frobnicate: 3
    """
    assert understand(text, "m").ignored == (
        "dynamic_batching.default_queue_policy.allow_timeout_override",
        "dynamic_batching.preserve_ordering",
        "frobnicate",
        "input.format",
        "instance_group.gpus[1:]",
        "instance_group.host_policy",
        "optimization",
        "parameters",
    )


@pytest.mark.parametrize(
    ("group", "device"),
    [
        ("kind: KIND_CPU", "cpu"),
        ("kind: KIND_GPU", "cuda"),
        ("kind: KIND_AUTO", "auto"),
        ("", "auto"),
        ("gpus: 2", "cuda:2"),
    ],
)
def test_instance_kinds(group, device):
    assert understand(f"instance_group {{ {group} }}", "m").hints == {"device": device}


@pytest.mark.parametrize(
    ("text", "served"),
    [
        pytest.param("", [7], id="default"),
        pytest.param("version_policy { latest {} }", [7], id="latest"),
        pytest.param("version_policy { latest { num_versions: 2 } }", [3, 7], id="latest-two"),
        pytest.param("version_policy { all {} }", [1, 3, 7], id="all"),
        pytest.param("version_policy { specific { versions: [3, 1, 9] } }", [1, 3], id="specific"),
    ],
)
def test_version_policies(text, served):
    assert understand(text, "m").versions.choose([7, 1, 3]) == served


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(
            'name: "other"', "name: wanted 'm', the name of its folder, got 'other'", id="name"
        ),
        pytest.param(
            'backend: "python"', "backend: wanted 'onnxruntime', got 'python'", id="backend"
        ),
        pytest.param('platform: "tensorrt_plan"', "platform: wanted 'onnxruntime'", id="platform"),
        pytest.param("ensemble_scheduling {}", "ensemble_scheduling: not supported", id="ensemble"),
        pytest.param("sequence_batching {}", "sequence_batching: not supported", id="sequence"),
        pytest.param(
            "\nmax_batch_size: -1",
            "line 2: max_batch_size: wanted an integer from 0 to 65536",
            id="batch",
        ),
        pytest.param(
            "max_batch_size: 1 max_batch_size: 2", "max_batch_size: given twice", id="twice"
        ),
        pytest.param('max_batch_size: "8"', "got '8'", id="batch-as-text"),
        pytest.param("name: fraud", "name: wanted text, got fraud", id="bare-name"),
        pytest.param("name { }", "name: wanted text, got a message", id="message-as-name"),
        pytest.param("input: 3", "input: wanted a message, got 3", id="input"),
        pytest.param("input { data_type: TYPE_FP32 dims: 1 }", "input.name: missing", id="no-name"),
        pytest.param('input { name: "x" dims: 1 }', "input.data_type: wanted one of", id="no-type"),
        pytest.param('input { name: "x" data_type: TYPE_FP8 dims: 1 }', "got TYPE_FP8", id="type"),
        pytest.param(
            'input { name: "x" data_type: TYPE_FP32 }', "input.dims: missing", id="no-dims"
        ),
        pytest.param(
            'input { name: "x" data_type: TYPE_FP32 dims: -2 }', "input.dims: wanted", id="dims"
        ),
        pytest.param(
            'output { name: "y" data_type: TYPE_FP32 dims: 1 reshape { } }',
            "output.reshape: not supported",
            id="reshape",
        ),
        pytest.param(
            'input { name: "x" data_type: TYPE_FP32 dims: 1 }' * 2,
            "a name is declared twice",
            id="same-name",
        ),
        pytest.param("instance_group [{}, {}]", "wanted one group, got 2", id="groups"),
        pytest.param(
            "instance_group { kind: KIND_MODEL }", "instance_group.kind: wanted", id="kind"
        ),
        pytest.param(
            "dynamic_batching { default_queue_policy { timeout_action: DELAY } }",
            "dynamic_batching.default_queue_policy.timeout_action: wanted REJECT, got DELAY",
            id="delay",
        ),
        pytest.param(
            "version_policy { latest { num_versions: 0 } }",
            "version_policy.latest.num_versions",
            id="latest-0",
        ),
        pytest.param(
            "version_policy { specific {} }",
            "version_policy.specific.versions: missing",
            id="specific",
        ),
    ],
)
def test_a_fault_names_line_and_field(text, said):
    with pytest.raises(ModelRefused, match=r"^config\.pbtxt: line \d: ") as refusal:
        understand(text, "m")
    assert said in str(refusal.value)


def test_labels_come_from_a_file_in_the_models_folder(tmp_path):
    (tmp_path / "config.pbtxt").write_text(WHOLE)
    (tmp_path / "labels.txt").write_text("no\nyes\n")
    assert read(tmp_path, "fraud").declared["outputs"][1] == {
        "name": "p",
        "datatype": "FP32",
        "dims": [2],
        "labels": ["no", "yes"],
    }


@pytest.mark.parametrize(
    ("file", "said"),
    [
        pytest.param("labels.txt", "no such file", id="missing"),
        pytest.param("../labels.txt", "a path out of it", id="outside"),
        pytest.param("binary.txt", "not UTF-8", id="binary"),
    ],
)
def test_a_label_file_that_cannot_be_read_is_a_fault(tmp_path, file, said):
    (tmp_path / "binary.txt").write_bytes(b"\xff")
    (tmp_path / "config.pbtxt").write_text(WHOLE.replace("labels.txt", file))
    with pytest.raises(ModelRefused, match=said):
        read(tmp_path, "fraud")
