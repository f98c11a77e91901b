"""Batches that ask for some outputs run on a session that makes no others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gateway.config import ModelSettings
from gateway.errors import ModelRefused
from gateway.models import content
from gateway.plan import Held
from gateway.serving.deployment import Deployment, load
from gateway.serving.outputs import MAX_ASKED, OutputSets
from gateway.serving.pruned import Pruned, Pruner
from gateway.serving.riders import Batch, Rider
from gateway.serving.turn import TurnBudget
from gateway.tensors import Signature, TensorSpec
from tests.models.builders import classifier, linear, make, value
from tests.serving.fakes import Client, FakeClock, FakeExecutor, FakeLoop, FakeRuntime

THREE = Signature(
    (TensorSpec("x", "FP32", (-1, 1)),),
    tuple(TensorSpec(name, "FP32", (-1, 1)) for name in "abc"),
    True,
)


# ---- which session a batch gets ----


class FakeBuilder:
    """Builds what it is asked for, unless there is nothing to leave out, or it fails."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, ...]] = []
        self.nothing: set[tuple[int, ...]] = set()
        self.error: Exception | None = None
        self.runtimes: list[FakeRuntime] = []

    def build(self, wanted):
        self.asked.append(wanted)
        if self.error is not None:
            raise self.error
        if wanted in self.nothing:
            return None
        self.runtimes.append(FakeRuntime(THREE))
        return Pruned(FakeRuntime(THREE), self.runtimes[-1], wanted)


class Room:
    def __init__(self, most: int = 4) -> None:
        self.builder = FakeBuilder()
        self.loop = FakeLoop(FakeClock())
        self.executor = FakeExecutor()
        self.marks: list[int] = []
        self.built: list[bool] = []
        self.sets = OutputSets(
            "m",
            "abc",
            most,
            self.builder,
            self.loop,
            self.executor,
            self.marks.append,
            self.built.append,
        )

    def ask(self, *wanted: int) -> Collection[int] | None:
        """What the session makes that these get now; None: everything. Then builds what is due."""
        session = self.sets.choose(wanted)
        while self.executor.waiting:
            self.executor.run_next()
            self.loop.settle()
        return None if session is None else session.outputs


def test_the_whole_session_answers_until_the_pruned_one_is_there():
    room = Room()
    assert room.ask(1) is None
    assert room.ask(1) == {1}
    assert room.builder.asked == [(1,)]
    assert (room.marks, room.built) == ([1, -1], [True])


def test_all_outputs_are_never_asked_about():
    room = Room()
    assert room.ask(0, 1, 2) is None
    assert room.builder.asked == []


def test_the_smallest_session_that_makes_them_all_is_used():
    room = Room()
    room.ask(0, 1)
    room.ask(1)
    assert [room.ask(0), room.ask(1), room.ask(0, 1)] == [{0, 1}, {1}, {0, 1}]


def test_a_set_that_leaves_nothing_out_is_asked_about_once():
    room = Room()
    room.builder.nothing.add((1,))
    assert [room.ask(1), room.ask(1), room.ask(1)] == [None, None, None]
    assert room.builder.asked == [(1,)]
    assert room.built == []


def test_no_more_sessions_are_built_than_configured():
    room = Room(most=1)
    room.ask(0)
    assert [room.ask(1), room.ask(1), room.ask(0)] == [None, None, {0}]
    assert room.builder.asked == [(0,)]


def test_one_is_built_at_a_time_and_others_get_their_turn_later():
    room = Room()
    room.sets.choose((0,))
    room.sets.choose((1,))
    assert len(room.executor.waiting) == 1
    room.ask(1)
    room.ask(1)
    assert room.builder.asked == [(0,), (1,)]


def test_clients_cannot_ask_about_sets_without_end():
    room = Room()
    sets = OutputSets("m", [str(n) for n in range(100)], 4, room.builder, room.loop, room.executor)
    room.builder.error = ModelRefused("no")
    for index in range(99):
        sets.choose((index,))
        while room.executor.waiting:
            room.executor.run_next()
            room.loop.settle()
    assert len(room.builder.asked) == MAX_ASKED


