"""Files to inputs: which columns go where, and what is said where they do not fit."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gateway.cli.infer import labelled
from gateway.errors import InvalidParameter, InvalidTensor, WrongInputs, WrongOutputs
from gateway.rows.batch import Source
from gateway.rows.source import batches, format_of
from gateway.tensors import TensorSpec

WIDE = [TensorSpec("x", "FP32", (-1, 3))]
MIXED = [
    TensorSpec("age", "INT64", (-1, 1)),
    TensorSpec("job", "BYTES", (-1,)),
    TensorSpec("member", "BOOL", (-1, 1)),
]


def read(folder: Path, name: str, content: str | bytes, specs, size=100, limit=None, **options):
    """Every batch of a file with this content."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    source = Source(str(path), format_of(str(path)), **options)
    return [
        (batch.rows, batch.inputs)
        for batch in batches(source, specs, size, limit, lambda done, total: None)
    ]


def test_columns_become_the_one_input_in_their_order(tmp_path):
    ((rows, inputs),) = read(tmp_path, "a.csv", "a,b,c\n1,2,3\n4,,6.5\n", WIDE)
    assert (rows, inputs["x"].dtype) == (2, np.float32)
    np.testing.assert_array_equal(inputs["x"], [[1, 2, 3], [4, np.nan, 6.5]])


def test_columns_become_several_inputs_by_their_names(tmp_path):
    content = 'job,age,member\n"clerk, retired",61,TRUE\ncafé,7,0\n'
    ((_, inputs),) = read(tmp_path, "a.csv", content, MIXED)
    assert inputs["age"].tolist() == [[61], [7]]
    assert inputs["job"].tolist() == [b"clerk, retired", "café".encode()]
    assert inputs["member"].tolist() == [[True], [False]]


def test_columns_can_be_chosen_ordered_and_left_out(tmp_path):
    content = "target,c,b,a\n9,3,2,1\n"
    ((_, inputs),) = read(tmp_path, "a.csv", content, WIDE, columns=("a", "b", "c"))
    assert inputs["x"].tolist() == [[1, 2, 3]]
    ((_, inputs),) = read(tmp_path, "a.csv", content, WIDE, drop=("target",))
    assert inputs["x"].tolist() == [[3, 2, 1]]


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [(("1", ""), [1.0, np.nan]), (("True", "false"), [1.0, 0.0]), (("good", "2"), ["good", "2"])],
)
def test_a_label_is_no_input_and_comes_beside_them(tmp_path, cells, wanted):
    path = tmp_path / "a.csv"
    path.write_text("a,y,b,c\n" + "".join(f"1,{cell},2,3\n" for cell in cells))
    source = Source(str(path), "csv", label="y")
    (batch,) = batches(source, WIDE, 100, None, lambda done, total: None)
    assert batch.inputs["x"].tolist() == [[1, 2, 3]] * 2
    assert batch.labels is not None
    np.testing.assert_array_equal(batch.labels, np.array(wanted, batch.labels.dtype))


def test_a_label_that_is_no_column_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("a,b,c\n1,2,3\n")
    source = Source(str(tmp_path / "a.csv"), "csv", label="y")
    with pytest.raises(WrongInputs, match="no column y"):
        list(batches(source, WIDE, 100, None, lambda done, total: None))


def test_inner_shapes_are_filled_in_order(tmp_path):
    spec = [TensorSpec("x", "INT8", (-1, 2, 2))]
    ((_, inputs),) = read(tmp_path, "a.csv", "a,b,c,d\n1,2,3,4\n", spec)
    assert inputs["x"].tolist() == [[[1, 2], [3, 4]]]


