"""`penstock profile`, on real models: made, attached, shown, and refused with reasons."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from gateway.cli import main
from gateway.cli.pictures import bars, of_column
from gateway.profiles.document import digest, read
from tests.end_to_end import zoo
from tests.models import builders
from tests.profiles.builders import numeric, words


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """What a command sets for its own process ends with the test."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", os.environ.get("NUMBA_CACHE_DIR", ""))
    for name in ("ORT_DISABLE_TELEMETRY", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "1")


@pytest.fixture
def penstock(home, capsys):
    """Runs one command on the home; gives exit status, stdout and stderr."""

    def run(*words):
        status = main([*map(str, words), "--home", str(home)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def profile(penstock, tmp_path):
    """Registers a model, profiles it on a file's rows, and gives the profile."""

    def make(model: onnx.ModelProto, data, *options):
        path = builders.save(tmp_path / "in", model, "m.onnx")
        assert penstock("register", path)[0] == 0
        status, _, err = penstock("profile", "m", "--data", data, *options)
        assert (status, err) == (0, "")
        return read(penstock("profile", "show", "m", "--json")[1])

    return make


@pytest.fixture
def rows(tmp_path):
    """200 rows of four columns, as CSV."""
    array = np.random.default_rng(3).normal(size=(200, 4)).astype(np.float32)
    path = tmp_path / "rows.csv"
    lines = [",".join(map(str, row)) for row in array.tolist()]
    path.write_text("a,b,c,d\n" + "\n".join(lines) + "\n")
    return path


def named(frame):
    return [column.name for column in frame.columns]


def test_inputs_and_outputs_of_a_model_are_profiled(profile, rows):
    found = profile(builders.linear(), rows)
    x, y = found.frames
    assert (found.rows, named(x), named(y)) == (200, ["a", "b", "c", "d"], ["y[0]", "y[1]"])
    assert (x.role, y.role) == ("feature", "output")
    data = np.loadtxt(rows, np.float32, delimiter=",", skiprows=1)
    assert x.columns[2].moments.max == data[:, 2].max()
    assert [column.rows for column in (*x.columns, *y.columns)] == [200] * 6


def test_the_same_rows_in_another_format_are_the_same_profile(profile, rows, tmp_path):
    table = np.loadtxt(rows, np.float32, delimiter=",", skiprows=1)
    lines = [json.dumps(dict(zip("abcd", row, strict=True))) for row in table.tolist()]
    (tmp_path / "rows.ndjson").write_text("\n".join(lines))
    of_csv = profile(builders.linear(), rows)
    assert digest(profile(builders.linear(), tmp_path / "rows.ndjson")) == digest(of_csv)
    np.save(tmp_path / "rows.npy", table.astype(np.float64))
    nameless = profile(builders.linear(), tmp_path / "rows.npy")
    assert named(nameless.frames[0]) == ["x[0]", "x[1]", "x[2]", "x[3]"]
    for mine, its in zip(nameless.frames[0].columns, of_csv.frames[0].columns, strict=True):
        assert mine.counts.tolist() == its.counts.tolist()


def test_labels_are_no_inputs_and_bins_can_be_fewer(profile, tmp_path):
    path = tmp_path / "rows.csv"
    rng = np.random.default_rng(1)
    path.write_text(
        "a,b,c,d,y\n" + "".join(f"{','.join(map(str, rng.random(4)))},1\n" for _ in range(50))
    )
    found = profile(builders.linear(), path, "--labels", "y", "--bins", "10")
    assert [column.bins for column in found.frames[0].columns] == [10] * 4


LABELLED = [
    pytest.param(("0", "1"), "binary", id="numbers"),
    pytest.param(("false", "true"), "binary", id="booleans"),
    pytest.param(("bad", "good"), "binary", id="names"),
    pytest.param(("0", "1"), "multiclass", id="top-class"),
]


def labelled(path, words, rng, count=2000):
    """Rows of which every label is known but ten; the second score is too high."""
    table = rng.normal(size=(count, 4)).round(4)
    score = _second_score(table)
    truth = [words[int(one)] for one in rng.random(count) < score**2]
    truth[:10] = [""] * 10
    cells = [f"{','.join(map(str, row))},{word}" for row, word in zip(table, truth, strict=True)]
    path.write_text("\n".join(("a,b,c,d,label", *cells, "")))
    return path


def _second_score(table):
    """What `probabilities` makes of rows."""
    return 1.0 / (1.0 + np.exp(-table.astype(np.float32).sum(axis=1)))


def probabilities() -> onnx.ModelProto:
    """Two classes; the second one's score is the sigmoid of a row's sum."""
    nodes = [
        helper.make_node("ReduceSum", ["x", "axes"], ["sum"], keepdims=1),
        helper.make_node("Sigmoid", ["sum"], ["second"]),
        helper.make_node("Sub", ["one", "second"], ["first"]),
        helper.make_node("Concat", ["first", "second"], ["p"], axis=1),
    ]
    constants = [
        onnx.numpy_helper.from_array(np.array([1], np.int64), "axes"),
        onnx.numpy_helper.from_array(np.array(1.0, np.float32), "one"),
    ]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4]),
        helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", 2]),
    ]
    graph = helper.make_graph(nodes, "p", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize(("words", "kind"), LABELLED)
def test_scores_are_held_against_labels(profile, penstock, tmp_path, words, kind):
    config = tmp_path / "c.yaml"
    config.write_text(f"models: {{m: {{scores: {{kind: {kind}, classes: [bad, good]}}}}}}\n")
    assert penstock("config", "apply", config)[0] == 0
    data = labelled(tmp_path / "rows.csv", words, np.random.default_rng(4))
    found = profile(probabilities(), data, "--label", "label").calibration
    assert found is not None
    assert (found.scores, found.rows) == ({"kind": kind, "output": None, "positive": 1}, 1990)
    if kind == "binary":  # of the top class, what is too high and too low evens out
        assert found.ece_calibrated < 0.05 < found.ece
    assert found.probabilities == tuple(sorted(found.probabilities))
    assert "scores of 1990 labelled rows: calibration error" in penstock("profile", "show", "m")[1]


@pytest.mark.parametrize(
    ("scores", "words", "said"),
    [
        ("kind: binary", ("0", "2"), "label: expected 0, 1, got 2"),
        ("classes: [a, b]", ("a", "c"), "label: expected 0, 1, or one of a, b, got 'c'"),
        ("kind: binary", ("1", "1"), "expected at least 100 rows with a score and a label"),
        ("output: x", ("0", "1"), "label: the model's scores cannot be read"),
    ],
)
def test_labels_that_fit_no_score_are_refused(penstock, tmp_path, scores, words, said):
    config = tmp_path / "c.yaml"
    config.write_text(f"models: {{m: {{scores: {{{scores}}}}}}}\n")
    assert penstock("config", "apply", config)[0] == 0
    path = builders.save(tmp_path / "in", probabilities(), "m.onnx")
    assert penstock("register", path)[0] == 0
    data = labelled(tmp_path / "rows.csv", words, np.random.default_rng(4), count=300)
    status, _, err = penstock("profile", "m", "--data", data, "--label", "label")
    assert status == 1
    assert said in err


def test_columns_whose_ks_is_to_be_exact_are_named_and_have_points(profile, penstock, rows):
    first, *others = profile(builders.linear(), rows, "--exact-ks", "a,y[1]").frames[0].columns
    assert len(first.points) == 200
    assert [len(column.points) for column in others] == [0, 0, 0]
    assert "KS at 200 points" in penstock("profile", "show", "m")[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--exact-ks", "nobody"), "exact KS: the model has no column 'nobody'"),
        (("--exact-ks", "x"), "exact KS: column 'x' has no numbers in order"),
    ],
)
def test_only_columns_of_numbers_can_have_an_exact_ks(penstock, tmp_path, options, said):
    model = builders.identity(("rows", 1), TensorProto.STRING)
    penstock("register", builders.save(tmp_path / "in", model, "m.onnx"))
    (tmp_path / "rows.csv").write_text("x\nclerk\nsmith\n")
    status, _, err = penstock("profile", "m", "--data", tmp_path / "rows.csv", *options)
    assert status == 1
    assert said in err


