"""The stock `tritonclient.http` against a running server: what it asks, it gets as from Triton."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.end_to_end import zoo
from tests.end_to_end.server import RunningServer, running
from tests.models.builders import linear, save

http = pytest.importorskip("tritonclient.http")
InferenceServerException = pytest.importorskip("tritonclient.utils").InferenceServerException

CONFIG = """
server: {compress_min_bytes: 4096}
repository: {allow_load: true}
models:
  linear: {max_batch_size: 16}
  slow: {max_batch_size: 1, max_queue_rows: 2}
"""
SAMPLES = {
    "BOOL": np.array([[True, False], [False, True]]),
    "FP16": np.array([[0.5, -2], [65504, 0.1]], np.float16),
    "FP32": np.array([[0.1, -2.5], [3e38, 1e-40]], np.float32),
    "FP64": np.array([[0.1, -2.5], [1e300, 5e-324]], np.float64),
    "BYTES": np.array([[b"", b"a"], ["h\u00e9".encode(), b"x" * 300]], object),
    **{
        name: np.array([[np.iinfo(kind).min, 1], [2, np.iinfo(kind).max]], kind)
        for name, kind in (
            ("INT8", np.int8),
            ("INT16", np.int16),
            ("INT32", np.int32),
            ("INT64", np.int64),
            ("UINT8", np.uint8),
            ("UINT16", np.uint16),
            ("UINT32", np.uint32),
            ("UINT64", np.uint64),
        )
    },
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("tritonclient")
    repository = zoo.build(folder / "repository")
    with running(folder, repository, "--workers", "1", config=CONFIG) as started:
        yield started


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[Any]:
    client = http.InferenceServerClient(f"127.0.0.1:{server.port}", concurrency=4)
    yield client
    client.close()


def given(name: str, array: np.ndarray, datatype: str = "FP32", binary: bool = True):
    tensor = http.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def wanted(name: str, **options):
    return http.InferRequestedOutput(name, **options)


def refusal(call, *arguments, **options) -> tuple[str, str]:
    """Status and message of what the client raises."""
    with pytest.raises(InferenceServerException) as raised:
        call(*arguments, **options)
    return raised.value.status(), raised.value.message()


# ---- inference ----------------------------------------------------------------------------------


@pytest.mark.parametrize("binary_in", [True, False], ids=["binary-in", "json-in"])
@pytest.mark.parametrize("binary_out", [True, False], ids=["binary-out", "json-out"])
def test_two_inputs_and_two_outputs_in_either_form(client, binary_in, binary_out):
    left = np.arange(32, dtype=np.int32).reshape(2, 16)
    right = np.full((2, 16), 3, np.int32)
    result = client.infer(
        "sums",
        [given("INPUT0", left, "INT32", binary_in), given("INPUT1", right, "INT32", binary_in)],
        outputs=[wanted(name, binary_data=binary_out) for name in ("OUTPUT0", "OUTPUT1")],
    )
    assert np.array_equal(result.as_numpy("OUTPUT0"), left + right)
    assert np.array_equal(result.as_numpy("OUTPUT1"), left - right)


def test_one_tensor_in_json_and_the_other_in_binary(client):
    ones = np.ones((1, 16), np.int32)
    result = client.infer(
        "sums",
        [given("INPUT0", ones, "INT32", binary=False), given("INPUT1", ones, "INT32")],
        outputs=[wanted("OUTPUT1", binary_data=False), wanted("OUTPUT0")],
    )
    assert [output["name"] for output in result.get_response()["outputs"]] == ["OUTPUT1", "OUTPUT0"]
    assert result.as_numpy("OUTPUT0").tolist() == [[2] * 16]
    assert result.as_numpy("OUTPUT1").tolist() == [[0] * 16]


def test_inputs_in_another_order_than_the_models(client):
    left, right = np.full((1, 16), 5, np.int32), np.full((1, 16), 3, np.int32)
    result = client.infer("sums", [given("INPUT1", right, "INT32"), given("INPUT0", left, "INT32")])
    assert result.as_numpy("OUTPUT1").tolist() == [[2] * 16]


def test_every_datatype_passes_through_in_binary(client):
    inputs = [given(f"in_{name}", SAMPLES[name], name) for name in zoo.EVERY]
    result = client.infer("every", inputs)
    for name, sample in SAMPLES.items():
        got = result.as_numpy(f"out_{name}")
        assert (got.dtype, got.tolist()) == (sample.dtype, sample.tolist()), name


def test_every_datatype_that_json_has_passes_through_in_json(client):
    inputs = [given(f"in_{name}", SAMPLES[name], name, binary=name == "FP16") for name in zoo.EVERY]
    names = [name for name in zoo.EVERY if name != "FP16"]
    outputs = [wanted(f"out_{name}", binary_data=False) for name in names]
    result = client.infer("every", inputs, outputs=outputs)
    for name in names:
        got = result.as_numpy(f"out_{name}").tolist()
        if name == "BYTES":
            got = [[text.encode() for text in row] for row in got]
        assert got == SAMPLES[name].tolist(), name


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_strings(client, binary):
    words = np.array([["s\u00e4en".encode()], [b""], [b"two words"]], object)
    result = client.infer("words", [given("x", words, "BYTES", binary)])
    assert result.as_numpy("y").tolist() == words.tolist()


def test_fp16_asked_for_in_json_is_refused_by_name(client):
    status, message = refusal(
        client.infer,
        "halves",
        [given("x", np.ones((1, 2), np.float16), "FP16")],
        outputs=[wanted("y", binary_data=False)],
    )
    assert status == "400"
    assert "'y'" in message
    assert "FP16 has no JSON form" in message


def test_a_request_id_comes_back_and_none_is_made_up(client):
    row = given("x", np.ones((1, 4), np.float32))
    assert client.infer("linear", [row], request_id="n\u00b0 7").get_response()["id"] == "n\u00b0 7"
    assert "id" not in client.infer("linear", [row]).get_response()


@pytest.mark.parametrize(("version", "factor"), [("", 10), ("1", 1), ("2", 2), ("10", 10)])
def test_a_version_by_number_or_the_highest(client, version, factor):
    three = given("x", np.array([[3]], np.float32))
    result = client.infer("versions", [three], model_version=version)
    assert result.as_numpy("y").tolist() == [[3 * factor]]
    assert result.get_response()["model_version"] == (version or "10")


def test_a_name_that_needs_quoting(client):
    result = client.infer(zoo.ODD_NAME, [given("x", np.ones((1, 4), np.float32))])
    assert result.get_response()["model_name"] == zoo.ODD_NAME


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_classification_names_the_highest_values_with_their_labels(client, binary):
    result = client.infer(
        "flowers",
        [given("x", np.array([[1, 2, 1], [6, 1, 1]], np.float32))],
        outputs=[wanted("probabilities", class_count=2, binary_data=binary)],
    )
    got = [[text.decode() if binary else text for text in row] for row in
           result.as_numpy("probabilities").tolist()]  # fmt: skip
    assert got == [
        ["0.500000:1:rose", "0.250000:0:iris"],
        ["0.750000:0:iris", "0.125000:1:rose"],
    ]


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compression_in_both_directions(client, algorithm):
    wide = np.arange(4096, dtype=np.float32).reshape(1, 4096)
    result = client.infer(
        "wide",
        [given("x", wide)],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    assert np.array_equal(result.as_numpy("y"), wide)


def test_requests_at_the_same_time(client):
    rows = [np.full((1, 1), n, np.float32) for n in range(40)]
    under_way = [client.async_infer("versions", [given("x", row)]) for row in rows]
    got = [request.get_result().as_numpy("y").tolist() for request in under_way]
    assert got == [[[10 * n]] for n in range(40)]


def test_request_parameters_of_its_own_are_taken(client):
    row = given("x", np.ones((1, 4), np.float32))
    result = client.infer("linear", [row], parameters={"tenant": "a", "weight": 2, "dry": True})
    assert result.as_numpy("y").shape == (1, 2)


def test_an_answer_kept_as_bytes_can_be_parsed_later(client):
    row = given("x", np.ones((1, 4), np.float32))
    body, length = http.InferenceServerClient.generate_request_body([row])
    answer = client._post(
        "v2/models/linear/infer", body, {"Inference-Header-Content-Length": length}, None
    )
    kept = http.InferenceServerClient.parse_response_body(
        answer.read(), header_length=int(answer.get("inference-header-content-length"))
    )
    assert kept.as_numpy("y").shape == (1, 2)


# ---- refusals -----------------------------------------------------------------------------------

ROW = np.ones((1, 4), np.float32)


@pytest.mark.parametrize(
    ("model", "inputs", "options", "status", "phrase"),
    [
        pytest.param(
            "nosuch", [("x", ROW, "FP32")], {},
            "404", "Request for unknown model: 'nosuch' is not found", id="unknown-model",
        ),
        pytest.param(
            "linear", [("x", ROW, "FP32")], {"model_version": "99"},
            "404", "version 99 is not found", id="unknown-version",
        ),
        pytest.param(
            "linear", [("x", np.ones((1, 5), np.float32), "FP32")], {},
            "400", "unexpected shape for input 'x'", id="shape",
        ),
        pytest.param(
            "linear", [("x", np.ones((17, 4), np.float32), "FP32")], {},
            "400", "inference request batch-size must be <= 16 for 'linear'", id="batch-size",
        ),
        pytest.param(
            "linear", [("x", np.ones((1, 4), np.int32), "INT32")], {},
            "400", "data-type is 'INT32', but model 'linear' expects 'FP32'", id="datatype",
        ),
        pytest.param(
            "sums", [("INPUT0", np.ones((1, 16), np.int32), "INT32")], {},
            "400", "expected 2 inputs but got 1", id="missing-input",
        ),
        pytest.param(
            "linear", [("z", ROW, "FP32")], {},
            "400", "unexpected inference input 'z' for model 'linear'", id="unknown-input",
        ),
        pytest.param(
            "linear", [("x", ROW, "FP32")], {"outputs": ["q"]},
            "400", "unexpected inference output 'q' for model 'linear'", id="unknown-output",
        ),
        pytest.param(
            "linear", [("x", ROW, "FP32")], {"outputs": ["y", "y"]},
            "400", "output 'y' already exists in request", id="output-twice",
        ),
        pytest.param(
            "slow", [("x", np.ones((1, 1), np.float32), "FP32")], {"timeout": 1},
            "503", "Request timeout expired", id="timeout",
        ),
    ],
)  # fmt: skip
def test_refusals_carry_tritons_words(client, model, inputs, options, status, phrase):
    if "outputs" in options:
        options = {**options, "outputs": [wanted(name) for name in options["outputs"]]}
    got, message = refusal(client.infer, model, [given(*one) for one in inputs], **options)
    assert got == status
    assert phrase in message


def test_a_full_queue_is_told_in_tritons_words(server):
    row = given("x", np.ones((1, 1), np.float32))
    failures = []
    with http.InferenceServerClient(f"127.0.0.1:{server.port}", concurrency=12) as crowd:
        for request in [crowd.async_infer("slow", [row]) for _ in range(12)]:
            try:
                request.get_result()
            except InferenceServerException as error:
                failures.append((error.status(), error.message()))
    assert failures
    for status, message in failures:
        assert status == "503"
        assert "Exceeds maximum queue size" in message


# ---- what there is ------------------------------------------------------------------------------


def test_the_server_and_a_model_live_and_are_ready(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("linear")
    assert client.is_model_ready("versions", "2")
    assert not client.is_model_ready("versions", "3")
    assert not client.is_model_ready("nosuch")


def test_server_metadata_lists_what_works(client):
    metadata = client.get_server_metadata()
    assert metadata["name"] == "penstock"
    assert {"binary_tensor_data", "classification", "statistics"} <= set(metadata["extensions"])
    assert not [word for word in metadata["extensions"] if "shared_memory" in word]


def test_model_metadata(client):
    assert client.get_model_metadata("versions") == {
        "name": "versions",
        "versions": ["1", "2", "10"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}],
    }


def test_model_config(client):
    config = client.get_model_config("linear")
    assert (config["name"], config["max_batch_size"]) == ("linear", 16)
    assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [4]}]


def test_statistics_count_requests_runs_and_rows(client):
    def counts() -> tuple[int, int, int]:
        (entry,) = client.get_inference_statistics("echo", "1")["model_stats"]
        success = entry["inference_stats"]["success"]["count"]
        return success, entry["inference_count"], entry["execution_count"]

    before = counts()
    for rows in (1, 3, 5):
        client.infer("echo", [given("x", np.ones((rows, 2), np.float32))])
    assert [now - then for now, then in zip(counts(), before, strict=True)] == [3, 9, 3]


def test_statistics_of_all_models_have_one_entry_for_each_version(client):
    entries = client.get_inference_statistics()["model_stats"]
    versions = [entry["version"] for entry in entries if entry["name"] == "versions"]
    assert versions == ["1", "2", "10"]


def test_the_repository_index(client):
    index = client.get_model_repository_index()
    assert {"name": "versions", "version": "10", "state": "READY"} in index
    assert len(index) == len({(entry["name"], entry["version"]) for entry in index})


def test_unload_and_load(client):
    client.unload_model("word")
    assert not client.is_model_ready("word")
    assert client.is_server_ready(), "what was unloaded on purpose is not missed"
    (entry,) = [e for e in client.get_model_repository_index() if e["name"] == "word"]
    assert entry == {
        "name": "word", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"
    }  # fmt: skip
    client.load_model("word")
    assert client.is_model_ready("word")
    client.load_model("word")
    assert client.is_model_ready("word")


def test_unloading_what_is_unknown_or_unloaded_is_no_error(client):
    client.unload_model("nosuch")
    client.unload_model("nosuch")


def test_loading_what_is_unknown_says_so_in_tritons_words(client):
    status, message = refusal(client.load_model, "nosuch")
    assert status == "404"
    assert "failed to load 'nosuch', failed to poll from model repository" in message


def test_a_client_may_not_bring_a_configuration_or_files(client):
    status, message = refusal(client.load_model, "linear", config="{}")
    assert status == "400"
    assert "'config'" in message
    assert client.is_model_ready("linear")


def test_loading_is_off_unless_it_is_configured(start, tmp_path: Path):
    repository = tmp_path / "models"
    save(repository / "linear" / "1", linear())
    server = start(repository, "--workers", "1")
    with http.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        refusals = [refusal(call, "linear") for call in (client.load_model, client.unload_model)]
        assert client.is_model_ready("linear")
    assert [status for status, _ in refusals] == ["403", "403"]
    assert all("repository.allow_load" in message for _, message in refusals)
