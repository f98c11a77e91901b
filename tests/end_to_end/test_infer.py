"""`penstock infer` against a running server: what is asked, printed, and told where it fails."""

from __future__ import annotations

import csv
import json
import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gateway.cli.demo_rows import DATA, read_rows
from tests.end_to_end import commands
from tests.models.builders import linear, save

COMMAND = [*commands.PENSTOCK, "infer"]
CSV = str(DATA / "breast_cancer.csv")

Infer = Callable[..., subprocess.CompletedProcess[str]]


def url(server) -> tuple[str, str]:
    return ("--url", f"http://127.0.0.1:{server.port}")


def infer(*words: str, given: str = "", home: Path | None = None):
    environment = os.environ | ({"PENSTOCK_HOME": str(home)} if home else {})
    if not given:
        return commands.penstock("infer", *words, environment=environment)
    return subprocess.run(
        [*COMMAND, *words], input=given, capture_output=True, text=True, timeout=60, env=environment
    )


@pytest.fixture(scope="module")
def names() -> list[str]:
    with (DATA / "breast_cancer.csv").open(newline="") as file:
        return next(csv.reader(file))


def test_every_row_of_a_file_is_answered(server, names):
    run = infer("breast_cancer", "--data", CSV, "--drop", ",".join(names[30:]), *url(server))
    assert (run.returncode, run.stderr) == (0, "")
    lines = list(csv.DictReader(run.stdout.splitlines()))
    rows = read_rows()
    assert [int(line["label"]) for line in lines] == [row.label for row in rows]
    chances = [float(list(line.values())[-1]) for line in lines]
    np.testing.assert_allclose(chances, [row.probability for row in rows], atol=1e-5)


def test_json_is_an_object_a_row(server, names):
    words = ("--columns", ",".join(names[:30]), "--limit", "3", "--batch", "2", "--json")
    run = infer("breast_cancer", "--data", CSV, *words, *url(server))
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert [line["label"] for line in lines] == [row.label for row in read_rows()[:3]]
    assert all(len(line["probabilities"]) == 2 for line in lines)


def test_only_the_outputs_asked_for_are_printed(server, names):
    words = ("--drop", ",".join(names[30:]), "--limit", "1", "--output", "label")
    run = infer("breast_cancer", "--data", CSV, *words, *url(server))
    assert run.stdout == f"label\n{read_rows()[0].label}\n"


def test_arrays_and_standard_input(server, names, tmp_path):
    rows = np.array([row.values for row in read_rows()[:4]], np.float32)
    np.save(tmp_path / "rows.npy", rows)
    by_file = infer("breast_cancer", "--data", str(tmp_path / "rows.npy"), *url(server))
    text = "".join(",".join(line) + "\n" for line in [names[:30], *rows.astype(str).tolist()])
    by_pipe = infer("breast_cancer", "--data", "-", *url(server), given=text)
    assert by_file.stdout.count("\n") == 5
    assert by_file.stdout == by_pipe.stdout


def test_columns_that_do_not_fit_are_told_with_what_helps(server, names):
    run = infer("breast_cancer", "--data", CSV, "--json", *url(server))
    assert run.returncode == 1
    failure = json.loads(run.stdout)
    assert failure["code"] == "wrong_inputs"
    assert f"takes 30 columns, got 34: {names[0]}" in failure["error"]
    assert f"--drop {','.join(names[30:])}" in failure["error"]


def test_a_refusal_names_the_rows_and_those_before_are_printed(start, tmp_path):
    server = start(
        save(tmp_path, linear(), "m.onnx"), "--workers", "1", config="defaults: {max_batch_size: 4}"
    )
    with_width = server.get("/v2/models/m").json()["inputs"][0]["shape"][1]
    np.save(tmp_path / "rows.npy", np.ones((9, with_width), np.float32))
    data = ("--data", str(tmp_path / "rows.npy"))
    whole = infer("m", *data, "--batch", "4", *url(server))
    assert (whole.returncode, whole.stdout.count("\n")) == (0, 10)
    refused = infer("m", *data, "--batch", "8", *url(server))
    assert refused.returncode == 1
    assert refused.stderr.startswith("penstock: rows 1 to 8: ")
    assert "must be <= 4" in refused.stderr


def test_without_an_url_the_server_of_the_home_is_asked(start, home, tmp_path):
    server = start(save(tmp_path, linear(), "m.onnx"), "--workers", "1", home=home)
    width = server.get("/v2/models/m").json()["inputs"][0]["shape"][1]
    np.save(tmp_path / "rows.npy", np.ones((1, width), np.float32))
    run = infer("m", "--data", str(tmp_path / "rows.npy"), home=home)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("nosuch", "--data", CSV), "model_not_found"),
        (("breast_cancer", "--data", "nowhere.csv"), "invalid_parameter"),
        (("breast_cancer", "--data", "rows.parquet"), "invalid_parameter"),
        (("breast_cancer", "--data", CSV, "--limit", "0"), "usage"),
    ],
)
def test_a_failure_is_told(server, words, code):
    run = infer(*words, *url(server), "--json")
    assert (json.loads(run.stdout)["code"], run.returncode) == (code, 2 if code == "usage" else 1)


def test_where_nobody_listens_it_says_so():
    run = infer("m", "--data", CSV, "--url", "http://127.0.0.1:1")
    assert run.returncode == 1
    assert run.stderr.startswith("penstock: http://127.0.0.1:1: no connection")


def test_on_a_terminal_it_is_a_table(server, names):
    main, terminal = pty.openpty()
    words = ("--drop", ",".join(names[30:]), "--limit", "2", *url(server))
    command = [*COMMAND, "breast_cancer", "--data", CSV, *words]
    with subprocess.Popen(command, stdout=terminal, stderr=subprocess.DEVNULL) as run:
        os.close(terminal)
        run.wait(60)
    printed = os.read(main, 65_536).decode().splitlines()
    os.close(main)
    assert printed[0].split()[0] == "label"
    assert (len(printed), "," in printed[1]) == (3, False)