def test_a_session_that_cannot_be_built_is_counted_said_once_and_does_without(caplog):
    room = Room()
    room.builder.error = ModelRefused("no memory")
    assert [room.ask(0), room.ask(1), room.ask(0)] == [None, None, None]
    assert caplog.messages == ["model 'm': no session for 'a' alone: no memory"]
    assert (room.built, room.marks) == ([False, False], [1, -1, 1, -1])


def test_without_a_thread_to_build_on_the_whole_session_answers(caplog):
    room = Room()
    room.executor.broken = True
    assert [room.ask(0), room.ask(0)] == [None, None]
    assert (room.built, room.marks) == ([False], [1, -1])
    assert caplog.messages == ["model 'm': no session for 'a' alone: RuntimeError"]


def test_a_deployment_that_leaves_has_nothing_more_built():
    room = Room()
    room.sets.stop()
    assert room.ask(0) is None
    assert room.builder.asked == []


def test_a_build_is_marked_before_it_can_begin():
    room = Room()
    marked: list[list[int]] = []

    class Hasty(FakeExecutor):
        def submit(self, call, *args):
            marked.append(list(room.marks))

    sets = OutputSets("m", "abc", 4, room.builder, room.loop, Hasty(), room.marks.append)
    sets.choose((0,))
    assert marked == [[1]]


@pytest.mark.parametrize("told", ["before", "after"])
def test_a_session_that_was_finished_when_its_deployment_left_is_closed_once(told):
    room = Room()
    room.ask(0)
    room.sets.choose((1,))
    room.executor.run_next()
    room.sets.stop()
    if told == "before":
        room.loop.settle()
    room.sets.close()
    room.loop.settle()
    assert [runtime.closed for runtime in room.builder.runtimes] == [1, 1]
    assert (room.built, room.marks) == ([True], [1, -1, 1, -1])


# ---- real sessions ----