def test_a_cell_may_hold_a_whole_row_of_an_input(tmp_path):
    content = '{"x": [1, null, 3], "m": [["a", "b"]]}\n{"m": [["c", "d"]], "x": [4, 5, 6]}\n'
    specs = [*WIDE, TensorSpec("m", "BYTES", (-1, 1, -1))]
    ((rows, inputs),) = read(tmp_path, "a.ndjson", content, specs)
    np.testing.assert_array_equal(inputs["x"], np.array([[1, np.nan, 3], [4, 5, 6]], np.float32))
    assert (rows, inputs["m"].tolist()) == (2, [[[b"a", b"b"]], [[b"c", b"d"]]])
    ((_, inputs),) = read(tmp_path, "a.ndjson", '{"x": [1, 2, 3]}\n', WIDE)
    assert inputs["x"].tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ('{"x": [1, 2]}', InvalidTensor, "expected rows of shape [3], got [2]"),
        ('{"x": [[1, 2, 3]]}', InvalidTensor, "expected rows of shape [3], got [1, 3]"),
        ('{"x": [1, 2, 3]}\n{"x": 4}', InvalidTensor, "expected rows of shape [3], got [1]"),
        ('{"x": [1, 2, "z"]}', InvalidTensor, "row 1, column x: expected a value of FP32, got 'z'"),
        ('{"x": [1, 2, 3], "id": 7}', WrongInputs, "got x, id; --drop id leaves the rest"),
        ('{"x": 1}', WrongInputs, "takes 3 columns, got 1: x"),
    ],
    ids=["length", "depth", "later-no-list", "text", "extra", "no-list"],
)
def test_a_list_that_is_no_row_of_its_input_is_refused(tmp_path, content, error, message):
    with pytest.raises(error) as raised:
        read(tmp_path, "a.ndjson", content, WIDE, size=1)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("size", "limit", "rows"),
    [(2, None, [2, 2, 1]), (5, None, [5]), (2, 3, [2, 1]), (10, 1, [1])],
)
@pytest.mark.parametrize("name", ["a.csv", "a.ndjson", "a.npy", "a.json"])
def test_rows_come_in_batches_up_to_the_limit(tmp_path, name, size, limit, rows):
    table = np.arange(15, dtype=np.float32).reshape(5, 3)
    saved = io.BytesIO()
    np.save(saved, table)
    content: dict[str, str | bytes] = {
        "a.csv": "a,b,c\n" + "".join(f"{a},{b},{c}\n" for a, b, c in table),
        "a.ndjson": "".join(f'{{"a":{a},"b":{b},"c":{c}}}\n' for a, b, c in table),
        "a.json": json.dumps(table.tolist()),
        "a.npy": saved.getvalue(),
    }
    found = read(tmp_path, name, content[name], WIDE, size, limit)
    assert [count for count, _ in found] == rows
    together = np.concatenate([inputs["x"] for _, inputs in found])
    np.testing.assert_array_equal(together, table[:limit])


def test_arrays_come_by_name(tmp_path):
    saved = io.BytesIO()
    np.savez(saved, a=np.ones((2, 1), np.float32), b=np.zeros((2, 4), np.int64))
    specs = [TensorSpec("a", "FP32", (-1, 1)), TensorSpec("b", "INT64", (-1, 4))]
    ((rows, inputs),) = read(tmp_path, "a.npz", saved.getvalue(), specs)
    assert (rows, inputs["b"].shape) == (2, (2, 4))
    value = {"a": [[1], [2]], "b": [[0] * 4] * 2}
    ((_, inputs),) = read(tmp_path, "a.json", json.dumps(value), specs)
    assert (inputs["a"].dtype, inputs["b"].dtype) == (np.float32, np.int64)