def test_a_model_names_its_own_features(profile, tmp_path):
    model = builders.linear()
    helper.set_model_props(model, {"feature_names": "d,c,b,a"})
    path = tmp_path / "rows.csv"
    path.write_text("a,b,c,d,target\n1,2,3,4,0\n5,6,7,8,1\n")
    x = profile(model, path).frames[0]
    assert named(x) == ["d", "c", "b", "a"]
    assert [column.moments.min for column in x.columns] == [4, 3, 2, 1]
    np.save(tmp_path / "rows.npy", np.ones((5, 4), np.float32))
    assert named(profile(model, tmp_path / "rows.npy").frames[0]) == ["d", "c", "b", "a"]


def test_the_configuration_names_what_neither_the_data_nor_the_model_does(
    profile, penstock, rows, tmp_path
):
    document = tmp_path / "penstock.yaml"
    document.write_text("models: {m: {feature_names: [p, q, r, s], categories: [s, elsewhere]}}")
    assert penstock("config", "apply", document)[0] == 0
    array = np.ones((5, 4), np.float32)
    np.save(tmp_path / "rows.npy", array)
    configured = profile(builders.linear(), tmp_path / "rows.npy").frames[0]
    assert named(configured) == ["p", "q", "r", "s"]
    assert [column.kind for column in configured.columns] == [*["numeric"] * 3, "category"]
    # The data's header goes before the model's metadata, and that before the configuration.
    assert named(profile(builders.linear(), rows).frames[0]) == ["a", "b", "c", "d"]
    model = builders.linear()
    helper.set_model_props(model, {"feature_names": "d,c,b,a"})
    assert named(profile(model, tmp_path / "rows.npy").frames[0]) == ["d", "c", "b", "a"]


