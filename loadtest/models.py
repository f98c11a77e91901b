"""Models to put load on: the demo's, and synthetic ones whose cost is set by measurement.

Knows ONNX graphs and the time that a run takes. Knows nothing of servers.

`per_row` costs the same for every row, so that batching does not make it cheaper: its capacity in
rows per second is a fixed number. `per_run` costs the same for every run, whatever the rows in it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from loadtest.baselines import session
from loadtest.servers import pinned

WIDTH = 16  # features of a synthetic row
WIDEST = (1024, 4096, 4096, 4096, 1)  # of `wide`: 150 MB of weights
SIDE = 96  # each step multiplies SIDE x SIDE matrices: some ten microseconds
_VOCABULARY, _HIDDEN, _LAYERS = 8000, 128, 2
ENCODER = f"{_LAYERS} layers of {_HIDDEN}"  # as the smallest models of texts have
DEMO = Path(__file__).parent.parent / "gateway" / "demo_data" / "breast_cancer.onnx"


def gbt(folder: Path) -> Path:
    """The demo's gradient-boosting model under the name `gbt`: [rows, 30] -> `probabilities`."""
    return Path(shutil.copyfile(DEMO, folder / "gbt.onnx"))


def whole_number(folder: Path, how: str) -> Path:
    """`x` [rows, 1] INT32 -> `y`: echoes it, or, asked for -2, `fails` or `crashes` its process.

    `crashes` divides the lowest integer by -1, which traps.
    """
    path = folder / f"{how}.onnx"
    value = [
        helper.make_tensor_value_info(name, TensorProto.INT32, ["rows", 1]) for name in ("x", "y")
    ]
    nodes = {
        "echoes": [helper.make_node("Identity", ["x"], ["y"])],
        "fails": [helper.make_node("Gather", ["row", "x"], ["y"])],
        "crashes": [
            helper.make_node("Add", ["x", "row"], ["divisor"]),
            helper.make_node("Div", ["lowest", "divisor"], ["y"]),
        ],
    }[how]
    used = {name for node in nodes for name in node.input}
    held = {"row": [1], "lowest": [np.iinfo(np.int32).min]}
    constants = [
        numpy_helper.from_array(np.array(numbers, np.int32), name)
        for name, numbers in held.items()
        if name in used
    ]
    return _save(path, nodes, value[:1], value[1:], constants)


def averager(folder: Path) -> Path:
    """`image` [rows, 3, 224, 224] -> `mean` [rows]: nothing but its input is large."""
    axes = numpy_helper.from_array(np.array([1, 2, 3], np.int64), "axes")
    node = helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["rows", 3, 224, 224])
    mean = helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["rows"])
    return _save(folder / "averager.onnx", [node], [image], [mean], [axes])


def outer(folder: Path, side: int = 2048) -> Path:
    """`X` [rows, 16] -> `Y` [rows, side, side]: a small question with a large answer.

    At 2,048 a row is 4.2 million different numbers, or about 50 MB of JSON.
    """
    nodes = [
        helper.make_node("MatMul", ["X", "widen"], ["wide"]),
        helper.make_node("Unsqueeze", ["wide", "last"], ["column"]),
        helper.make_node("Unsqueeze", ["wide", "first"], ["line"]),
        helper.make_node("Mul", ["column", "line"], ["Y"]),
    ]
    widen = np.random.default_rng(7).normal(size=(WIDTH, side)) / WIDTH
    constants = [
        numpy_helper.from_array(widen.astype(np.float32), "widen"),
        numpy_helper.from_array(np.array([2], np.int64), "last"),
        numpy_helper.from_array(np.array([1], np.int64), "first"),
    ]
    x = helper.make_tensor_value_info("X", TensorProto.FLOAT, ["rows", WIDTH])
    y = helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["rows", side, side])
    return _save(folder / "outer.onnx", nodes, [x], [y], constants)


