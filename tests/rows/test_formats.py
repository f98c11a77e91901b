"""Each format by itself: read in pieces, and refused by name where it is damaged."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from gateway.errors import InvalidParameter, InvalidTensor, WrongInputs
from gateway.rows.batch import Source
from gateway.rows.source import batches, format_of
from gateway.tensors import TensorSpec

WIDE = [TensorSpec("x", "FP32", (-1, 3))]
JOB = [TensorSpec("x", "FP32", (-1, 1)), TensorSpec("job", "BYTES", (-1,))]


def read(path, specs=WIDE, size=100, limit=None, **options):
    source = Source(str(path), format_of(str(path)), **options)
    return list(batches(source, specs, size, limit, lambda done, total: None))


def table(folder, **columns):
    path = folder / "a.parquet"
    parquet.write_table(pa.table(columns), path)
    return path


# ---- CSV -----------------------------------------------------------------------------------------


def test_lines_with_and_without_quotes_are_the_same_rows(tmp_path):
    (tmp_path / "plain.csv").write_text("a,b,c\n1,2,3\n\n4.5,nan,-inf\n7,8,9\n")
    (tmp_path / "quoted.csv").write_text('a,"b",c\n1,2,3\n\n"4.5",nan,-inf\n7,8,"9"\n')
    for size in (1, 2, 100):
        plain, quoted = (
            np.concatenate([b.inputs["x"] for b in read(tmp_path / name, size=size)])
            for name in ("plain.csv", "quoted.csv")
        )
        np.testing.assert_array_equal(plain, quoted)
        assert plain.shape == (3, 3)


def test_a_quoted_cell_may_go_over_lines_and_batches(tmp_path):
    (tmp_path / "a.csv").write_text('x,job\n1,a\n2,"b\nb"\n3,c\n')
    jobs = [b.inputs["job"].tolist() for b in read(tmp_path / "a.csv", JOB, size=1)]
    assert jobs == [[b"a"], [b"b\nb"], [b"c"]]


def test_empty_cells_are_told_apart_from_nan(tmp_path):
    (tmp_path / "a.csv").write_text("a,b,c\n1,,nan\n,,3\n")
    (batch,) = read(tmp_path / "a.csv")
    assert batch.nulls["x"].tolist() == [1, 2, 0]
    assert batch.names == {"x": ["a", "b", "c"]}
    assert np.isnan(batch.inputs["x"]).sum() == 4


def test_a_number_of_a_later_batch_that_is_none_is_named_by_its_row(tmp_path):
    (tmp_path / "a.csv").write_text("a,b,c\n" + "1,2,3\n" * 4 + "1,2,x\n")
    with pytest.raises(InvalidTensor, match=r"a\.csv: row 5, column c: expected a value of FP32"):
        read(tmp_path / "a.csv", size=2)
    (tmp_path / "b.csv").write_text("a,b,c\n" + "1,2,3\n" * 4 + "1,2\n")
    with pytest.raises(InvalidParameter, match=r"b\.csv: row 5: expected 3 cells, got 2"):
        read(tmp_path / "b.csv", size=2)


def test_a_number_too_large_for_the_model_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("a,b,c\n1,2,1e300\n")
    with pytest.raises(InvalidTensor, match="too large for FP32"):
        read(tmp_path / "a.csv")


def test_features_that_the_model_names_are_found_whatever_their_order(tmp_path):
    (tmp_path / "a.csv").write_text("target,c,b,a\n9,3,2,1\n")
    (batch,) = read(tmp_path / "a.csv", features=("a", "b", "c"))
    assert batch.inputs["x"].tolist() == [[1, 2, 3]]
    with pytest.raises(WrongInputs, match="takes 3 columns, got 4"):
        read(tmp_path / "a.csv", features=("a", "b", "z"))


# ---- Parquet -------------------------------------------------------------------------------------


def test_parquet_columns_become_the_input(tmp_path):
    path = table(tmp_path, a=[1, 2, 3], b=[0.5, None, 2.5], c=pa.array([1, 2, 3], pa.float32()))
    first, second = read(path, size=2)
    assert first.inputs["x"].dtype == np.float32
    np.testing.assert_array_equal(first.inputs["x"], [[1, 0.5, 1], [2, np.nan, 2]])
    assert (first.nulls["x"].tolist(), dict(second.nulls)) == ([0, 1, 0], {})
    assert [batch.rows for batch in read(path, size=2, limit=1)] == [1]


def test_parquet_columns_become_several_inputs(tmp_path):
    path = table(tmp_path, job=["a", "é"], x=[1.0, 2.0])
    (batch,) = read(path, JOB)
    assert batch.inputs["job"].tolist() == [b"a", "é".encode()]
    assert batch.names == {"x": ["x"], "job": ["job"]}


def test_parquet_lists_are_rows_of_an_input(tmp_path):
    (batch,) = read(table(tmp_path, x=[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    assert batch.inputs["x"].tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("columns", "specs", "message"),
    [
        (
            {"x": [1.0], "job": pa.array([None], pa.string())},
            JOB,
            "row 1, column job: expected a value of BYTES, got null",
        ),
        (
            {"a": [1], "b": [2], "c": ["three"]},
            WIDE,
            "row 1, column c: expected a value of FP32, got 'three'",
        ),
        (
            {"n": [4, None]},
            [TensorSpec("n", "INT64", (-1, 1))],
            "row 2, column n: expected a value of INT64, got null",
        ),
    ],
)
def test_a_cell_that_does_not_fit_is_named(tmp_path, columns, specs, message):
    with pytest.raises(InvalidTensor) as raised:
        read(table(tmp_path, **columns), specs)
    assert message in str(raised.value)


def test_a_truncated_parquet_file_is_refused(tmp_path):
    path = table(tmp_path, a=[1.0] * 1000, b=[2.0] * 1000, c=list(range(1000)))
    whole = path.read_bytes()
    for cut in (0, 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(InvalidParameter, match="not Parquet, or damaged"):
            read(path)


def test_a_damaged_page_is_refused(tmp_path):
    path = table(tmp_path, a=list(range(5000)), b=[2.0] * 5000, c=[1.0] * 5000)
    whole = bytearray(path.read_bytes())
    whole[4:400] = b"\xff" * 396
    path.write_bytes(whole)
    with pytest.raises(InvalidParameter, match="not Parquet, or damaged"):
        read(path)


def test_parquet_does_not_come_through_a_pipe():
    with pytest.raises(InvalidParameter, match="not from standard input"):
        list(batches(Source("-", "parquet"), WIDE, 1, None, lambda done, total: None))


# ---- NumPy ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_archives_are_read_in_pieces(tmp_path, save, order):
    array = np.arange(30, dtype=np.float32).reshape(10, 3)
    words = np.array([b"a", b"bc"] * 5)
    save(tmp_path / "a.npz", x=np.array(array, order=order), job=words)
    specs = [TensorSpec("x", "FP32", (-1, 3)), TensorSpec("job", "BYTES", (-1,))]
    found = read(tmp_path / "a.npz", specs, size=4)
    assert [batch.rows for batch in found] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([b.inputs["x"] for b in found]), array)
    np.testing.assert_array_equal(np.concatenate([b.inputs["job"] for b in found]), words)


def test_a_truncated_array_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((1000, 3), np.float32))
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(whole[:-10])
    with pytest.raises(InvalidParameter, match="NumPy"):
        read(tmp_path / "a.npy")


def test_an_array_of_an_archive_that_ends_early_is_refused(tmp_path):
    saved = io.BytesIO()
    np.save(saved, np.ones((10, 3), np.float32))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", saved.getvalue()[:-8])
    with pytest.raises(InvalidParameter, match="8 bytes short"):
        read(tmp_path / "a.npz")


def test_a_damaged_archive_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.random.default_rng(1).random((900, 3), np.float32))
    whole = bytearray((tmp_path / "a.npz").read_bytes())
    whole[2000:2100] = bytes(100)
    (tmp_path / "a.npz").write_bytes(whole)
    with pytest.raises(InvalidParameter, match="damaged"):
        read(tmp_path / "a.npz")


def test_pickles_in_an_archive_are_not_opened(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([{"a": 1}], object))
    with pytest.raises(InvalidParameter, match="Object arrays"):
        read(tmp_path / "a.npz")
