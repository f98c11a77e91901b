"""Models found in a repository folder."""

from __future__ import annotations

import os

import pytest

from gateway.errors import InvalidParameter, ModelRefused
from gateway.models.triton_layout import Fault, Found, find, scan
from gateway.names import check_alias, check_name, name_fault, version_of


def lay(root, *files):
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def served(layout):
    return [(found.name, found.version) for found in layout.found]


def test_names_and_versions(tmp_path):
    lay(tmp_path, "a/1/model.onnx", "b/1/model.onnx", "b/2/model.onnx", "b/10/model.onnx")
    layout = scan(tmp_path)
    assert served(layout) == [("a", 1), ("b", 10)]
    assert layout.found[0] == Found("a", 1, tmp_path / "a/1", "model.onnx")
    assert layout.faults == ()


def test_the_configuration_of_a_model_comes_along(tmp_path):
    lay(tmp_path, "m/1/net.onnx", "m/2/net.onnx")
    (tmp_path / "m/config.pbtxt").write_text(
        'max_batch_size: 4 default_model_filename: "net.onnx" version_policy { all {} } colour: RED'
    )
    layout = scan(tmp_path)
    assert served(layout) == [("m", 1), ("m", 2)]
    found = layout.found[1]
    assert (found.file, found.hints, found.ignored) == (
        "net.onnx",
        {"max_batch_size": 4},
        ("colour",),
    )
    assert found.declared == {"max_batch_size": 4, "inputs": [], "outputs": []}


def test_one_bad_model_hides_no_other(tmp_path):
    lay(tmp_path, "bad/1/model.onnx", "good/1/model.onnx", "bare/1/other.onnx", "empty/x")
    (tmp_path / "bad/config.pbtxt").write_text("max_batch_size: many")
    layout = scan(tmp_path)
    assert served(layout) == [("good", 1)]
    assert [(fault.name, fault.version) for fault in layout.faults] == [
        ("bad", None),
        ("bare", 1),
        ("empty", None),
    ]
    assert "line 1: max_batch_size: wanted an integer" in layout.faults[0].reason
    assert "model file 'model.onnx': no such file" in layout.faults[1].reason
    assert "no version folders" in layout.faults[2].reason


def test_a_version_that_the_policy_names_must_be_there(tmp_path):
    lay(tmp_path, "m/1/model.onnx")
    (tmp_path / "m/config.pbtxt").write_text("version_policy { specific { versions: [1, 3] } }")
    layout = scan(tmp_path)
    assert served(layout) == [("m", 1)]
    assert layout.faults == (Fault("m", 3, "named by version_policy, but has no folder"),)


def test_what_is_no_version_folder_is_passed_over(tmp_path):
    lay(tmp_path, *(f"m/{name}/model.onnx" for name in ("01", "-1", "0", "v2", "1e1", "³", "5")))
    lay(tmp_path, "m/9", "notes.txt", ".git/HEAD", "..data/m2/1/model.onnx", "lost+found/x")
    layout = scan(tmp_path)
    assert (served(layout), layout.faults) == ([("m", 5)], ())


def test_odd_names_serve(tmp_path):
    lay(tmp_path, *(f"{name}/1/model.onnx" for name in ("...", "..my_model", "model..1", "ü b")))
    assert {found.name for found in scan(tmp_path).found} == {
        "...",
        "..my_model",
        "model..1",
        "ü b",
    }


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(b"a\x01b", id="control"),
        pytest.param(b" ", id="blank"),
        pytest.param(b"back\\slash", id="backslash"),
        pytest.param(b"n" * 201, id="long"),
        pytest.param(b"latin\xe4", id="not-utf8"),
    ],
)
def test_folders_with_names_that_no_model_may_have_are_faults(tmp_path, name):
    place = os.path.join(os.fsencode(tmp_path), name, b"1")
    os.makedirs(place)
    layout = scan(tmp_path)
    assert layout.found == ()
    assert len(layout.faults) == 1
    assert "model name" in layout.faults[0].reason
    assert layout.faults[0].name.encode()


def test_a_model_file_that_leaves_its_version_folder_is_a_fault(tmp_path):
    lay(tmp_path, "secret.onnx", "m/config.pbtxt")
    (tmp_path / "m/1").mkdir()
    (tmp_path / "m/1/model.onnx").symlink_to("../../secret.onnx")
    assert "a link out of it" in scan(tmp_path).faults[0].reason


def test_a_file_name_that_leaves_its_version_folder_is_a_fault(tmp_path):
    lay(tmp_path, "m/1/model.onnx", "m/2/model.onnx")
    (tmp_path / "m/config.pbtxt").write_text('default_model_filename: "../1/model.onnx"')
    assert "a path out of it" in scan(tmp_path).faults[0].reason


def test_a_repository_may_be_a_link(tmp_path):
    lay(tmp_path, "real/m/1/model.onnx")
    (tmp_path / "linked").symlink_to("real")
    assert served(scan(tmp_path / "linked")) == [("m", 1)]


def test_a_bare_file_serves_under_its_stem(tmp_path):
    lay(tmp_path, "fraud.v2.onnx")
    assert find(tmp_path / "fraud.v2.onnx").found == (
        Found("fraud.v2", 1, tmp_path, "fraud.v2.onnx"),
    )


def test_a_place_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ModelRefused, match="absent: no such file or folder"):
        find(tmp_path / "absent")
    with pytest.raises(ModelRefused, match="cannot be read"):
        scan(tmp_path / "absent")


@pytest.mark.parametrize(
    "name", ["m", "a b", "...", "..my_model", "model..1", "é", "x" * 200, "stats"]
)
def test_good_names(name):
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "must not be empty"),
        (" \t", "must not be empty"),
        (".", "path traversal"),
        ("..", "path traversal"),
        ("../m", "path traversal"),
        ("a/b", "path traversal"),
        ("a\\b", "path traversal"),
        ("a\0", "control characters"),
        ("a\n", "control characters"),
        ("\x85a", "control characters"),
        ("\ud800", "control characters"),
        ("x" * 201, "at most 200 characters, got 201"),
        ("é" * 150, "at most 200 characters"),
    ],
)
def test_bad_names(name, said):
    assert said in (name_fault(name) or "")
    with pytest.raises(InvalidParameter, match=said):
        check_name(name)


@pytest.mark.parametrize(
    ("text", "version"),
    [("1", 1), ("2147483647", 2147483647), ("2147483648", None), ("0", None), ("01", None)]
    + [(text, None) for text in ("", "-1", "+1", " 1", "1 ", "1.0", "²", "\u0661", "9" * 5000)],
)
def test_versions_are_positive_numbers_in_plain_digits(text, version):
    assert version_of(text) == version


@pytest.mark.parametrize("alias", ["7", "", "a/b", "x" * 201])
def test_an_alias_is_no_number_and_no_path(alias):
    with pytest.raises(InvalidParameter, match="alias"):
        check_alias(alias)
