"""Whole servers whose models run on a real GPU. Skipped where there is none."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import onnx
import pytest

from gateway.tensors import Array
from tests.end_to_end.commands import penstock
from tests.end_to_end.server import DEMO_MODEL, RunningServer, eventually
from tests.gpus import GPUS, NEEDS_GPU, holders
from tests.models.builders import perceptron
from tests.serving.sessions import open_model

pytestmark = NEEDS_GPU
WIDE = perceptron(256, 1024, 8)
HEAVY = (2048, 2048, 2048, 2048)  # 48 MiB of weights
MIB = 1 << 20


def section(folder, model: onnx.ModelProto, **settings: object) -> str:
    """A configuration document that holds the model as `wide`."""
    path = folder / "wide.onnx"
    onnx.save(model, path)
    return json.dumps({"models": {"wide": {"path": str(path), **settings}}})


def body(x: Array) -> bytes:
    tensor = {"name": "x", "shape": x.shape, "datatype": "FP32", "data": x.ravel().tolist()}
    return json.dumps({"inputs": [tensor]}).encode()


def rows(count: int, width: int = 256, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def read(answer) -> Array:
    assert answer.status == 200, answer.body
    (output,) = answer.json()["outputs"]
    return np.array(output["data"], np.float32).reshape(output["shape"])


def ask(server: RunningServer, x: Array) -> Array:
    return read(server.request("POST", "/v2/models/wide/infer", body(x)))


def workers(server: RunningServer) -> list[dict]:
    return server.status()["workers"]


def test_a_server_takes_the_gpu_by_itself_with_one_worker_for_each(start, tmp_path):
    server = start(config=section(tmp_path, WIDE))
    assert len(workers(server)) == GPUS
    x = rows(9)
    assert np.allclose(ask(server, x), open_model(WIDE, tmp_path).run([x], (0,))[0], atol=1e-4)
    pids = {one["pid"] for one in workers(server)}
    assert pids <= set(holders())
    # Who forks them must never have started CUDA, nor does control.
    assert not {server.process.pid, server.status()["control"]} & set(holders())


def test_two_workers_share_a_gpu(start, tmp_path):
    server = start("--workers", "2", config=section(tmp_path, WIDE, device="cuda:0"))
    assert {one["pid"] for one in workers(server)} <= set(holders())
    (expected,) = open_model(WIDE, tmp_path).run([rows(1)], (0,))
    answers = server.at_once("/v2/models/wide/infer", [body(rows(1))] * 16)
    assert all(np.allclose(read(one), expected, atol=1e-4) for one in answers)


def test_requests_that_come_together_share_runs_on_the_gpu(start, tmp_path):
    document = section(tmp_path, WIDE, device="cuda", max_queue_delay_ms=500, max_batch_size=16)
    server = start("--workers", "1", config=document)
    before = server.metric("penstock_executions_total", model="wide")
    xs = [rows(1, seed=n) for n in range(32)]
    answers = server.at_once("/v2/models/wide/infer", map(body, xs))
    (expected,) = open_model(WIDE, tmp_path).run([np.concatenate(xs)], (0,))
    assert np.allclose(np.concatenate([read(one) for one in answers]), expected, atol=1e-4)
    assert server.metric("penstock_executions_total", model="wide") - before <= 8


def test_a_killed_worker_comes_back_on_the_gpu_and_nothing_of_it_stays_there(start, tmp_path):
    model = perceptron(*HEAVY)
    server = start("--workers", "1", config=section(tmp_path, model, device="cuda"))
    x = rows(3, HEAVY[0])
    was, (victim,) = ask(server, x), workers(server)
    held = holders()[victim["pid"]]
    os.kill(victim["pid"], signal.SIGKILL)
    eventually(lambda: workers(server)[0]["epoch"] == victim["epoch"] + 1)
    eventually(lambda: workers(server)[0]["state"] == "ready")
    assert np.array_equal(ask(server, x), was)
    after = holders()
    assert victim["pid"] not in after
    # What a worker takes is not doubled by its trial, its predecessor or a second session.
    assert after[workers(server)[0]["pid"]] < held + 32 * MIB
    server.stop()
    assert not {victim["pid"], *after} & set(holders())


def test_a_reload_lets_go_of_the_old_weights(start, tmp_path):
    server = start("--workers", "1", config=section(tmp_path, perceptron(*HEAVY), device="cuda"))
    x, (worker,) = rows(2, HEAVY[0]), workers(server)
    was = ask(server, x)

    def replace(seed: int) -> int:
        onnx.save(perceptron(*HEAVY, seed=seed), tmp_path / "wide.onnx")
        assert server.admin("POST", "/api/reload").status == 200
        eventually(lambda: not np.allclose(ask(server, x), was))
        return holders()[worker["pid"]]

    first = replace(4)
    was = ask(server, x)
    eventually(lambda: holders()[worker["pid"]] < first + 96 * MIB)
    replace(5)
    eventually(lambda: holders()[worker["pid"]] < first + 96 * MIB)


def test_a_gpu_that_is_not_there_is_refused_and_told(start, tmp_path):
    absent = f"cuda:{GPUS + 6}"
    document = section(tmp_path, WIDE, device=absent)
    server = start(DEMO_MODEL, "--workers", "1", config=document, ready=False)
    lines = server.post("/v2/repository/index").json()
    (reason,) = [line["reason"] for line in lines if line["name"] == "wide"]
    assert f"device '{absent}': GPU {GPUS + 6}: " in reason
    assert server.get("/v2/models/breast_cancer/ready").status == 200


@pytest.mark.parametrize(
    ("device", "state", "words"),
    [("cuda", "ok", f"{GPUS} GPUs"), (f"cuda:{GPUS}", "fail", "is not there is asked for by wide")],
)
def test_doctor_says_what_it_finds(device, state, words, home, tmp_path):
    file = tmp_path / "penstock.yaml"
    file.write_text(section(tmp_path, WIDE, device=device))
    told = penstock("doctor", "--config", file, "--home", home).stdout.splitlines()
    runtime, packages, cores = (
        next(line for line in told if line[6:].startswith(check))
        for check in ("runtime", "packages", "cores")
    )
    assert runtime.startswith(state)
    assert words in runtime
    assert f"(one for each of {GPUS} GPUs)" in cores or state == "fail"
    assert packages.startswith("ok"), "the GPU's build of ONNX Runtime is one, too"
