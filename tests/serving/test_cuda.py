"""Real ONNX Runtime sessions on a real GPU. Skipped where there is none."""

from __future__ import annotations

import ctypes
import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gateway.cli.demo_rows import DATA
from gateway.devices import count_gpus
from gateway.errors import ModelFailed, ModelRefused
from gateway.tensors import DTYPES
from tests.gpus import NEEDS_GPU, taken_bytes
from tests.models.builders import identity, make, perceptron, value
from tests.serving.sessions import ELEMENTS, open_model, values_of

pytestmark = NEEDS_GPU
MIB = 1 << 20


def convolution() -> onnx.ModelProto:
    kernel = np.random.default_rng(4).normal(size=(8, 3, 3, 3)).astype(np.float32)
    return make(
        [helper.make_node("Conv", ["x", "k"], ["y"], pads=[1, 1, 1, 1])],
        [value("x", ("rows", 3, 16, 16))],
        [value("y", ("rows", 8, 16, 16))],
        [numpy_helper.from_array(kernel, "k")],
    )


@pytest.mark.parametrize("datatype", sorted(DTYPES))
def test_every_datatype_goes_in_and_comes_out(datatype, tmp_path):
    model = identity(("rows", 3), ELEMENTS[datatype])
    model.opset_import[0].version = 21
    runtime = open_model(model, tmp_path, device="cuda")
    array = values_of(datatype)
    (output,) = runtime.run([array], (0,))
    assert (runtime.device, output.dtype) == ("cuda:0", DTYPES[datatype])
    assert output.tolist() == array.tolist()


@pytest.mark.parametrize("datatype", ["BF16", "BYTES", "FP32"])
def test_tensors_without_rows_go_through(datatype, tmp_path):
    model = identity(("rows", 3), ELEMENTS[datatype])
    runtime = open_model(model, tmp_path, device="cuda")
    (output,) = runtime.run([values_of(datatype, (0, 3))], (0,))
    assert (output.shape, output.dtype) == ((0, 3), DTYPES[datatype])


@pytest.mark.parametrize("rows", [1, 7, 128])
@pytest.mark.parametrize(
    ("model", "shape"),
    [
        pytest.param(perceptron(512, 1024, 1024, 4), (512,), id="perceptron"),
        pytest.param(convolution(), (3, 16, 16), id="convolution"),
    ],
)
def test_answers_are_the_cpus(model, shape, rows, tmp_path):
    x = np.random.default_rng(rows).normal(size=(rows, *shape)).astype(np.float32)
    (here,) = open_model(model, tmp_path).run([x], (0,))
    (there,) = open_model(model, tmp_path, device="cuda").run([x], (0,))
    # As close as two ways to add the same single-precision products up.
    assert np.linalg.norm(there - here) / np.linalg.norm(here) < 1e-5


@pytest.mark.parametrize(("tf32", "alike"), [(False, True), (True, False)])
def test_a_rows_answer_does_not_depend_on_its_neighbours_unless_told_to(tf32, alike, tmp_path):
    runtime = open_model(perceptron(512, 1024, 1024, 4), tmp_path, device="cuda", tf32=tf32)
    x = np.random.default_rng(1).normal(size=(128, 512)).astype(np.float32)
    (together,) = runtime.run([x], (0,))
    alone = np.concatenate([runtime.run([row[None]], (0,))[0] for row in x])
    assert (np.linalg.norm(alone - together) / np.linalg.norm(together) < 1e-5) is alike


def test_the_demos_trees_answer_as_on_the_cpu(tmp_path):
    model = onnx.load(DATA / "breast_cancer.onnx")
    x = np.random.default_rng(0).uniform(0, 30, (64, 30)).astype(np.float32)
    wanted = range(len(model.graph.output))
    here = open_model(model, tmp_path).run([x], wanted)
    there = open_model(model, tmp_path, device="cuda").run([x], wanted)
    for one, other in zip(here, there, strict=True):
        assert np.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(
    ("device", "opened"), [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:0", "cuda:0")]
)
def test_a_device_is_found(device, opened, tmp_path):
    assert open_model(identity(), tmp_path, device=device).device == opened


def test_a_gpu_that_is_not_there_is_refused_by_its_number(tmp_path, capfd):
    absent = count_gpus() + 6
    with pytest.raises(ModelRefused, match=f"device 'cuda:{absent}': GPU {absent}: ") as refused:
        open_model(identity(), tmp_path, device=f"cuda:{absent}")
    assert f"Invalid device ID: {absent}" in str(refused.value)
    assert "/" not in str(refused.value)
    assert capfd.readouterr() == ("", "")
    # And has not spoilt the one that is.
    assert open_model(identity(), tmp_path, device="cuda").device == "cuda:0"


def test_several_threads_share_a_session(tmp_path):
    model = perceptron(16, 64, 1)
    runtime, here = open_model(model, tmp_path, device="cuda"), open_model(model, tmp_path)
    inputs = [np.full((1 + n % 5, 16), n / 7, np.float32) for n in range(200)]

    def ask(x: np.ndarray) -> bool:
        (there,) = runtime.run([x], (0,))
        return np.allclose(there, here.run([x], (0,))[0], rtol=1e-4, atol=1e-4)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, inputs))