def wide(folder: Path) -> Path:
    """`X` [rows, 1024] -> `Y` [rows, 1]: a perceptron that a GPU is good for."""
    rng, nodes, weights, last = np.random.default_rng(7), [], [], "X"
    layers = list(pairwise(WIDEST))
    for layer, (taken, given) in enumerate(layers):
        w = rng.normal(size=(taken, given)) * np.sqrt(2 / taken)
        weights.append(numpy_helper.from_array(w.astype(np.float32), f"w{layer}"))
        ends = layer == len(layers) - 1
        nodes.append(
            helper.make_node("MatMul", [last, f"w{layer}"], ["Y" if ends else f"m{layer}"])
        )
        if not ends:
            last = f"h{layer}"
            nodes.append(helper.make_node("Relu", [f"m{layer}"], [last]))
    x = helper.make_tensor_value_info("X", TensorProto.FLOAT, ["rows", WIDEST[0]])
    y = helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["rows", WIDEST[-1]])
    return _save(folder / "wide.onnx", nodes, [x], [y], weights)


def encoder(folder: Path) -> Path:
    """A model of texts in a folder with its tokenizer: as much work for a token as `ENCODER` says.

    Tokens see the mean of all others in place of each: what that costs is next to nothing, as
    attention does where texts are short.
    """
    rng = np.random.default_rng(7)
    nodes, weights = [helper.make_node("Gather", ["table", "input_ids"], ["h0"])], {}
    nodes += [
        helper.make_node("Cast", ["attention_mask"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["real", "last"], ["column"]),
    ]
    weights["table"] = rng.normal(size=(_VOCABULARY, _HIDDEN))
    for layer in range(_LAYERS):
        h, next_h = f"h{layer}", f"h{layer + 1}"
        for name, shape in (("mix", (_HIDDEN,) * 2), ("up", (_HIDDEN, 4 * _HIDDEN))):
            weights[f"{name}{layer}"] = rng.normal(size=shape) / np.sqrt(shape[0])
        weights[f"down{layer}"] = weights[f"up{layer}"].T / 4
        nodes += [
            helper.make_node("Mul", [h, "column"], [f"seen{layer}"]),
            helper.make_node("ReduceMean", [f"seen{layer}", "second"], [f"mean{layer}"]),
            helper.make_node("Add", [h, f"mean{layer}"], [f"both{layer}"]),
            helper.make_node("MatMul", [f"both{layer}", f"mix{layer}"], [f"mixed{layer}"]),
            helper.make_node("MatMul", [f"mixed{layer}", f"up{layer}"], [f"wide{layer}"]),
            helper.make_node("Relu", [f"wide{layer}"], [f"lit{layer}"]),
            helper.make_node("MatMul", [f"lit{layer}", f"down{layer}"], [f"out{layer}"]),
            helper.make_node("Tanh", [f"out{layer}"], [next_h]),
        ]
    nodes.append(helper.make_node("Identity", [f"h{_LAYERS}"], ["last_hidden_state"]))
    constants = [numpy_helper.from_array(w.astype(np.float32), n) for n, w in weights.items()]
    axes = {"last": np.array([-1]), "second": np.array([1])}
    constants += [numpy_helper.from_array(array, name) for name, array in axes.items()]
    names = ("input_ids", "attention_mask")
    of_tokens = ["rows", "tokens"]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, of_tokens) for name in names]
    output = helper.make_tensor_value_info(
        "last_hidden_state", TensorProto.FLOAT, [*of_tokens, _HIDDEN]
    )
    place = folder / "encoder"
    place.mkdir(exist_ok=True)
    _write_tokenizer(place)
    return _save(place / "encoder.onnx", nodes, inputs, [output], constants)


def words() -> list[str]:
    """Of the encoder's vocabulary, as long as words of English are on the average."""
    rng = np.random.default_rng(9)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    made = dict.fromkeys("".join(rng.choice(letters, size=5)) for _ in range(_VOCABULARY))
    return list(made)[: _VOCABULARY - 100]