def test_each_of_several_inputs_is_named_by_the_configuration(profile, penstock, tmp_path):
    document = tmp_path / "penstock.yaml"
    document.write_text("models: {m: {feature_names: {x: [p, q]}}}")
    assert penstock("config", "apply", document)[0] == 0
    nodes = [helper.make_node("Add", ["x", "z"], ["y"])]
    pair = [builders.value(name, ("rows", 2)) for name in ("x", "z", "y")]
    ones = np.ones((5, 2), np.float32)
    np.savez(tmp_path / "rows.npz", x=ones, z=ones)
    frames = profile(builders.make(nodes, pair[:2], pair[2:]), tmp_path / "rows.npz").frames
    assert [named(frame) for frame in frames] == [["p", "q"], ["z[0]", "z[1]"], ["y[0]", "y[1]"]]


def test_probabilities_have_a_summary_beside_their_columns(profile, tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, np.random.default_rng(0).random((300, 3), np.float32) + 0.1)
    found = profile(builders.classifier(("iris", "rose", "tulip")), path)
    classes, summary = found.frames[1:]
    assert named(classes) == [f"probabilities[{name}]" for name in ("iris", "rose", "tulip")]
    assert named(summary) == [
        f"probabilities.{name}" for name in ("entropy", "top_score", "top_class", "margin")
    ]
    assert summary.columns[2].categories == (0, 1, 2)
    assert 0 < summary.columns[0].moments.max <= np.log(3) + 1e-6


def test_strings_are_categories_and_lengths(profile, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('x\nred\ngreen\nred\n""\n')
    found = profile(builders.identity(("rows", 1), TensorProto.STRING), path)
    column, lengths = (frame.columns[0] for frame in found.frames[:2])
    assert dict(zip(column.categories, column.counts.tolist(), strict=True)) == {
        "": 1,
        "green": 1,
        "red": 2,
    }
    assert (lengths.name, lengths.moments.max) == ("x.bytes", 5)


def test_wide_tensors_and_images_are_summarised(profile, tmp_path):
    np.save(tmp_path / "wide.npy", np.random.default_rng(0).normal(size=(64, 4096)))
    wide = profile(builders.identity(("rows", 4096)), tmp_path / "wide.npy").frames[0]
    assert named(wide)[:3] == ["x.norm", "x.mean", "x.deviation"]
    assert (len(wide.columns), wide.summary.kind) == (11, "vector")
    assert wide.columns[0].moments.mean == pytest.approx(64, rel=0.05)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8), np.uint8)
    pixels[:, 1] = 255
    np.save(tmp_path / "image.npy", pixels)
    model = builders.identity(("rows", 3, 8, 8), TensorProto.UINT8)
    image = profile(model, tmp_path / "image.npy").frames[0]
    saturated = next(column for column in image.columns if column.name == "x.saturated[1]")
    assert (saturated.moments.min, saturated.constant) == (1, True)