def test_standard_input_is_csv(monkeypatch):
    given = SimpleNamespace(buffer=io.BytesIO(b"\xef\xbb\xbfa,b,c\r\n1,2,3\r\n"))
    monkeypatch.setattr(sys, "stdin", given)
    source = Source("-", format_of("-"))
    (batch,) = batches(source, WIDE, 10, None, lambda done, total: None)
    assert batch.inputs["x"].tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("name", "content", "specs", "options", "error", "message"),
    [
        pytest.param(
            "a.csv",
            "a,b,c,target,split\n",
            WIDE,
            {},
            WrongInputs,
            "input 'x' takes 3 columns, got 5: a, b, c, target, split; name them with --columns, "
            "or leave some out: --drop target,split",
            id="too-many",
        ),
        pytest.param(
            "a.csv", "a,b\n", WIDE, {}, WrongInputs, "takes 3 columns, got 2: a, b", id="too-few"
        ),
        pytest.param(
            "a.csv",
            "age,job,member,target\n",
            MIXED,
            {},
            WrongInputs,
            "expected columns age, job, member, got age, job, member, target; --drop target leaves",
            id="extra",
        ),
        pytest.param(
            "a.csv", "age,job\n", MIXED, {}, WrongInputs, "got age, job", id="missing"
        ),
        pytest.param(
            "a.csv", "a,b,c\n", WIDE, {"drop": ("z",)}, WrongInputs, "no column z", id="unknown"
        ),
        pytest.param("a.csv", "a,a,b\n", WIDE, {}, WrongInputs, "more than once", id="twice"),
        pytest.param("a.csv", "", WIDE, {}, InvalidParameter, "header line", id="empty"),
        pytest.param(
            "a.csv", "a,b,c\n1,2\n", WIDE, {}, InvalidParameter, "row 1: expected 3 cells, got 2",
            id="short-row",
        ),
        pytest.param(
            "a.csv", "a,b,c\n1,2,3\n1,two,3\n", WIDE, {}, InvalidTensor,
            "row 2, column b: expected a value of FP32, got 'two'", id="text",
        ),
        pytest.param(
            "a.csv", "age,job,member\n,x,1\n", MIXED, {}, InvalidTensor,
            "row 1, column age: expected a value of INT64, got ''", id="no-integer",
        ),
        pytest.param("a.csv", b"a,b,c\n\xff,1,1\n", WIDE, {}, InvalidParameter, "UTF-8", id="utf8"),
        pytest.param(
            "a.ndjson", '{"a":1,"b":2,"c":3}\n{"a":1}\n', WIDE, {}, InvalidParameter,
            "the same columns in every row", id="ndjson-columns",
        ),
        pytest.param("a.ndjson", "[1]\n", WIDE, {}, InvalidParameter, "object a line", id="list"),
        pytest.param(
            "a.csv", "a,b,c\n1,2," + "3" * 200_000, WIDE, {}, InvalidParameter, "not CSV",
            id="huge-cell",
        ),
        pytest.param("a.json", "[]", WIDE, {}, WrongInputs, "as many rows in each", id="no-row"),
        pytest.param("a.json", "[", WIDE, {}, InvalidParameter, "not JSON", id="json"),
        pytest.param("a.npy", b"no", WIDE, {}, InvalidParameter, "NumPy", id="npy"),
        pytest.param("a.json", "[1]", MIXED, {}, WrongInputs, "by name", id="nameless"),
        pytest.param(
            "a.json", '{"z": [[1]]}', WIDE, {}, WrongInputs, "expected arrays x, got z", id="names"
        ),
        pytest.param(
            "a.csv", "a\n1\n", [TensorSpec("x", "FP32", (2, 3))], {}, WrongInputs,
            "is not made of columns", id="no-rows",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_with_wanted_and_got(
    tmp_path, name, content, specs, options, error, message
):
    with pytest.raises(error) as raised:
        read(tmp_path, name, content, specs, **options)
    assert message in str(raised.value)


def test_a_file_that_is_not_there_and_one_of_no_known_kind():
    source = Source("nowhere.csv", "csv")
    with pytest.raises(InvalidParameter, match=r"nowhere.csv: No such file"):
        list(batches(source, WIDE, 1, None, lambda done, total: None))
    with pytest.raises(InvalidParameter, match="got 'feather'"):
        format_of("a.feather")


def test_pickles_are_not_opened(tmp_path):
    saved = io.BytesIO()
    np.save(saved, np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(InvalidParameter, match="NumPy"):
        read(tmp_path, "a.npy", saved.getvalue(), WIDE)


def test_progress_counts_bytes(tmp_path):
    (tmp_path / "a.csv").write_text("a,b,c\n1,2,3\n4,5,6\n")
    told: list[tuple[int, int]] = []
    source = Source(str(tmp_path / "a.csv"), "csv")
    list(batches(source, WIDE, 1, None, lambda done, total: told.append((done, total))))
    assert told == [(6, 18), (12, 18), (18, 18)]


def test_outputs_of_several_values_are_columns_by_label():
    specs = {"p": TensorSpec("p", "FP32", (-1, 2), ("no", "yes"))}
    answer = {
        "label": np.array([1, 0]),
        "p": np.array([[0.1, 0.9], [0.8, 0.2]], np.float32),
        "z": np.zeros((2, 1)),
        "m": np.zeros((2, 2)),
    }
    columns = labelled(answer, specs, 2)
    assert list(columns) == ["label", "p[no]", "p[yes]", "z", "m[0]", "m[1]"]
    with pytest.raises(WrongOutputs, match="no row for each of 3"):
        labelled(answer, specs, 3)
