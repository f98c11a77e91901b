"""Folders in Triton's layout, bare files and configured paths, served as they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.end_to_end.server import RunningServer, running
from tests.end_to_end.zoo import asked, scale, tensor
from tests.models.builders import classifier, external, linear, save

ONE = asked(tensor("x", [[1]], "FP32"))
ROW = asked(tensor("x", [[1, 2, 3, 4]], "FP32"))
TUNED = """
name: "tuned"
platform: "onnxruntime_onnx"
max_batch_size: 16
input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 2 ] label_filename: "labels.txt" } ]
dynamic_batching {
  preferred_batch_size: [ 4, 8 ]
  max_queue_delay_microseconds: 1500
  default_queue_policy { max_queue_size: 64 default_timeout_microseconds: 5000000 }
}
instance_group [ { count: 2 kind: KIND_CPU } ]
"""


def with_weights(folder: Path) -> None:
    """A model whose weights lie in a file of its own folder."""
    save(folder, external("weights.bin", offset=0, length=32))
    (folder / "weights.bin").write_bytes(np.full((4, 2), 0.5, "<f4").tobytes())


def build(repository: Path) -> Path:
    for version in (1, 2, 3):
        for name in ("plain", "latest_two", "chosen", "all"):
            save(repository / name / str(version), scale(version))
    policies = {
        "latest_two": "latest { num_versions: 2 }",
        "chosen": "specific { versions: [ 1, 3 ] }",
        "all": "all {}",
    }
    for name, policy in policies.items():
        (repository / name / "config.pbtxt").write_text(f"version_policy {{ {policy} }}")
    save(repository / "tuned" / "1", linear())
    (repository / "tuned" / "config.pbtxt").write_text(TUNED)
    (repository / "tuned" / "labels.txt").write_text("low\nhigh\n")
    save(repository / "renamed" / "1", linear(), "net.onnx")
    (repository / "renamed" / "config.pbtxt").write_text('default_model_filename: "net.onnx"')
    with_weights(repository / "weighty" / "1")
    save(repository / "overruled" / "1", linear())
    (repository / "overruled" / "config.pbtxt").write_text("max_batch_size: 8")
    # What must not get in the way.
    (repository / "README.txt").write_text("notes")
    (repository / ".git").mkdir()
    (repository / "plain" / "notes").mkdir()
    (repository / "no_versions").mkdir()
    (repository / "no_file" / "1").mkdir(parents=True)
    save(repository / "misdeclared" / "1", linear())
    wrong = TUNED.replace("tuned", "misdeclared").replace("[ 4 ]", "[ 5 ]")
    (repository / "misdeclared" / "config.pbtxt").write_text(wrong)
    (repository / "misdeclared" / "labels.txt").write_text("low\nhigh\n")
    save(repository / "unreadable" / "1", linear())
    (repository / "unreadable" / "config.pbtxt").write_text("max_batch_size: {")
    save(repository / "elsewhere" / "1", linear())
    (repository / "elsewhere" / "config.pbtxt").write_text('backend: "python"')
    return repository


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("layout")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[RunningServer]:
    repository = build(folder / "repository")
    save(folder / "configured", scale(7), "seven.onnx")
    save(folder / "second" / "more" / "1", scale(5))
    save(folder / "second" / "plain" / "9", scale(9))
    bare = save(folder, linear(), "bare.onnx")
    config = f"""
repository: {{paths: [{folder / "second"}]}}
models:
  seven: {{path: {folder / "configured" / "seven.onnx"}, version: 4}}
  overruled: {{max_batch_size: 2}}