def test_integers_and_booleans_of_every_width_are_profiled(profile, tmp_path):
    flags = np.array([[True, False]] * 5)
    arrays: dict[str, Any] = {
        f"in_{name}": flags if name == "BOOL" else np.full((5, 2), 3, helper_dtype(name))
        for name in zoo.EVERY
    }
    np.savez(tmp_path / "rows.npz", **arrays)
    found = profile(zoo.every(), tmp_path / "rows.npz")
    features = {frame.name: frame for frame in found.frames if frame.role == "feature"}
    assert features["in_UINT64"].columns[0].moments.max == 3
    assert features["in_FP16"].type == "float32"
    assert features["in_BOOL"].columns[0].categories == (True,)


def helper_dtype(name):
    if name == "BYTES":
        return "S1"
    return helper.tensor_dtype_to_np_dtype(zoo.EVERY[name])


def test_outputs_without_a_row_for_each_are_left_out_and_told(penstock, tmp_path):
    model = builders.make(
        [
            helper.make_node("Identity", ["x"], ["y"]),
            helper.make_node("ReduceSum", ["x"], ["whole"], keepdims=0),
        ],
        [builders.value("x")],
        [builders.value("y"), builders.value("whole", ())],
    )
    # The file declares no rows for `whole`, so the model runs a row at a time.
    path = builders.save(tmp_path, model, "m.onnx")
    np.save(tmp_path / "rows.npy", np.ones((7, 4), np.float32))
    assert penstock("register", path)[0] == 0
    status, out, _ = penstock("profile", "m", "--data", tmp_path / "rows.npy")
    assert status == 0
    assert "output 'whole' is not in it: it has no row for each row" in out


def test_register_with_a_reference_does_both(penstock, rows, tmp_path):
    path = builders.save(tmp_path / "in", builders.linear(), "m.onnx")
    status, out, _ = penstock("register", path, "--reference", rows)
    assert status == 0
    assert "of 200 rows" in out
    assert "of 200 rows, " in penstock("models", "show", "m")[1]
    _, listed, _ = penstock("models", "list")
    assert listed.splitlines()[0].split()[5] == "PROFILE"
    shown = json.loads(penstock("models", "show", "m", "1", "--json")[1])
    assert shown["profile"]["rows"] == 200
    actions = [line.split() for line in penstock("audit", "list")[1].splitlines()]
    assert any("attach" in words for words in actions)


def test_rows_that_do_not_fit_register_nothing(penstock, tmp_path):
    path = builders.save(tmp_path / "in", builders.linear(), "m.onnx")
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    status, _, err = penstock("register", path, "--reference", tmp_path / "rows.csv")
    assert status == 1
    assert "input 'x' takes 4 columns, got 2: a, b" in err
    assert "no models registered" in penstock("models", "list")[1]


def test_versions_and_aliases_have_profiles_of_their_own(penstock, rows, tmp_path):
    for seed, alias in ((0, "old"), (1, "new")):
        path = builders.save(tmp_path / str(seed), builders.linear(seed=seed), "m.onnx")
        assert penstock("register", path, "--alias", alias)[0] == 0
    assert penstock("profile", "m", "old", "--data", rows, "--limit", "50")[0] == 0
    status, _, err = penstock("profile", "show", "m", "2")
    assert (status, "has no profile" in err) == (1, True)
    assert "of 50 rows" in penstock("profile", "show", "m", "1")[1]


def test_a_version_folder_of_a_repository_keeps_its_profile_beside_the_model(
    penstock, rows, tmp_path
):
    folder = tmp_path / "repository" / "m" / "1"
    builders.save(folder, builders.linear())
    status, out, _ = penstock("profile", folder, "--data", rows)
    assert (status, (folder / "profile.json").is_file()) == (0, True)
    assert str(folder / "profile.json") in out
    _, shown, _ = penstock("profile", "show", folder)
    assert "feature 'x' FP32 [-1, 4]" in shown
    # Registered, it brings the profile along.
    assert "of 200 rows" in penstock("register", folder, "--name", "m")[1]


def test_a_profile_can_go_to_a_file_and_to_nothing_else(penstock, rows, tmp_path):
    penstock("register", builders.save(tmp_path / "in", builders.linear(), "m.onnx"))
    out = tmp_path / "out.json"
    assert penstock("profile", "m", "--data", rows, "--out", out)[0] == 0
    assert read(out.read_bytes()).rows == 200
    assert penstock("profile", "show", "m")[0] == 1
    assert penstock("profile", "show", out)[0] == 0


