"""Real rows are captured, learnt from again, and erased without a trace, with kills in between."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet

from gateway.capture.files import FOLDER, files_in
from loadtest import bodies
from tests.end_to_end.server import DEMO_MODEL, RunningServer, eventually, running
from tests.end_to_end.test_outcomes import kill, post
from tests.end_to_end.test_reload import penstock

MODEL = "breast_cancer"
FEATURES = DEMO_MODEL.with_suffix(".csv").read_text().split("\n", 1)[0].split(",")[:30]
CONFIG = f"""
ledger: {{enabled: true}}
capture: {{file_s: 1}}
models:
  {MODEL}:
    feature_names: [{", ".join(FEATURES)}]
    capture: {{mode: full, subject: patient, mask: [mean_texture], hash: [mean_area]}}
"""
MARK = 41.6253  # a value that no other row has

# As anybody would write it who knows nothing of Penstock.
TRAIN = """
import sys, json
import numpy as np, pyarrow.parquet as parquet
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

table = parquet.read_table(sys.argv[1])
names = [n for n in json.loads(table.schema.metadata[b"penstock.features"])
         if table[n].type == "float" and table[n].null_count == 0]
X = np.column_stack([table[name].to_numpy() for name in names])
y = table["outcome"].to_numpy()
half = len(y) // 2
model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(X[:half], y[:half])
print(json.dumps([len(names), len(y), model.score(X[half:], y[half:])]))
"""


class Patients:
    """Asks about real rows, one request for each few of a patient's."""

    def __init__(self) -> None:
        lines = DEMO_MODEL.with_suffix(".csv").read_text().splitlines()
        place = lines[0].split(",").index("target")
        self._targets = [int(line.split(",")[place]) for line in lines[1:]]
        self._rows = bodies._real_rows().astype(np.float32)
        self._rng = np.random.default_rng(5)
        self.outcomes: list[dict] = []
        self.of: dict[str, list[str]] = {}

    def ask(self, server: RunningServer, requests: int, patient: str, mark: bool = False) -> None:
        for _ in range(requests):
            chosen = self._rng.integers(len(self._rows), size=4)
            rows = self._rows[chosen].copy()
            if mark:
                rows[:, 0] = MARK
            body = json.loads(bodies.json_body(rows)) | {"parameters": {"patient": patient}}
            answer = server.request("POST", f"/v2/models/{MODEL}/infer", json.dumps(body).encode())
            assert answer.status == 200, answer.body
            name = answer.headers["penstock-request-id"]
            self.of.setdefault(patient, []).append(name)
            self.outcomes += [
                {"id": name, "row": row, "outcome": self._targets[place]}
                for row, place in enumerate(chosen.tolist())
            ]


def captured(server: RunningServer) -> dict:
    (found,) = server.admin("GET", "/api/captures").json()["versions"]
    return found


def traces(home: Path, *texts: str) -> list[str]:
    """Files of a home, their columns unpacked, in which one of some texts is found."""
    mark = np.float32(MARK)
    found = []
    for path in home.rglob("*"):
        if not path.is_file():
            continue
        content = path.read_bytes()
        if path.suffix == ".parquet":
            content += repr(parquet.read_table(path).to_pydict()).encode()
        wanted = [text.encode() for text in texts] + [mark.tobytes(), np.float64(mark).tobytes()]
        found += [path.name for text in wanted if text in content]
    return found


def test_what_was_captured_trains_a_model_and_is_erased_without_a_trace(tmp_path: Path) -> None:
    home, out = tmp_path / "home", tmp_path / "rows.parquet"
    home.mkdir()
    patients = Patients()
    log = tmp_path / "server.log"
    with running(home, DEMO_MODEL, "--workers", "2", config=CONFIG, log=log) as server:
        patients.ask(server, 60, "somebody")
        patients.ask(server, 5, "marked-patient", mark=True)
        eventually(lambda: captured(server)["rows"] == 260)
        kill(server, "worker")
        kill(server, "control")
        patients.ask(server, 40, "somebody")
        patients.ask(server, 1, "single-patient")
        eventually(lambda: captured(server)["rows"] == 424)
        found = captured(server)
        assert (found["waiting"], found["dropped"]) == (0, {"ring": 0, "error": 0, "lost": 0})
        assert server.metric("penstock_capture_rows_total", model=MODEL) == 424
        assert server.metric("penstock_capture_files_bytes", model=MODEL) == found["bytes"]
        known = patients.outcomes[:-44]
        assert post(server, known) == {"accepted": len(known)}
        trains_on(home, out, len(known))
        out.unlink()
        erases(server, patients)
        left = penstock("export", MODEL, "--home", home, "--out", out)
        assert (left["captured"], left["labelled"], left["uncaptured"]) == (400, 360, 0)
        assert server.admin("GET", "/api/outcomes").json()["outcomes"]["unknown"] == 0
    offline = penstock("erase", "--subject", "somebody", "--home", home)
    assert (offline["requests"], offline["rows"], offline["records"]) == (100, 400, 400)
    assert traces(home, *patients.of["somebody"]) == []
    assert files_in(home / FOLDER) == []
    audit = penstock("audit", "list", "--home", home)
    erased = [one for one in audit if one["action"] == "erase"]
    assert len(erased) == len({one["subject"] for one in erased}) + 1 == 4  # one was repeated
    assert penstock("audit", "verify", "--home", home)["ok"]
    assert "Traceback" not in log.read_text()


def trains_on(home: Path, out: Path, labelled: int) -> None:
    """A stock scikit-learn script learns from what is exported, without another word."""
    words = ("--labelled", "--window", "7d", "--out", out)
    found = penstock("export", MODEL, "--home", home, *words)
    assert (found["rows"], found["captured"], found["uncaptured"]) == (labelled, 424, 0)
    assert found["features"] == FEATURES
    table = parquet.read_table(out)
    assert set(table["mean_texture"].to_pylist()) == {None}
    assert {len(one) for one in table["mean_area"].to_pylist()} == {32}
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(out)], capture_output=True, text=True, timeout=60
    )
    names, rows, score = json.loads(done.stdout)
    assert (names, rows) == (28, labelled), done.stderr
    assert score > 0.85


def erases(server: RunningServer, patients: Patients) -> None:
    home = server.home
    marked, (single,) = patients.of["marked-patient"], patients.of["single-patient"]
    assert traces(home, *marked) != []
    words = ("--subject", "marked-patient", "--home", home)
    found = penstock("erase", *words)
    assert (found["requests"], found["rows"], found["records"]) == (5, 20, 20)
    found = penstock("erase", "--request-id", single, "--home", home)
    assert (found["requests"], found["rows"], found["records"]) == (1, 4, 4)
    assert found["begun_anew"] == [f"{MODEL}/1"]
    assert traces(home, *marked, single, "marked-patient", "single-patient") == []
    assert penstock("erase", *words)["rows"] == 0