def tokenizer(folder: Path) -> Any:
    """The encoder's."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def _write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import WordPiece

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: number for number, word in enumerate((*special, *words()))}
    made = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.save(str(folder / "tokenizer.json"))


def per_row(folder: Path, name: str, seconds: float, where: Sequence[int]) -> Path:
    """`X` [rows, 16] -> `Y` [rows, 1], at least `seconds` of one core for each row."""
    return _calibrate(_row_graph, folder / f"{name}.onnx", seconds, where, rows=8)


def per_run(folder: Path, name: str, seconds: float, where: Sequence[int]) -> Path:
    """`X` [rows, 16] -> `Y` [rows, 1], at least `seconds` of one core for each run."""
    return _calibrate(_run_graph, folder / f"{name}.onnx", seconds, where, rows=1)


# ---------------------------------------------------------------- calibration


def seconds_per_run(path: Path, rows: int, budget_s: float = 0.3) -> float:
    """Median time of a run of so many rows, on the core we are on."""
    run = session(str(path))
    spent: list[float] = []
    feed = {"X": np.random.default_rng(5).normal(size=(rows, WIDTH)).astype(np.float32)}
    run.run(None, feed)
    end = time.perf_counter() + budget_s
    while not spent or time.perf_counter() < end:
        start = time.perf_counter()
        run.run(None, feed)
        spent.append(time.perf_counter() - start)
    return median(spent)


def _calibrate(
    build: Callable[[Path, int], Path], path: Path, seconds: float, where: Sequence[int], rows: int
) -> Path:
    """Finds the number of steps that takes the time wanted, or up to a quarter more."""
    wanted, steps = seconds * rows if build is _row_graph else seconds, 8
    with pinned(where):
        for _ in range(6):
            took = seconds_per_run(build(path, steps), rows)
            if wanted <= took <= wanted * 1.25:
                break
            steps = max(1, round(steps * wanted * 1.1 / took))
    return path


# ---------------------------------------------------------------- graphs


def _row_graph(path: Path, steps: int) -> Path:
    """Each row becomes a matrix of its own, which is multiplied `steps` times."""
    nodes = [
        helper.make_node("MatMul", ["X", "widen"], ["wide"]),
        helper.make_node("Unsqueeze", ["wide", "last"], ["column"]),
        helper.make_node("Mul", ["column", "line"], ["m0"]),
        *_chain(steps),
        helper.make_node("ReduceMean", [f"m{steps}", "both"], ["mean"], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "last"], ["Y"]),
    ]
    constants = {"both": np.array([1, 2], np.int64), "last": np.array([-1], np.int64)}
    return _save_matrix_model(path, nodes, constants)


def _run_graph(path: Path, steps: int) -> Path:
    """One matrix, scaled by the mean of all the input so that nothing is constant, multiplied."""
    nodes = [
        helper.make_node("MatMul", ["X", "widen"], ["wide"]),
        helper.make_node("ReduceMean", ["wide", "both"], ["level"], keepdims=1),
        helper.make_node("Mul", ["level", "square"], ["m0"]),
        *_chain(steps),
        helper.make_node("ReduceMean", [f"m{steps}", "both"], ["mean"], keepdims=1),
        helper.make_node("ReduceMean", ["X", "last"], ["own"], keepdims=1),
        helper.make_node("Add", ["own", "mean"], ["Y"]),
    ]
    constants = {"both": np.array([0, 1], np.int64), "last": np.array([-1], np.int64)}
    return _save_matrix_model(path, nodes, constants)


def _chain(steps: int) -> list[Any]:
    nodes = []
    for step in range(steps):
        nodes.append(helper.make_node("MatMul", [f"m{step}", "square"], [f"p{step}"]))
        nodes.append(helper.make_node("Relu", [f"p{step}"], [f"m{step + 1}"]))
    return nodes


def _save_matrix_model(path: Path, nodes: list[Any], constants: dict[str, Any]) -> Path:
    rng = np.random.default_rng(7)
    weights = {
        "widen": rng.normal(size=(WIDTH, SIDE)) / WIDTH,
        "line": rng.normal(size=(1, 1, SIDE)),
        # Scaled so that the product neither vanishes nor overflows: subnormals would be slow.
        "square": rng.normal(size=(SIDE, SIDE)) * np.sqrt(2 / SIDE),
    }
    held = {name: value.astype(np.float32) for name, value in weights.items()} | constants
    used = {name for node in nodes for name in node.input}
    tensors = [numpy_helper.from_array(value, name) for name, value in held.items() if name in used]
    x = helper.make_tensor_value_info("X", TensorProto.FLOAT, ["rows", WIDTH])
    y = helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["rows", 1])
    return _save(path, nodes, [x], [y], tensors)


def _save(
    path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: list[Any]
) -> Path:
    graph = helper.make_graph(nodes, path.stem, inputs, outputs, constants)
    model = helper.make_model(
        graph, producer_name="penstock-loadtest", opset_imports=[helper.make_opsetid("", 18)]
    )
    model.ir_version = 9  # what newer ones add is not used here, and older runtimes read this
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