def test_show_draws_a_line_a_column(penstock, profile, rows):
    profile(builders.linear(), rows)
    _, out, _ = penstock("profile", "show", "m")
    lines = {line.split()[0]: line for line in out.splitlines() if line}
    assert {"a", "b", "c", "d", "y[0]", "y[1]"} <= lines.keys()
    assert "█" in lines["a"]


def test_made_and_shown_as_json(penstock, rows, tmp_path):
    penstock("register", builders.save(tmp_path / "in", builders.linear(), "m.onnx"))
    made = json.loads(penstock("profile", "m", "--data", rows, "--json")[1])
    assert (made["rows"], made["columns"], made["server"]) == (200, 6, None)
    assert made["digest"] == digest(read(penstock("profile", "show", "m", "--json")[1]))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "a,b,c,d\n1,2,3\n", "row 1: expected 4 cells, got 3"),
        ("a.csv", "a,b,c,d\n1,2,3,four\n", "row 1, column d: expected a value of FP32, got 'four'"),
        ("a.csv", "a,b,c,d\n", "at least one row"),
        ("a.csv", "", "expected a header line"),
        ("a.parquet", "PAR1", "not Parquet, or damaged"),
        ("a.npy", "\x93NUMPY", "not a file of NumPy's arrays"),
        ("a.ndjson", '{"a":1,"b":2,"c":3,"d":4}\n[]', "row 2: expected the same columns"),
        ("a.txt", "", "expected --format csv, ndjson, parquet"),
    ],
)
def test_a_file_that_cannot_be_used_changes_nothing(penstock, tmp_path, name, content, message):
    penstock("register", builders.save(tmp_path / "in", builders.linear(), "m.onnx"))
    (tmp_path / name).write_text(content)
    status, _, err = penstock("profile", "m", "--data", tmp_path / name)
    assert status == 1
    assert message in err
    assert penstock("profile", "show", "m")[0] == 1


def test_arrays_of_another_shape_or_kind_are_refused(penstock, tmp_path):
    penstock("register", builders.save(tmp_path / "in", builders.linear(), "m.onnx"))
    np.save(tmp_path / "a.npy", np.ones((3, 5)))
    _, _, err = penstock("profile", "m", "--data", tmp_path / "a.npy")
    assert "input 'x': expected rows of shape [4], got [5]" in err
    np.save(tmp_path / "a.npy", np.full((3, 4), "word"))
    _, _, err = penstock("profile", "m", "--data", tmp_path / "a.npy")
    assert "expected values of FP32, got <U4" in err


def test_strings_that_say_nan_are_not_a_number(profile, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b,c,d\nnan,NaN,1,\n-nan,1,inf,2\n")
    columns = profile(builders.linear(), path).frames[0].columns
    assert [column.specials.nan for column in columns] == [2, 1, 0, 0]
    assert [column.specials.null for column in columns] == [0, 0, 0, 1]
    assert columns[2].specials.pos_inf == 1


@pytest.mark.parametrize(
    "words", [("profile",), ("profile", "m", "--bins", "1"), ("profile", "m", "--limit", "0")]
)
def test_wrong_usage_is_exit_status_2(penstock, words):
    assert penstock(*words)[0] == 2


def test_a_model_that_nobody_registered(penstock, rows):
    assert "nothing is registered" in penstock("profile", "m", "--data", rows)[2]
    assert "wanted --data FILE" in penstock("profile", "m")[2]
    assert "wanted MODEL" in penstock("profile", "m", "1", "2", "--data", rows)[2]


def test_pictures_show_what_is_there_and_nothing_where_nothing_is():
    assert bars([0, 1, 4, 8]) == " ▁▄█"
    assert bars([0, 0]) == "  "
    assert of_column(numeric(counts=(0, 3, 6))) == " ▄█"
    assert of_column(words(counts=(1, 8))) == "█▁"
    edges = np.concatenate([np.arange(30) / 30, [1, 2, 3]])
    picture = of_column(numeric(edges=edges, counts=[1] * 34))
    assert (len(picture), picture[0], picture[-1]) == (16, "█", "▁")
    huge = numeric(edges=np.linspace(-1, 1, 33) * 1.7e308, counts=[1] * 34, type_="float64")
    assert "█" in of_column(huge)
