"""Real ONNX Runtime sessions on models of a node or two."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnxruntime as ort
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper

from gateway.config import ModelSettings
from gateway.devices import CUDA, count_gpus
from gateway.errors import InvalidTensor, ModelFailed, ModelRefused
from gateway.serving.runtime import CPU, OnnxRuntime
from gateway.tensors import DTYPES, Signature, TensorSpec
from tests.models.builders import external, identity, make, value
from tests.serving.sessions import ELEMENTS, open_model, values_of


@pytest.mark.parametrize("datatype", sorted(DTYPES))
def test_every_datatype_goes_in_and_comes_out(datatype, tmp_path):
    model = identity(("rows", 3), ELEMENTS[datatype])
    model.opset_import[0].version = 21
    array = values_of(datatype)
    (output,) = open_model(model, tmp_path).run([array], (0,))
    assert output.dtype == DTYPES[datatype]
    assert output.tolist() == array.tolist()


@pytest.mark.parametrize("datatype", ["BF16", "BYTES", "FP32"])
def test_tensors_without_rows_go_through(datatype, tmp_path):
    model = identity(("rows", 3), ELEMENTS[datatype])
    (output,) = open_model(model, tmp_path).run([values_of(datatype, (0, 3))], (0,))
    assert (output.shape, output.dtype) == ((0, 3), DTYPES[datatype])


def test_text_that_is_not_utf8_is_the_callers_fault_and_named(tmp_path):
    runtime = open_model(identity(("rows", 2), TensorProto.STRING), tmp_path)
    with pytest.raises(InvalidTensor, match="tensor 'x': element 1: the model takes UTF-8 text"):
        runtime.run([np.array([[b"fine", b"\xff\xfe"]], object)], (0,))


def two_sums(element: int = TensorProto.FLOAT) -> onnx.ModelProto:
    return make(
        [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Sub", ["a", "b"], ["d"])],
        [value("a", ("rows", 2), element), value("b", ("rows", 2), element)],
        [value("sum", ("rows", 2), element), value("d", ("rows", 2), element)],
    )


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        pytest.param((0, 1), [[[4, 6]], [[-2, -2]]], id="both"),
        pytest.param((0,), [[[4, 6]]], id="first"),
        pytest.param((1,), [[[-2, -2]]], id="second"),
    ],
)
def test_only_the_outputs_that_are_wanted_come_back(wanted, expected, tmp_path):
    runtime = open_model(two_sums(), tmp_path)
    a, b = np.array([[1, 2]], np.float32), np.array([[3, 4]], np.float32)
    assert [output.tolist() for output in runtime.run([a, b], wanted)] == expected


@pytest.mark.parametrize(
    ("shape", "given"),
    [
        pytest.param((1, 3), (1, 3), id="fixed"),
        pytest.param(("rows", 3), (7, 3), id="dynamic"),
        pytest.param((), (), id="absent"),
        pytest.param((3,), (3,), id="vector"),
        pytest.param(("rows", "length"), (2, 9), id="two-variable"),
    ],
)
def test_any_batch_dimension_runs(shape, given, tmp_path):
    array = np.ones(given, np.float32)
    (output,) = open_model(identity(shape), tmp_path, batched=False).run([array], (0,))
    assert output.shape == given


def test_bf16_stands_beside_other_types(tmp_path):
    cast = make(
        [
            helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT),
            helper.make_node("Cast", ["n"], ["z"], to=TensorProto.BFLOAT16),
        ],
        [value("x", ("rows", 2), TensorProto.BFLOAT16), value("n", ("rows", 2))],
        [value("y", ("rows", 2)), value("z", ("rows", 2), TensorProto.BFLOAT16)],
    )
    x, n = np.array([[0x3F80, 0x4000]], np.uint16), np.array([[1, 2]], np.float32)
    y, z = open_model(cast, tmp_path).run([x, n], (0, 1))
    assert (y.tolist(), z.tolist()) == ([[1, 2]], [[0x3F80, 0x4000]])


def test_bf16_stands_beside_text_going_in(tmp_path):
    model = make(
        [
            helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT),
            helper.make_node("Identity", ["s"], ["t"]),
        ],
        [
            value("x", ("rows", 1), TensorProto.BFLOAT16),
            value("s", ("rows", 1), TensorProto.STRING),
        ],
        [value("y", ("rows", 1)), value("t", ("rows", 1), TensorProto.STRING)],
    )
    inputs = [np.array([[0x3F80]], np.uint16), np.array([[b"s"]], object)]
    y, t = open_model(model, tmp_path).run(inputs, (0, 1))
    assert (y.tolist(), t.tolist()) == ([[1]], [[b"s"]])


def test_text_going_in_beside_bf16_coming_out_is_refused_at_load(tmp_path):
    model = make(
        [
            helper.make_node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16),
            helper.make_node("Identity", ["s"], ["t"]),
        ],
        [value("x", ("rows", 1)), value("s", ("rows", 1), TensorProto.STRING)],
        [
            value("y", ("rows", 1), TensorProto.BFLOAT16),
            value("t", ("rows", 1), TensorProto.STRING),
        ],
    )
    with pytest.raises(ModelRefused, match="BF16 outputs cannot be read beside BYTES inputs"):
        open_model(model, tmp_path)


def test_text_and_bf16_come_out_beside_each_other(tmp_path):
    model = make(
        [
            helper.make_node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16),
            helper.make_node("Cast", ["x"], ["t"], to=TensorProto.STRING),
        ],
        [value("x", ("rows", 1))],
        [
            value("y", ("rows", 1), TensorProto.BFLOAT16),
            value("t", ("rows", 1), TensorProto.STRING),
        ],
    )
    y, t = open_model(model, tmp_path).run([np.array([[1]], np.float32)], (0, 1))
    assert (y.tolist(), t.tolist()) == ([[0x3F80]], [[b"1"]])


def test_several_threads_share_a_session(tmp_path):
    runtime = open_model(two_sums(), tmp_path)

    def ask(n: int) -> float:
        a = np.full((1, 2), n, np.float32)
        return float(runtime.run([a, a], (0,))[0][0, 0])

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(200))) == [2.0 * n for n in range(200)]


def test_a_failing_run_says_what_failed_and_nothing_of_onnx_runtimes_own_files(tmp_path):
    reshape = make(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        [value("x", ("rows", "length"))],
        [value("y", ("rows", 3))],
        [numpy_helper.from_array(np.array([-1, 3], np.int64), "shape")],
    )
    runtime = open_model(reshape, tmp_path)
    with pytest.raises(ModelFailed) as failed:
        runtime.run([np.ones((1, 4), np.float32)], (0,))
    words = str(failed.value)
    assert words.startswith("model run failed: ")
    assert "/" not in words
    assert "reshape" in words.lower()


def test_outputs_past_their_limit_are_an_error(tmp_path):
    runtime = open_model(identity(("rows", 4)), tmp_path, max_output_bytes=1024)
    runtime.run([np.ones((64, 4), np.float32)], (0,))
    with pytest.raises(ModelFailed, match="outputs hold 1040 bytes, max_output_bytes is 1024"):
        runtime.run([np.ones((65, 4), np.float32)], (0,))


def test_outputs_that_were_refused_leave_no_memory_behind(tmp_path):
    model = make(
        [helper.make_node("Expand", ["x", "shape"], ["y"])],
        [value("x", (1, 1)), value("shape", (2,), TensorProto.INT64)],
        [value("y", ("rows", "columns"))],
    )
    runtime = open_model(model, tmp_path, batched=False, max_output_bytes=8192)

    def run(rows: int) -> int:
        runtime.run([np.ones((1, 1), np.float32), np.array([rows, 1024])], (0,))
        return psutil.Process().memory_info().rss

    before = run(1)  # as a warm-up does: the arena never gives its first region back
    with pytest.raises(ModelFailed, match="outputs hold 268435456 bytes") as refused:
        run(65_536)
    assert run(1) - before < 64 << 20
    assert refused.value is not None, "and were not only let go with the error"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x08\x01hello", id="not-onnx"),
        pytest.param(identity().SerializeToString()[:-20], id="cut-short"),
    ],
)
def test_a_corrupt_model_is_refused_quietly_and_without_its_path(content, tmp_path, capfd):
    folder = tmp_path / "with space"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(content)
    signature = Signature((TensorSpec("x", "FP32", (-1, 4)),), (), True)
    with pytest.raises(ModelRefused) as refused:
        OnnxRuntime(folder / "model.onnx", folder, signature, ModelSettings(device="cpu"))
    assert "/" not in str(refused.value)
    assert "space" not in str(refused.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("location", ["../outside.bin", "/etc/hostname", "missing.bin"])
def test_external_data_elsewhere_is_refused_by_the_runtime_as_well(location, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "outside.bin").write_bytes(bytes(64))
    model = external(location)
    with pytest.raises(ModelRefused) as refused:
        open_model(model, folder)
    assert str(tmp_path) not in str(refused.value)


def test_an_operator_that_nobody_knows_is_refused_by_name(tmp_path, capfd):
    model = make(
        [helper.make_node("Frobnicate", ["x"], ["y"], domain="acme")],
        [value("x")],
        [value("y")],
        opsets=(("", 17), ("acme", 1)),
    )
    with pytest.raises(ModelRefused, match="Frobnicate"):
        open_model(model, tmp_path)
    assert capfd.readouterr() == ("", "")


def test_a_signature_that_is_not_the_models_is_refused(tmp_path):
    signature = Signature((TensorSpec("other", "FP32", (-1, 4)),), (), True)
    with pytest.raises(ModelRefused, match=r"inputs: expected \['other'\], the loaded model has"):
        OnnxRuntime(
            identity().SerializeToString(), tmp_path, signature, ModelSettings(device="cpu")
        )


def test_external_data_of_a_model_given_as_bytes_is_found_in_its_folder(tmp_path):
    weights = np.arange(8, dtype=np.float32).reshape(4, 2)
    model = make(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [value("x")],
        [value("y", ("rows", 2))],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(
        model,
        tmp_path / "model.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    content = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    (output,) = open_model(content, tmp_path).run([np.ones((1, 4), np.float32)], (0,))
    assert output.tolist() == [[12, 16]]


@pytest.mark.skipif(CUDA in ort.get_available_providers(), reason="there is CUDA here")
def test_without_cuda_auto_is_the_cpu_and_asking_for_cuda_is_refused(tmp_path):
    assert open_model(identity(), tmp_path, device="auto").device == "cpu"
    words = f"device 'cuda:1': wanted {CUDA}, available: .*CPUExecutionProvider"
    with pytest.raises(ModelRefused, match=words):
        open_model(identity(), tmp_path, device="cuda:1")


@pytest.mark.skipif(count_gpus() > 0, reason="there is a GPU here")
def test_a_provider_that_is_listed_and_does_not_work_is_left_or_refused_with_its_gpu(
    tmp_path, caplog, capfd
):
    content = identity().SerializeToString()
    signature = Signature(
        (TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (-1, 4)),), True
    )

    def open_on(device: str) -> OnnxRuntime:
        settings = ModelSettings(device=device)
        return OnnxRuntime(content, tmp_path, signature, settings, 3, [CUDA, CPU])

    assert open_on("auto").device == "cpu"
    assert "device 'auto': GPU 3: " in caplog.text
    for device, number in (("cuda", 3), ("cuda:1", 1)):
        with pytest.raises(ModelRefused, match=f"device '{device}': GPU {number}: "):
            open_on(device)
    # What loads CUDA's libraries prints what it misses.
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("level", ["disabled", "basic", "extended", "all"])
def test_every_optimisation_level_loads(level, tmp_path):
    runtime = open_model(identity(), tmp_path, optimization=level, intra_op_threads=2)
    assert runtime.threads == 2


def test_a_closed_runtime_has_let_go_of_its_session(tmp_path):
    runtime = open_model(identity(), tmp_path)
    runtime.close()
    with pytest.raises(ModelFailed):
        runtime.run([np.ones((1, 4), np.float32)], (0,))