"""
    with running(folder, bare, repository, "--workers", "1", config=config, ready=False) as started:
        yield started


def answered_by(server: RunningServer, model: str) -> tuple[str, float]:
    answer = server.post(f"/v2/models/{model}/infer", ONE).json()
    return answer["model_version"], answer["outputs"][0]["data"][0]


def index(server: RunningServer, name: str) -> list[tuple[str | None, str]]:
    entries = server.post("/v2/repository/index").json()
    return [(e.get("version"), e["state"]) for e in entries if e["name"] == name]


@pytest.mark.parametrize(
    ("model", "versions"),
    [
        pytest.param("plain", ["3"], id="the-latest-by-default"),
        pytest.param("latest_two", ["2", "3"], id="latest"),
        pytest.param("chosen", ["1", "3"], id="specific"),
        pytest.param("all", ["1", "2", "3"], id="all"),
    ],
)
def test_a_version_policy_says_what_is_served(server, model, versions):
    assert server.get(f"/v2/models/{model}").json()["versions"] == versions
    assert answered_by(server, model) == ("3", 3)
    for version in versions:
        assert answered_by(server, f"{model}/versions/{version}") == (version, float(version))


def test_a_config_pbtxt_applies(server):
    config = server.get("/v2/models/tuned/config").json()
    assert config["max_batch_size"] == 16
    batching = config["dynamic_batching"]
    assert batching["preferred_batch_size"] == [4, 8]
    assert batching["max_queue_delay_microseconds"] == 1500
    assert batching["default_queue_policy"]["max_queue_size"] == 64
    assert batching["default_queue_policy"]["default_timeout_microseconds"] == 5_000_000
    (group,) = config["instance_group"]
    assert (group["count"], group["kind"]) == (2, "KIND_CPU")
    assert server.post("/v2/models/tuned/infer", ROW).status == 200
    metadata = server.get("/v2/models/tuned").json()
    assert metadata["properties"] == {"y.labels": '["low","high"]'}
    wide = asked(tensor("x", np.ones((17, 4)), "FP32"))
    assert server.post("/v2/models/tuned/infer", wide).status == 400


def test_labels_of_a_config_pbtxt_name_classes(server):
    request = {**ROW, "outputs": [{"name": "y", "parameters": {"classification": 1}}]}
    (name,) = server.post("/v2/models/tuned/infer", request).json()["outputs"][0]["data"]
    assert name.endswith((":low", ":high"))


def test_our_own_configuration_goes_before_the_pbtxt(server):
    assert server.get("/v2/models/overruled/config").json()["max_batch_size"] == 2


def test_the_models_file_may_have_another_name(server):
    assert server.post("/v2/models/renamed/infer", ROW).status == 200


def test_weights_in_the_models_own_folder_are_found(server):
    answer = server.post("/v2/models/weighty/infer", ROW).json()
    assert answer["outputs"][0]["data"] == [5.0, 5.0]


def test_bare_files_and_configured_paths_stand_beside_a_repository(server):
    assert server.post("/v2/models/bare/infer", ROW).status == 200
    assert answered_by(server, "seven") == ("4", 7)
    assert answered_by(server, "more") == ("1", 5)


def test_a_name_in_two_places_belongs_to_the_first(server):
    assert index(server, "plain") == [("3", "READY")]
    assert "model 'plain' is found twice" in server.log


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_versions", "wanted folders named 1, 2, ..."),
        ("no_file", "model.onnx"),
        ("misdeclared", "declared with shape [-1, 5], the model has [-1, 4]"),
        ("unreadable", "config.pbtxt"),
        ("elsewhere", "wanted 'onnxruntime', got 'python'"),
    ],
)
def test_what_is_badly_laid_out_hides_no_other_and_says_why(server, folder, name, reason):
    (entry,) = [e for e in server.post("/v2/repository/index").json() if e["name"] == name]
    assert entry["state"] == "UNAVAILABLE"
    assert reason in entry["reason"]
    assert str(folder) not in entry["reason"]
    ready = {"name": name}
    only_ready = server.post("/v2/repository/index", {"ready": True}).json()
    assert ready["name"] not in [e["name"] for e in only_ready]


@pytest.mark.parametrize("name", ["README.txt", ".git", "repository"])
def test_what_is_no_model_is_no_fault(server, name):
    assert index(server, name) == []


# ---- changes ------------------------------------------------------------------------------------


def test_a_new_version_a_changed_file_and_a_removed_model_are_taken_up(start, tmp_path):
    repository = tmp_path / "models"
    save(repository / "grows" / "1", scale(1))
    save(repository / "changes" / "1", scale(1))
    save(repository / "leaves" / "1", scale(1))
    server = start(repository, "--workers", "1")
    save(repository / "grows" / "2", scale(2))
    save(repository / "changes" / "1", scale(30))
    (repository / "leaves" / "1" / "model.onnx").unlink()
    (repository / "leaves" / "1").rmdir()
    (repository / "leaves").rmdir()
    assert server.admin("POST", "/api/reload").status == 200
    assert answered_by(server, "grows") == ("2", 2)
    assert answered_by(server, "changes") == ("1", 30)
    assert server.get("/v2/models/leaves").status == 404


def test_a_file_that_goes_bad_leaves_the_old_model_serving(start, tmp_path):
    repository = tmp_path / "models"
    path = save(repository / "m" / "1", scale(3))
    server = start(repository, "--workers", "1")
    broken = scale(4)
    broken.graph.node[0].op_type = "NoSuchOp"
    path.write_bytes(broken.SerializeToString())
    absent = server.admin("POST", "/api/reload").json()["absent"]
    assert [(one["name"], "NoSuchOp" in one["reason"]) for one in absent] == [("m", True)]
    assert answered_by(server, "m") == ("1", 3)


def test_a_file_that_is_no_model_any_more_leaves_the_old_one_serving(start, tmp_path):
    repository = tmp_path / "models"
    path = save(repository / "m" / "1", scale(3))
    server = start(repository, "--workers", "1", config="repository: {allow_load: true}")
    path.write_bytes(b"\xff\xff\xff")
    load = server.post("/v2/repository/models/m/load")
    assert load.status == 422
    assert answered_by(server, "m") == ("1", 3)


def test_zipmap_models_of_any_label_type_are_served(start, tmp_path):
    paths = [
        save(tmp_path, classifier(labels), f"{name}.onnx")
        for name, labels in (("words", ("a", "b")), ("numbers", (7, -1)))
    ]
    assert all(onnx.load(path).graph.node[1].op_type == "ZipMap" for path in paths)
    server = start(*paths, "--workers", "1")
    request = asked(tensor("x", [[1, 3]], "FP32"))
    for name, labels in (("words", '["a","b"]'), ("numbers", '["7","-1"]')):
        answer = server.post(f"/v2/models/{name}/infer", request).json()
        assert answer["outputs"][0]["data"] == [0.25, 0.75]
        properties = server.get(f"/v2/models/{name}").json()["properties"]
        assert properties == {"probabilities.labels": labels}