def expanding() -> onnx.ModelProto:
    return make(
        [helper.make_node("Expand", ["x", "shape"], ["y"])],
        [value("x", (1, 1)), value("shape", (2,), TensorProto.INT64)],
        [value("y", ("rows", "columns"))],
    )


def test_outputs_that_were_refused_leave_no_memory_of_the_gpu_behind(tmp_path):
    settings = {"device": "cuda", "max_output_bytes": 8192}
    runtime = open_model(expanding(), tmp_path, batched=False, **settings)

    def run(rows: int) -> int:
        runtime.run([np.ones((1, 1), np.float32), np.array([rows, 1024])], (0,))
        return taken_bytes()

    before = run(1)
    with pytest.raises(ModelFailed, match="outputs hold 1073741824 bytes"):
        run(262_144)
    assert run(1) - before < 64 * MIB


def test_a_run_that_asks_for_more_than_there_is_fails_and_the_next_one_does_not(tmp_path):
    runtime = open_model(expanding(), tmp_path, batched=False, device="cuda")
    one = np.ones((1, 1), np.float32)
    with pytest.raises(ModelFailed, match="model run failed: ") as failed:
        runtime.run([one, np.array([1 << 30, 1024])], (0,))
    assert "/" not in str(failed.value)
    (output,) = runtime.run([one, np.array([2, 2])], (0,))
    assert output.tolist() == [[1, 1], [1, 1]]


@pytest.fixture
def crowded():
    """A first GPU of whose memory somebody else has all but some."""
    taken_bytes()  # makes its context this thread's
    cuda, free, total = ctypes.CDLL("libcuda.so.1"), ctypes.c_size_t(), ctypes.c_size_t()
    assert cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)) == 0
    place = ctypes.c_uint64()
    assert cuda.cuMemAlloc_v2(ctypes.byref(place), ctypes.c_size_t(free.value - 64 * MIB)) == 0
    yield
    taken_bytes()
    assert cuda.cuMemFree_v2(place) == 0


def test_a_model_that_finds_no_room_is_refused_or_stays_on_the_cpu(crowded, tmp_path, capfd):
    model = perceptron(4096, 4096, 4096)  # 128 MiB of weights
    with pytest.raises(ModelRefused, match="device 'cuda': GPU 0: ") as refused:
        open_model(model, tmp_path, device="cuda")
    assert "memory" in str(refused.value)
    assert not {"/", socket.gethostname()} & set(str(refused.value).replace("/", " / ").split())
    assert open_model(model, tmp_path, device="auto").device == "cpu"
    assert capfd.readouterr() == ("", "")


def test_a_failing_run_says_what_failed(tmp_path):
    reshape = make(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        [value("x", ("rows", "length"))],
        [value("y", ("rows", 3))],
        [numpy_helper.from_array(np.array([-1, 3], np.int64), "shape")],
    )
    runtime = open_model(reshape, tmp_path, device="cuda")
    with pytest.raises(ModelFailed, match=r"(?i)reshape") as failed:
        runtime.run([np.ones((1, 4), np.float32)], (0,))
    assert "/" not in str(failed.value)


def test_a_closed_runtime_gives_its_weights_memory_back(tmp_path):
    model = perceptron(4096, 4096, 4096)  # 128 MiB of weights
    open_model(identity(), tmp_path, device="cuda")  # what CUDA itself takes
    before = taken_bytes()
    runtime = open_model(model, tmp_path, device="cuda")
    assert taken_bytes() - before >= 128 * MIB
    runtime.close()
    assert taken_bytes() - before < 64 * MIB


def test_text_stays_on_the_cpu_beside_numbers_on_the_gpu(tmp_path):
    model = make(
        [
            helper.make_node("MatMul", ["x", "w"], ["y"]),
            helper.make_node("Identity", ["s"], ["t"]),
        ],
        [value("x"), value("s", ("rows", 1), TensorProto.STRING)],
        [value("y", ("rows", 2)), value("t", ("rows", 1), TensorProto.STRING)],
        [numpy_helper.from_array(np.ones((4, 2), np.float32), "w")],
    )
    runtime = open_model(model, tmp_path, device="cuda")
    inputs = [np.ones((1, 4), np.float32), np.array([["é".encode()]], object)]
    y, t = runtime.run(inputs, (0, 1))
    assert (y.tolist(), t.tolist()) == ([[4, 4]], [["é".encode()]])
