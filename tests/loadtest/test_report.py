"""The page says what was wanted, what was measured, where, when, and what did not run."""

from __future__ import annotations

import json

import pytest

from loadtest import report
from loadtest.bodies import Pool, binary_body, demo_rows, json_body
from loadtest.scenarios import SCENARIOS
from loadtest.turns import Measure, Result
from loadtest.wrk import Report, parse, write_script

WHEN = {"commit": "0123456789ab", "dirty": True, "date": "2026-01-02T03:04:05+00:00", "rounds": 20}


def document(*results: Result) -> dict:
    stamped = [result.document() | WHEN for result in results]
    return {"machine": report.machine(), "results": stamped}


def test_the_page_has_a_row_for_every_measure_with_its_interval_and_verdict():
    measures = [Measure("share of nginx", [0.4, 0.5, 0.6], ">=", 0.38)]
    measures.append(Measure("p99", [70_000.0], "<=", 50.0, "ms"))
    page = report.render(document(Result("r", "One row", measures, detail={"rps": 43_800.0})))
    assert "| One row | share of nginx >= 0.38 | 0.5 | 0.4 to 0.6 | 3 | yes |" in page
    assert "|  | p99 <= 50 ms | 70,000 ms | 70,000 to 70,000 | 1 | no |" in page
    assert "- rps: 43,800" in page


def test_the_page_names_machine_commit_and_date():
    page = report.render(document(Result("r", "t", [Measure("m", [1.0])])))
    assert "0123456789ab with uncommitted changes" in page
    assert "2026-01-02T03:04:05+00:00" in page
    assert report.machine()["cpu"] in page
    assert "onnxruntime " in page


def test_what_did_not_run_or_broke_is_not_reached():
    broken = Result("b", "Broken", faults=1, detail={"error": "no answer"})
    page = report.render(document(Result("s", "Skipped", skipped="wrk is not installed"), broken))
    assert "| Skipped | | skipped: wrk is not installed | | | |" in page
    assert "| Broken | | failed: no answer | | | no |" in page
    assert "yes" not in page.split("## Details")[0].split("|---|")[1]


def test_faults_stand_in_the_verdict():
    page = report.render(document(Result("r", "t", [Measure("m", [1.0], ">=", 0.5)], faults=3)))
    assert "no (3 faults)" in page


def test_a_new_figure_replaces_the_old_one_of_its_name():
    old = document(*(Result(name, name, [Measure("m", [1.0])]) for name in "ab"))
    new = document(Result("b", "b", [Measure("m", [2.0])]), Result("c", "c", [Measure("m", [3.0])]))
    merged = report.merge(old, new)["results"]
    assert [(r["name"], r["measured"]) for r in merged] == [("a", 1.0), ("b", 2.0), ("c", 3.0)]


def test_another_machines_figures_are_dropped():
    other = report.machine() | {"cpu": "other"}
    old = document(Result("a", "a", [Measure("m", [1.0])])) | {"machine": other}
    assert report.merge(old, document())["results"] == []


def test_figures_of_another_interpreter_are_kept_and_say_so():
    other = report.machine() | {"python": "3.99", "kernel": "Hurd 1"}
    old = document(Result("a", "a", [Measure("m", [1.0])], detail={"x": 1})) | {"machine": other}
    merged = report.merge(old, document(Result("b", "b", [Measure("m", [1.0])], detail={"x": 1})))
    page = report.render(merged)
    assert page.count(", on Hurd 1 and Python 3.99") == 1
    assert "3.99" in page.split("## Details")[0]
    assert report.merge(merged, document())["results"][0]["python"] == "3.99"


def test_results_survive_the_file(tmp_path):
    results = document(Result("a", "a", [Measure("m", [1.0])]))
    report.write(results, tmp_path / "results" / "latest.json")
    assert report.read(tmp_path / "results" / "latest.json") == results
    assert report.read(tmp_path / "none.json") is None


def test_every_scenario_says_in_one_line_what_it_is():
    assert all((scenario.__doc__ or "").strip() for scenario in SCENARIOS.values())


def test_wrks_report_is_read():
    text = """  Thread Stats   Avg      Stdev     Max   +/- Stdev
  Latency Distribution
     50%  420.00us
     75%    1.00ms
     99%    1.50s
  Socket errors: connect 0, read 2, write 0, timeout 3
  Non-2xx or 3xx responses: 4
Requests/sec:  43800.25
"""
    assert parse(text) == Report(43800.25, 0.42, 1500.0, 9)


def test_wrks_script_names_method_headers_and_pool(tmp_path):
    pool = Pool(tmp_path / "p", {"Content-Type": "application/json"})
    script = write_script(tmp_path / "load.lua", pool).read_text()
    assert 'wrk.method = "POST"' in script
    assert 'wrk.headers["Content-Type"] = "application/json"' in script


def test_json_and_binary_bodies_carry_the_same_rows():
    import numpy as np

    rows = demo_rows(2, np.random.default_rng(1))
    text = json.loads(json_body(rows, output="probabilities"))
    body, length = binary_body(rows, output="probabilities")
    head = json.loads(body[:length])
    assert np.array_equal(np.frombuffer(body[length:], "<f4"), rows.ravel())
    assert np.array_equal(np.float32(text["inputs"][0]["data"]), rows.ravel())
    assert text["inputs"][0]["shape"] == head["inputs"][0]["shape"] == [2, 30]
    assert head["inputs"][0]["parameters"] == {"binary_data_size": 240}


def test_the_readme_gets_the_table_between_its_marks_and_keeps_the_rest():
    empty = {"machine": report.machine(), "results": []}
    readme = f"before\n{report.BEGIN}\nold figures\n{report.END}\nafter\n"
    written = report.insert(empty, readme)
    assert written.startswith("before\n")
    assert written.endswith("\nafter\n")
    assert "old figures" not in written
    assert "| what | target | measured |" in written
    assert report.insert(empty, written) == written
    with pytest.raises(ValueError, match="README: expected"):
        report.insert(empty, "no marks")