def trap() -> onnx.ModelProto:
    """`good` negates; `bad` fails at run time on every row that does not begin with 0 or 1."""
    nodes = [
        helper.make_node("Neg", ["x"], ["good"]),
        helper.make_node("Cast", ["x"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["bad"]),
    ]
    table = numpy_helper.from_array(np.array([7, 8], np.float32), "table")
    return make(nodes, [value("x")], [value("good"), value("bad")], [table])


def held(folder, model: onnx.ModelProto, **settings) -> Held:
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return held_files(folder, "model.onnx", **settings)


def held_files(folder, *files: str, **settings) -> Held:
    digest = content.digest(folder, files)
    return Held("m", 1, str(folder), files[0], digest, plain(**settings), {}, 0)


def plain(**settings):
    # What a trap makes of random numbers would leave it cold.
    return ModelSettings(**{"device": "cpu", "warmup": False, **settings}).model_dump()


class Served:
    """A deployment on the running loop, and what it delivered."""

    def __init__(self, it: Held) -> None:
        loop = asyncio.get_running_loop()
        self.delivered: asyncio.Queue[Batch] = asyncio.Queue()
        self.tried: asyncio.Queue[bool] = asyncio.Queue()
        self.done = asyncio.Event()
        self.loaded = load(it)
        self.deployment = Deployment(
            self.loaded,
            self.delivered.put_nowait,
            lambda rider, error: None,
            loop,
            TurnBudget(loop),
            built=self.tried.put_nowait,
        )

    async def ask(self, rows: np.ndarray, *wanted: tuple[int, ...]) -> Batch:
        """One batch, with a rider of these rows for each set of outputs."""
        for outputs in wanted:
            self.deployment.batcher.submit(Rider(Client(), None, (rows,), len(rows), outputs))
        return await asyncio.wait_for(self.delivered.get(), 20)

    async def attempt(self) -> bool:
        """Whether a session that was asked for was built, once that is known."""
        return await asyncio.wait_for(self.tried.get(), 20)

    async def leave(self) -> None:
        self.deployment.drain(self.done.set)
        await asyncio.wait_for(self.done.wait(), 20)
        await asyncio.to_thread(self.deployment.close)


HARMLESS = np.ones((2, 4), np.float32)
HARMFUL = np.full((2, 4), 5, np.float32)


@pytest.mark.anyio
async def test_a_branch_that_nobody_asked_for_does_not_run(tmp_path, caplog):
    served = Served(held(tmp_path, trap()))
    with caplog.at_level(logging.CRITICAL):
        first = await served.ask(HARMFUL, (0,))
    assert first.error is not None  # the whole graph ran, the branch that fails with it
    assert await served.attempt()
    after = await served.ask(HARMFUL, (0,))
    assert after.error is None
    np.testing.assert_array_equal(after.outputs[0], -HARMFUL)
    assert after.outputs[1] is None
    await served.leave()


@pytest.mark.anyio
async def test_riders_that_want_different_outputs_still_share_a_run(tmp_path):
    served = Served(held(tmp_path, trap()))
    await served.ask(HARMLESS, (0,))
    assert await served.attempt()
    batch = await served.ask(HARMLESS, (0,), (1,))
    assert (batch.rows, batch.wanted, batch.runtime) == (4, (0, 1), None)
    assert [output is None for output in batch.outputs] == [False, False]
    await served.leave()


@pytest.mark.anyio
async def test_with_none_configured_the_whole_graph_runs(tmp_path, caplog):
    served = Served(held(tmp_path, trap(), max_output_sets=0))
    assert served.loaded.pruner is None
    await served.ask(HARMLESS, (0,))
    with caplog.at_level(logging.CRITICAL):
        batch = await served.ask(HARMFUL, (0,))
    assert batch.error is not None
    await served.leave()


@pytest.mark.anyio
async def test_a_failed_pruned_batch_is_taken_apart_on_the_same_session(tmp_path, caplog):
    model = trap()
    model.graph.node.append(helper.make_node("Exp", ["x"], ["third"]))
    model.graph.output.append(value("third"))
    served = Served(held(tmp_path, model))
    await served.ask(HARMLESS, (1,))
    assert await served.attempt()
    for rows in (HARMLESS, HARMFUL):
        rider = Rider(Client(), None, (rows,), len(rows), (1,))
        served.deployment.batcher.submit(rider)
    with caplog.at_level(logging.CRITICAL):
        parts = [await asyncio.wait_for(served.delivered.get(), 20) for _ in range(2)]
    assert [part.error is None for part in parts] == [True, False]
    assert all(part.runtime is not None and part.isolated for part in parts)
    await served.leave()


@pytest.mark.anyio
async def test_pruned_runs_leave_the_fitted_lines_alone(tmp_path):
    served = Served(held(tmp_path, trap()))
    batcher = served.deployment.batcher
    await served.ask(HARMLESS, (0,))
    assert await served.attempt()
    runs = (batcher.wall.runs, batcher.hold.runs)
    pruned = await served.ask(HARMLESS, (0,))
    assert pruned.runtime is not None
    assert (batcher.wall.runs, batcher.hold.runs) == runs
    await served.ask(HARMLESS, (0, 1))
    assert (batcher.wall.runs, batcher.hold.runs) == (runs[0] + 1, runs[1] + 1)
    await served.leave()


@pytest.mark.anyio
async def test_a_file_that_was_overwritten_meanwhile_is_not_mixed_with_the_loaded_one(
    tmp_path, caplog
):
    served = Served(held(tmp_path, trap()))
    other = trap()
    other.graph.node[0].op_type = "Exp"
    (tmp_path / "model.onnx").write_bytes(other.SerializeToString())
    await served.ask(HARMLESS, (0,))
    assert not await served.attempt()
    batch = await served.ask(HARMLESS, (0,))
    np.testing.assert_array_equal(batch.outputs[0], -HARMLESS)
    why = "its files changed since it was loaded"
    assert caplog.messages == [f"model 'm': no session for 'good' alone: {why}"]
    await served.leave()


@pytest.mark.anyio
async def test_a_file_that_is_gone_leaves_the_whole_session_answering(tmp_path, caplog):
    served = Served(held(tmp_path, trap()))
    (tmp_path / "model.onnx").unlink()
    await served.ask(HARMLESS, (0,))
    assert not await served.attempt()
    batch = await served.ask(HARMLESS, (0,))
    assert batch.error is None
    why = "its files: No such file or directory"
    assert caplog.messages == [f"model 'm': no session for 'good' alone: {why}"]
    await served.leave()


def texts() -> onnx.ModelProto:
    return make(
        [
            helper.make_node("Identity", ["s"], ["same"]),
            helper.make_node("StringConcat", ["s", "s"], ["twice"]),
        ],
        [value("s", ("rows", 1), TensorProto.STRING)],
        [value(name, ("rows", 1), TensorProto.STRING) for name in ("same", "twice")],
        opsets=(("", 20),),
        ir_version=9,
    )


def test_text_comes_out_of_a_part_as_out_of_the_whole(tmp_path):
    loaded = load(held(tmp_path, texts()))
    assert loaded.pruner is not None
    part = loaded.pruner.build((0,))
    assert part is not None
    rows = np.array([["naïve".encode()], [b""]], object)
    (output,) = part.run([rows], (0,))
    assert output.tolist() == rows.tolist()
    assert part.outputs == {0}


def test_a_part_is_warmed_up_and_a_zipmap_in_it_is_a_plain_tensor(tmp_path):
    model = classifier(["cat", "dog"])
    model.graph.node[0].input[0] = "r"
    model.graph.node.insert(0, helper.make_node("Abs", ["x"], ["r"]))
    model.graph.node.append(helper.make_node("Exp", ["x"], ["scores"]))
    model.graph.output.append(value("scores", ("rows", 2)))
    loaded = load(held(tmp_path, model, warmup=True))
    assert loaded.pruner is not None
    part = loaded.pruner.build((1,))
    assert part is not None
    rows = np.ones((3, 2), np.float32)
    for one, whole in zip(part.run([rows], (1,)), loaded.runtime.run([rows], (1,)), strict=True):
        np.testing.assert_array_equal(one, whole)
    assert loaded.pruner.build((1,)) is None  # it is there already
    labelled = loaded.pruner.build((0,))
    assert labelled is not None
    assert labelled.outputs == {0}
    assert labelled.run([rows], (0,))[0].shape == (3, 2)


def test_a_part_that_memory_would_not_hold_is_refused(tmp_path):
    loaded = load(held(tmp_path, trap()))
    room = iter([1 << 30, 1])  # the part's own bytes would fit, what loading takes would not
    tight = Pruner(
        loaded.file,
        content.stamps(tmp_path, loaded.file.files),
        loaded.runtime,
        loaded.settings,
        (16,),
        lambda: next(room),
    )
    with pytest.raises(ModelRefused, match=r"^needs about 1 MB of memory to load, 1 MB"):
        tight.build((0,))
    room = iter([1 << 30, 1 << 30])
    assert tight.build((0,)) is not None


def test_external_weights_of_a_part_are_found_in_the_models_folder(tmp_path):
    model = linear()
    model.graph.node.append(helper.make_node("Exp", ["x"], ["z"]))
    model.graph.output.append(value("z"))
    onnx.save(
        model,
        tmp_path / "model.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    loaded = load(held_files(tmp_path, "model.onnx", "weights.bin"))
    assert loaded.pruner is not None
    part = loaded.pruner.build((0,))
    assert part is not None
    rows = np.ones((2, 4), np.float32)
    np.testing.assert_array_equal(part.run([rows], (0,))[0], loaded.runtime.run([rows], (0,))[0])


def test_a_model_that_stays_cold_is_not_run_in_parts(tmp_path, caplog):
    model = trap()
    model.graph.node[1].input[0] = "far"
    model.graph.node.insert(1, helper.make_node("Add", ["x", "nine"], ["far"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array([9], np.float32), "nine"))
    with caplog.at_level(logging.CRITICAL):
        loaded = load(held(tmp_path, model, warmup=True))
    assert (loaded.wall.runs, loaded.pruner) == (0, None)
