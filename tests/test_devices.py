"""GPUs are counted, shared out and turned into workers without a GPU and without CUDA."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gateway.config import Config
from gateway.devices import count_gpus, default_workers, number, share, used_gpus


def machine(root, driver: int, nodes: int):
    for place in range(driver):
        (root / f"proc/driver/nvidia/gpus/0000:0{place}:00.0").mkdir(parents=True)
    (root / "dev").mkdir()
    for place in range(nodes):
        (root / f"dev/nvidia{place}").touch()
    for other in ("nvidiactl", "nvidia-uvm", "null"):
        (root / "dev" / other).touch()
    return root


@pytest.mark.parametrize(
    ("driver", "nodes", "gpus"),
    [
        pytest.param(0, 0, 0, id="none"),
        pytest.param(4, 4, 4, id="both-agree"),
        pytest.param(8, 1, 1, id="container-with-one-of-the-hosts"),
        pytest.param(2, 0, 2, id="devices-still-to-be-made"),
        pytest.param(0, 3, 3, id="no-proc"),
    ],
)
def test_gpus_are_counted_from_what_the_driver_shows(driver, nodes, gpus, tmp_path):
    assert count_gpus({}, machine(tmp_path, driver, nodes)) == gpus


@pytest.mark.parametrize(
    ("listed", "gpus"),
    [
        pytest.param("", 0, id="empty"),
        pytest.param("-1", 0, id="minus-one"),
        pytest.param("NoDevFiles", 0, id="word"),
        pytest.param("0", 1, id="first"),
        pytest.param("3,1", 2, id="reordered"),
        pytest.param(" 0 , 2 ", 2, id="spaces"),
        pytest.param("0,-1,1", 1, id="stops-at-minus-one"),
        pytest.param("0,4,1", 1, id="stops-at-one-that-is-not-there"),
        pytest.param("0,0", 1, id="repeated"),
        pytest.param("GPU-8932f937,GPU-11111111", 2, id="by-uuid"),
        pytest.param("GPU-1,GPU-2,GPU-3,GPU-4,GPU-5", 4, id="more-uuids-than-gpus"),
        pytest.param("MIG-1,MIG-2", 1, id="slices"),
        pytest.param("0,1,2,3", 4, id="all"),
    ],
)
def test_the_environment_narrows_them_as_cuda_does(listed, gpus, tmp_path):
    root = machine(tmp_path, 4, 4)
    assert count_gpus({"CUDA_VISIBLE_DEVICES": listed}, root) == gpus


def test_naming_gpus_makes_none(tmp_path):
    root = machine(tmp_path, 0, 0)
    assert [count_gpus({"CUDA_VISIBLE_DEVICES": listed}, root) for listed in ("0", "GPU-1")] == [
        0,
        0,
    ]


@pytest.mark.parametrize(
    ("gpus", "shares"), [(0, [0, 0, 0, 0]), (1, [0, 0, 0, 0]), (2, [0, 1, 0, 1]), (3, [0, 1, 2, 0])]
)
def test_workers_take_gpus_in_turn(gpus, shares):
    assert [share(slot, gpus) for slot in range(4)] == shares


@pytest.mark.parametrize(
    ("device", "taken"), [("auto", 2), ("cuda", 2), ("cuda:0", 0), ("cuda:11", 11)]
)
def test_a_number_in_the_configuration_is_taken_literally(device, taken):
    assert number(device, 2) == taken


def document(default: str = "auto", **models: str | None) -> Config:
    sections = {name: {"device": at} if at else {} for name, at in models.items()}
    return Config.model_validate({"defaults": {"device": default}, "models": sections})


@pytest.mark.parametrize(
    ("config", "gpus", "used"),
    [
        pytest.param(document(), 4, 4, id="one-per-gpu"),
        pytest.param(document(), 0, 0, id="no-gpus"),
        pytest.param(document("cpu"), 4, 0, id="cpu-by-default"),
        pytest.param(document("cpu", m=None), 4, 0, id="cpu-inherited"),
        pytest.param(document("cpu", m="cuda"), 4, 4, id="one-model-on-gpus"),
        pytest.param(document("cpu", m="cuda:1"), 4, 1, id="one-gpu-named"),
        pytest.param(document("cuda:0", m="cuda:2", n="cpu"), 4, 2, id="two-gpus-named"),
        pytest.param(document("cuda:7"), 4, 0, id="named-and-not-there"),
    ],
)
def test_there_is_one_worker_per_gpu_in_use_else_one_per_core(config, gpus, used):
    assert used_gpus(config, gpus) == used
    assert default_workers(config, gpus, cores=16) == (used or 16)


def test_counting_does_not_load_what_could_start_cuda():
    code = (
        "import sys, gateway.devices as d; d.count_gpus();"
        "print([m for m in ('onnxruntime', 'torch', 'pynvml') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"
