"""What the gateway is compared with, each as a small program of its own.

    python -m loadtest.baselines constant PORT           # ASGI on uvicorn, constant answer
    python -m loadtest.baselines image MODEL.onnx PORT   # Starlette: orjson, np.array, the same run
    python -m loadtest.baselines loop MODEL.onnx         # bare ONNX Runtime, orders come on stdin

Knows each baseline. Knows nothing of the gateway, of load or of turns.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np

ANSWER = (
    b'{"model_name":"gbt","model_version":"1","outputs":[{"name":"probabilities","shape":[1,2],'
    b'"datatype":"FP32","data":[0.9876543,0.0123457]}]}'
)


def session(model: str) -> Any:
    """An ONNX Runtime session as the gateway's defaults make it: CPU, one thread."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


async def constant(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI callable that reads the body and answers what it always answers."""
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


def image_app(model: str) -> Any:
    """The route a careful user would write: orjson, `np.array`, one run, orjson."""
    import orjson
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    run = session(model)

    async def infer(request: Request) -> Response:
        tensor = orjson.loads(await request.body())["inputs"][0]
        array = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
        out = run.run(None, {tensor["name"]: array})[0]
        answer = {"name": "mean", "shape": out.shape, "datatype": "FP32", "data": out.ravel()}
        body = orjson.dumps({"outputs": [answer]}, option=orjson.OPT_SERIALIZE_NUMPY)
        return Response(body, media_type="application/json")

    return Starlette(routes=[Route("/infer", infer, methods=["POST"])])


def serve(app: Any, port: int) -> None:
    import uvicorn

    uvicorn.run(
        app,
        port=port,
        loop="uvloop",
        http="httptools",
        log_level="error",
        access_log=False,
        lifespan="off",
    )


# ---------------------------------------------------------------- bare ONNX Runtime


def loop(model: str) -> None:
    """Answers each line `{"seconds", "rows"}` on stdin with how much was done."""
    run = session(model)
    source = run.get_inputs()[0]
    names, tail = [run.get_outputs()[-1].name], source.shape[1:]
    rng = np.random.default_rng(3)
    for line in sys.stdin:
        order = json.loads(line)
        shape = (64, order["rows"], *tail)
        feeds = [{source.name: each} for each in rng.normal(size=shape).astype(np.float32)]
        run.run(names, feeds[0])
        print(json.dumps(_spin(run, names, feeds, order["seconds"], order["rows"])), flush=True)


def _spin(
    run: Any, names: list[str], feeds: list[Any], seconds: float, rows: int
) -> dict[str, float]:
    began, runs = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < seconds:
        run.run(names, feeds[runs % len(feeds)])
        runs += 1
    return {"rows_per_s": runs * rows / spent, "ms_per_run": spent / runs * 1e3}


class BareLoop:
    """The bare loop in a process of its own, on given cores."""

    def __init__(self, model: Path, where: Sequence[int]) -> None:
        from loadtest.servers import ENVIRONMENT, ROOT, pinned

        command = [sys.executable, "-m", "loadtest.baselines", "loop", str(model)]
        with pinned(where):
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | ENVIRONMENT,
                cwd=ROOT,
                text=True,
            )

    def run(self, rows: int, seconds: float) -> dict[str, float]:
        """Runs that many rows at a time for so long: `rows_per_s`, `ms_per_run`."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"rows": rows, "seconds": seconds}) + "\n")
        self.process.stdin.flush()
        done: dict[str, float] = json.loads(self.process.stdout.readline())
        return done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()  # closes stdin, which ends it


def main() -> None:
    kind, *rest = sys.argv[1:]
    if kind == "constant":
        serve(constant, int(rest[0]))
    elif kind == "image":
        serve(image_app(rest[0]), int(rest[1]))
    elif kind == "loop":
        loop(rest[0])
    else:
        sys.exit(f"expected constant, image or loop, got {kind!r}")


if __name__ == "__main__":
    main()
