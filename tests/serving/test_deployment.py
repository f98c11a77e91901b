"""Loading real files, and serving them on a real event loop."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gateway.config import ModelSettings
from gateway.errors import ModelRefused, QueueFull
from gateway.models import content
from gateway.plan import Held
from gateway.serving.deployment import Deployment, load
from gateway.serving.riders import Batch, Rider
from gateway.serving.turn import TurnBudget
from tests.embeddings import maker
from tests.models.builders import classifier, identity, linear, make, value
from tests.serving.fakes import Client


def held(folder, model: onnx.ModelProto, **settings) -> Held:
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    values = ModelSettings(**{"device": "cpu", **settings}).model_dump()
    digest = content.digest(folder, ["model.onnx"])
    return Held("m", 3, str(folder), "model.onnx", digest, values, {}, 0)


def rider(*arrays: np.ndarray) -> Rider:
    return Rider(Client(), None, arrays, len(arrays[0]), (0,))


def slow_model(times: int = 300, size: int = 256) -> onnx.ModelProto:
    """Half a millisecond of matrix products for one row, some more for many."""
    random = np.random.default_rng(0)
    w = (random.normal(size=(size, size)) / size).astype(np.float32)
    names = ["x", *[f"h{n}" for n in range(times - 1)], "y"]
    nodes = [helper.make_node("MatMul", [a, "w"], [b]) for a, b in itertools.pairwise(names)]
    inputs, outputs = [value("x", ("rows", size))], [value("y", ("rows", size))]
    return make(nodes, inputs, outputs, [numpy_helper.from_array(w, "w")])


class Served:
    """A deployment on the running loop, and what it delivered."""

    def __init__(self, it: Held) -> None:
        loop = asyncio.get_running_loop()
        self.batches: list[Batch] = []
        self.done = asyncio.Event()
        self.deployment = Deployment(
            load(it), self.batches.append, lambda rider, error: None, loop, TurnBudget(loop)
        )

    def submit(self, *arrays: np.ndarray) -> None:
        self.deployment.batcher.submit(rider(*arrays))

    async def leave(self) -> None:
        self.deployment.drain(self.done.set)
        await asyncio.wait_for(self.done.wait(), 10)
        await asyncio.to_thread(self.deployment.close)


def test_a_file_that_was_overwritten_since_it_was_looked_at_is_refused(tmp_path):
    looked_at = held(tmp_path, linear())
    (tmp_path / "model.onnx").write_bytes(linear(seed=1).SerializeToString())
    with pytest.raises(ModelRefused, match="its files are no longer what was tried out"):
        load(looked_at)


def test_a_loaded_model_is_warm_and_knows_its_cost(tmp_path):
    loaded = load(held(tmp_path, linear()))
    assert (loaded.name, loaded.version, loaded.notes) == ("m", 3, ())
    assert loaded.runtime.signature.batched
    assert loaded.wall.runs > 1
    assert 0 < loaded.load_s < 60


def test_warm_up_can_be_left_out(tmp_path):
    loaded = load(held(tmp_path, linear(), warmup=False))
    assert (loaded.wall.runs, loaded.notes) == (0, ())


def test_a_model_that_dislikes_made_up_input_is_served_cold(tmp_path, caplog):
    gather = make(
        [helper.make_node("Gather", ["w", "x"], ["y"])],
        [value("x", ("rows",), TensorProto.INT64)],
        [value("y", ("rows",))],
        [numpy_helper.from_array(np.empty(0, np.float32), "w")],
    )
    loaded = load(held(tmp_path, gather))
    assert loaded.notes[0].startswith("model 'm' version 3: starts cold: ")
    assert caplog.messages == list(loaded.notes)


def test_a_model_whose_outputs_are_not_rows_is_served_without_batching(tmp_path, caplog):
    mean = make(
        [helper.make_node("ReduceMean", ["x"], ["y"], axes=[0], keepdims=1)],
        [value("x")],
        [value("y", ("other", 4))],
    )
    with caplog.at_level(logging.CRITICAL):
        loaded = load(held(tmp_path, mean))
    assert not loaded.runtime.signature.batched
    assert "served without batching: output 'y': 2 rows gave shape [1, 4]" in loaded.notes[0]
    assert loaded.wall.runs == 1


def test_a_zipmap_is_cut_out_and_its_classes_are_columns(tmp_path):
    loaded = load(held(tmp_path, classifier(["cat", "dog"])))
    specs = loaded.runtime.signature.outputs
    zipped = next(index for index, spec in enumerate(specs) if spec.labels)
    inputs = [np.ones((3, spec.shape[1]), np.float32) for spec in loaded.runtime.signature.inputs]
    (output,) = loaded.runtime.run(inputs, (zipped,))
    assert (specs[zipped].labels, output.shape) == (("cat", "dog"), (3, 2))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param(
            {"preferred_batch_sizes": [4, 16], "max_batch_size": 8},
            "preferred_batch_sizes: wanted at most max_batch_size 8, got 16",
            id="preferred-size",
        ),
        pytest.param(
            {"padding": {"buckets": [4]}}, "padding: no input varies along axis -1", id="padding"
        ),
        pytest.param({"device": "cuda:7"}, "device 'cuda:7': ", id="device"),
    ],
)
def test_settings_that_do_not_fit_the_model_refuse_it(settings, words, tmp_path):
    with pytest.raises(ModelRefused, match=f"model 'm' version 3: {words}"):
        load(held(tmp_path, linear(), **settings))


def test_a_file_that_is_not_there_refuses_it_without_naming_folders(tmp_path):
    it = held(tmp_path, linear())
    (tmp_path / "model.onnx").unlink()
    with pytest.raises(ModelRefused) as refused:
        load(it)
    assert str(tmp_path) not in str(refused.value)


@pytest.mark.anyio
async def test_riders_on_a_real_loop_get_the_models_own_answers(tmp_path):
    served = Served(held(tmp_path, linear()))
    random = np.random.default_rng(5)
    for rows in (1, 2, 3):
        served.submit(random.normal(size=(rows, 4)).astype(np.float32))
    await served.leave()
    (batch,) = served.batches
    w = numpy_helper.to_array(linear().graph.initializer[0])
    assert batch.outputs[0] is not None
    np.testing.assert_allclose(batch.outputs[0], batch.inputs[0] @ w, rtol=1e-5)
    assert (batch.rows, batch.on_loop) == (6, True)


@pytest.mark.anyio
async def test_long_runs_leave_the_loop_free_and_fill_up_while_it_turns(tmp_path):
    served = Served(held(tmp_path, slow_model(), max_batch_size=64, max_queue_rows=200))
    row = np.ones((1, 256), np.float32)
    refused = turns = 0
    for _ in range(300):
        try:
            served.submit(row)
        except QueueFull:
            refused += 1
        await asyncio.sleep(0)
        turns += 1
    await served.leave()
    assert turns == 300
    assert sum(batch.rows for batch in served.batches) + refused == 300
    assert not any(batch.on_loop for batch in served.batches)
    assert max(batch.rows for batch in served.batches) > 1


@pytest.mark.anyio
async def test_text_of_one_rider_that_is_not_utf8_leaves_its_mates_alone(tmp_path):
    served = Served(held(tmp_path, identity(("rows", 1), TensorProto.STRING)))
    for text in (b"a", b"\xff", b"c"):
        array = np.empty((1, 1), object)
        array[0, 0] = text
        served.submit(array)
    await served.leave()
    codes = [batch.error.code if batch.error else "ok" for batch in served.batches]
    assert codes == ["ok", "invalid_tensor", "ok"]


@pytest.mark.anyio
async def test_ways_aside_that_come_and_go_leave_one_thread(tmp_path):
    served, ran = Served(held(tmp_path, linear(), warmup=False, intra_op_threads=2)), []
    x = np.ones((1, served.deployment.signature.inputs[0].shape[1]), np.float32)
    for _ in range(3):  # as a rollout's steps move the share of a shadow
        done = asyncio.Event()

        def deliver(batch: Batch, other_s: float, done: asyncio.Event = done) -> None:
            ran.append(batch.error)
            done.set()

        way = served.deployment.aside(deliver)
        way.add(rider(x), x.nbytes)
        await asyncio.wait_for(done.wait(), 30)
        assert way.close() == []
    assert ran == [None] * 3
    assert sum(one.name.startswith("aside-m") for one in threading.enumerate()) == 1
    await served.leave()
    assert not any(one.name.startswith("aside-m") for one in threading.enumerate())


def texts(folder, rows: int = maker.VOCABULARY, **settings) -> Held:
    maker.lay(folder, rows=rows)
    values = ModelSettings(**{"device": "cpu", "embeddings": {}, **settings}).model_dump()
    digest = content.digest(folder, ["model.onnx", "tokenizer.json"])
    return Held("m", 3, str(folder), "model.onnx", digest, values, {}, 0)


def test_a_model_of_texts_is_served_with_one_vector_for_each(tmp_path):
    loaded = load(texts(tmp_path))
    assert [spec.name for spec in loaded.runtime.signature.outputs] == ["embedding"]
    assert loaded.texts is not None
    (part,) = loaded.texts.read(["water wine", "salt"], 8)
    (vectors,) = loaded.runtime.run(part.inputs, (0,))
    assert np.allclose(vectors, maker.expected(["water wine", "salt"]), atol=1e-6)
    assert (loaded.pruner, loaded.notes) == (None, ())


def test_texts_of_unequal_length_share_runs_without_being_asked_for_it(tmp_path):
    loaded = load(texts(tmp_path, max_batch_size=8))
    assert loaded.settings.padding is not None
    assert loaded.settings.padding.buckets[:4] == [8, 16, 24, 32]
    assert load(texts(tmp_path, max_batch_size=0)).settings.padding is None


def test_a_tokenizer_of_more_words_than_its_model_knows_is_told(tmp_path):
    loaded = load(texts(tmp_path, rows=20))
    (note,) = loaded.notes
    assert f"fails with the largest id of its tokenizer, {maker.VOCABULARY - 1}" in note


def test_a_tokenizer_that_was_overwritten_since_it_was_looked_at_is_refused(tmp_path):
    looked_at = texts(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelRefused, match="its files are no longer what was tried out"):
        load(looked_at)
