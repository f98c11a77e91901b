"""Captured rows on the disk: whole, under their day and hour, and no more than is wanted."""

from __future__ import annotations

import numpy as np
import orjson
import pytest

from gateway.capture import files
from gateway.capture.frames import FULL, SAMPLE, decode, encode
from gateway.capture.schema import Schema, schema_of
from gateway.capture.table import SCHEMA, fits, table
from gateway.errors import InvalidParameter, StoreFailed
from gateway.outcomes.hours import HOUR_MS
from gateway.profiles.plans import column_names
from gateway.tensors import Signature, TensorSpec
from tests.capture.captured import NOON_MS, SCORES, STREAM, frame, hashed, schema, write


def test_a_row_is_a_line_with_its_address_and_a_column_for_each_value(tmp_path):
    path = write(tmp_path, frame([10, 11], [0.25, 0.75]))
    assert path.relative_to(tmp_path).parts[:-1] == (
        *("model=m", "version=1", "date=2027-01-15", "hour=08"),
    )
    found = files.read(path)
    assert found.drop_columns(["at"]).to_pydict() == {
        "request_id": [f"{STREAM}-a", f"{STREAM}-b"],
        "row": [0, 0],
        "why": ["full", "full"],
        "subject": [None, None],
        "prediction": [0.0, 1.0],
        "score": [0.25, 0.75],
        "age": [1.0, 1.0],
        "pay": [0.0, 1.0],
        "p[0]": [0.75, 0.25],
        "p[1]": [0.25, 0.75],
    }
    assert found["at"].cast("int64").to_pylist() == [NOON_MS] * 2
    assert Schema.read(orjson.loads(found.schema.metadata[SCHEMA])) == schema()


def test_what_is_masked_is_empty_and_what_is_hashed_stays_comparable(tmp_path):
    path = write(tmp_path, frame([1, 2], [0.5, 0.5], value=41.0), mask=["pay"], hashes=["age"])
    found = files.read(path)
    assert found["pay"].to_pylist() == [None, None]
    assert found["age"].to_pylist() == [hashed("41.0").hex()] * 2


def test_subjects_are_hashes_and_nobody_is_none(tmp_path):
    found = files.read(write(tmp_path, frame([1], [0.5], subjects=["ann"]), frame([2], [0.5])))
    assert found["subject"].to_pylist() == [hashed("ann").hex(), None]


ODD = Signature(
    (
        TensorSpec("words", "BYTES", (-1, 1)),
        TensorSpec("tokens", "INT64", (-1, -1)),
        TensorSpec("half", "FP16", (-1, 1)),
        TensorSpec("brain", "BF16", (-1, 1)),
        TensorSpec("flag", "BOOL", (-1, 1)),
        TensorSpec("image", "UINT8", (-1, -1, -1)),
    ),
    (TensorSpec("y", "UINT64", (-1, 1)), TensorSpec("z", "FP32", (-1, 1))),
    batched=True,
)


def odd(tokens: int):
    arrays = [
        np.array([[b"\xc3\xa9\xff"]], object),
        np.arange(tokens, dtype=np.int64)[None],
        np.array([[1.5]], np.float16),
        np.array([[0x3FC0]], np.uint16),
        np.array([[True]]),
        np.zeros((1, 2, 3), np.uint8),
        np.array([[2**63]], np.uint64),
        None,
    ]
    made = encode(arrays, [1], [1], NOON_MS, 1, np.array([FULL | SAMPLE]))
    return decode(made, [spec.datatype for spec in (*ODD.inputs, *ODD.outputs)])


def test_every_datatype_has_one_type_whatever_stands_in_a_file(tmp_path):
    shape = schema_of("m", 1, ODD, {}, column_names, SCORES)
    made = table(shape, [(STREAM, odd(2)), (STREAM, odd(3))], hashed)
    files.put(tmp_path / "odd.parquet", made)
    found = files.read(tmp_path / "odd.parquet").to_pydict()
    assert found["words"] == ["\u00e9\\xff"] * 2
    assert found["tokens"] == [[0, 1], [0, 1, 2]]
    assert (found["half"], found["brain"], found["flag"]) == ([1.5] * 2, [1.5] * 2, [True] * 2)
    assert (found["image"], found["image.shape"]) == ([[0] * 6] * 2, [[2, 3]] * 2)
    assert (found["y"], found["z"], found["score"]) == ([2**63] * 2, [None] * 2, [None] * 2)
    assert found["why"] == ["full+sample"] * 2
    alone = table(shape, [(STREAM, odd(1))], hashed)
    assert alone.schema.equals(made.schema, check_metadata=True)


def test_a_frame_that_is_wider_than_its_columns_does_not_fit():
    shape = schema_of("m", 1, ODD, {"tokens": ["a", "b"]}, column_names, SCORES)
    assert fits(shape, odd(2))
    assert not fits(shape, odd(3))


def test_all_is_told_from_names_and_what_is_none_of_ours_is_left_alone(tmp_path):
    write(tmp_path, frame([1, 2], [0.5, 0.5], NOON_MS + 5))
    write(tmp_path, frame([3], [0.5], NOON_MS), frame([4], [0.5], NOON_MS + 2))
    (tmp_path / "notes.parquet").write_text("mine")
    found = files.files_in(tmp_path)
    assert [(one.model, one.version, one.rows) for one in found] == [("m", 1, 2), ("m", 1, 2)]
    assert [(one.first_ms - NOON_MS, one.last_ms - NOON_MS) for one in found] == [(0, 2), (5, 5)]
    assert files.files_in(tmp_path, "other") == []


@pytest.mark.parametrize("model", ["a b%=c", "\u00e9" * 100, "..."])
def test_any_model_has_a_folder_of_its_own(tmp_path, model):
    path = files.folder_of(tmp_path, model)
    path.mkdir()
    assert path.parent == tmp_path


def test_the_oldest_go_first_and_take_their_empty_folders_along(tmp_path):
    day = 24 * HOUR_MS
    paths = [write(tmp_path, frame([n], [0.5], NOON_MS + n * day)) for n in range(4)]
    assert len(files.tidy(tmp_path, files.files_in(tmp_path), 1 << 30, NOON_MS + day)) == 3
    assert not paths[0].parents[1].exists()
    left = files.tidy(tmp_path, files.files_in(tmp_path), 2 * paths[3].stat().st_size, 0)
    assert [one.path for one in left] == paths[2:]


def test_a_disk_that_takes_nothing_leaves_nothing_behind(tmp_path):
    (tmp_path / "capture").write_text("in the way")
    with pytest.raises(StoreFailed, match="capture"):
        write(tmp_path / "capture", frame([1], [0.5]))
    path = write(tmp_path / "other", frame([1], [0.5]))
    path.with_suffix(".half").mkdir()
    with pytest.raises(StoreFailed, match="directory"):
        files.put(path, files.read(path))
    assert files.read(path).num_rows == 1


def test_what_was_being_written_is_cleared_up_and_nobody_read_it(tmp_path):
    path = write(tmp_path, frame([1], [0.5]))
    half = path.with_suffix(".half")
    path.rename(half)
    assert files.files_in(tmp_path) == []
    files.clear_up(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_told_by_name(tmp_path):
    path = write(tmp_path, frame([1], [0.5]))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InvalidParameter, match="damaged"):
        files.read(path)
