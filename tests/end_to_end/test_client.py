"""The Python client against a running server: every method, both ways of sending, both kinds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest

from gateway.client import Admin, AsyncAdmin, AsyncClient, Client, Unreachable
from gateway.errors import (
    ConfigInvalid,
    DeadlineExpired,
    DeadlineUnmeetable,
    InvalidTensor,
    ModelNotFound,
    PreconditionFailed,
    VersionNotFound,
    WrongInputs,
)
from tests.end_to_end import zoo
from tests.end_to_end.server import RunningServer, running

RNG = np.random.default_rng(11)
EVERY = {
    "in_BOOL": np.array([[True, False]]),
    "in_BYTES": np.array([["café", ""]]),
    "in_FP16": np.array([[0.5, -2.0]], np.float16),
    "in_FP32": RNG.random((1, 2), np.float32),
    "in_FP64": RNG.random((1, 2)),
} | {
    f"in_{sign}INT{bits}": np.array([[1, 100]], f"{sign.lower()}int{bits}")
    for sign in ("", "U")
    for bits in (8, 16, 32, 64)
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("zoo")
    repository = zoo.build(folder / "models")
    with running(folder, repository, "--workers", "1") as started:
        yield started


@pytest.fixture(scope="module")
def penstock(server: RunningServer) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{server.port}") as client:
        yield client


@pytest.fixture(scope="module")
def admin(server: RunningServer) -> Iterator[Admin]:
    with Admin(f"http://127.0.0.1:{server.admin_port}", timeout_s=120) as client:
        yield client


def test_every_datatype_goes_and_comes_back_in_binary(penstock):
    answer = penstock.infer("every", EVERY)
    assert len(answer) == len(EVERY)
    for name, sent in EVERY.items():
        got = answer[name.replace("in_", "out_")]
        expected = np.char.encode(sent).astype(object) if name == "in_BYTES" else sent
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)


def test_json_gives_the_same(penstock):
    answer = penstock.infer("words", [["café"], ["x"]], json=True)
    assert answer["y"].tolist() == [["café".encode()], [b"x"]]
    rows = RNG.random((3, 4096), np.float32)
    sent = penstock.infer("wide", {"x": rows}, json=True)
    np.testing.assert_array_equal(sent["y"], penstock.infer("wide", rows)["y"])


def test_an_answer_says_who_gave_it(penstock):
    answer = penstock.infer("versions", {"x": np.ones((1, 1), np.float32)}, version=2, id="mine")
    assert (answer.model, answer.version, answer.id) == ("versions", "2", "mine")
    assert answer["y"].tolist() == [[2.0]]
    assert answer.request_id.count("-") >= 3
    assert penstock.infer("versions", [[1.0]]).version == "10"


def test_only_the_outputs_asked_for_come(penstock):
    ones = np.ones((1, 16), np.int32)
    answer = penstock.infer("sums", {"INPUT0": ones, "INPUT1": ones}, outputs=["OUTPUT1"])
    assert list(answer) == ["OUTPUT1"]


def test_a_refusal_is_raised_as_its_class(penstock):
    with pytest.raises(ModelNotFound) as unknown:
        penstock.infer("nosuch", {"x": np.zeros((1, 1), np.float32)})
    error = unknown.value
    assert (error.status, error.code, error.retryable) == (404, "model_not_found", False)
    assert error.request_id
    with pytest.raises(VersionNotFound):
        penstock.model("versions", 99)
    with pytest.raises(WrongInputs, match="got 'z'"):
        penstock.infer("linear", {"z": [[0.0]]})
    with pytest.raises(InvalidTensor, match="data-type is 'FP64', but model 'wide' expects 'FP32'"):
        penstock.infer("wide", {"x": np.zeros((1, 4096))})


def test_a_deadline_reaches_the_queue_of_the_model(penstock):
    # Its run takes far longer: the server itself says no, while the client would still wait.
    with pytest.raises((DeadlineUnmeetable, DeadlineExpired)):
        penstock.infer("slow", [[1.0]], parameters={"timeout": 1})


def test_what_is_known_of_models(penstock):
    model = penstock.model("flowers")
    assert (model.name, model.versions) == ("flowers", ("1",))
    assert ("iris", "rose", "tulip") in [spec.labels for spec in model.outputs]
    listed = {(line["name"], line["version"]): line["state"] for line in penstock.models()}
    assert listed["versions", "10"] == "READY"
    penstock.infer("linear", [[0.0] * penstock.model("linear").inputs[0].shape[1]])
    (counts,) = penstock.statistics("linear")
    assert counts["inference_count"] >= 1
    assert len(penstock.statistics()) > 10
    assert len(penstock.statistics("versions", 2)) == 1
    assert penstock.server()["name"] == "penstock"
    assert penstock.live()
    assert penstock.ready()
    assert penstock.ready("versions", 10)
    assert penstock.ready(zoo.ODD_NAME)


def test_operation_takes_a_model_out_and_back(penstock, admin):
    admin.unload("echo")
    assert not penstock.ready("echo")
    states = {line["name"]: line["state"] for line in admin.models()}
    assert (states["echo"], states["linear"]) == ("UNAVAILABLE", "READY")
    admin.load("echo")
    assert penstock.ready("echo")
    with pytest.raises(ModelNotFound):
        admin.load("nosuch")


def test_operation_tells_of_the_server(server, admin):
    assert admin.live()
    assert admin.ready()
    assert admin.status()["supervisor"] == server.process.pid
    assert admin.reload()["absent"] == []
    assert "nv_inference_count" in admin.metrics()
    assert "nv_inference_count" not in admin.metrics(triton=False)


DOCUMENT = "defaults: {timeout_ms: 60000}\n"


def test_the_configuration_is_changed_looked_at_and_taken_back(admin):
    number = admin.apply_config("{}", admin.config()["number"])["revision"]
    tried = admin.apply_config(DOCUMENT, number, dry_run=True)
    assert [one["path"] for one in tried["changes"]] == ["defaults.timeout_ms"]
    assert "linear" in tried["changes"][0]["models"]
    assert admin.config()["number"] == number
    done = admin.apply_config(DOCUMENT, number, note="why", source="/p.yaml")
    assert (done["before"], done["revision"]) == (number, number + 1)
    kept = admin.config(done["revision"])
    assert (kept["document"], kept["note"], kept["source"]) == (DOCUMENT, "why", "/p.yaml")
    values = {one["path"]: one["value"] for one in admin.effective_config()["settings"]}
    assert values["defaults.timeout_ms"] == 60000
    with pytest.raises(PreconditionFailed):
        admin.apply_config("", number)
    with pytest.raises(ConfigInvalid, match=r"server\.port"):
        admin.apply_config("server: {port: -1}", done["revision"])
    with pytest.raises(PreconditionFailed):
        admin.roll_back_config(number)
    assert admin.roll_back_config(done["revision"], number, dry_run=True)["changes"]
    back = admin.roll_back_config(done["revision"], number)
    (newest,) = admin.revisions(limit=1)["revisions"]
    assert newest["number"] == back["revision"] == number + 2
    assert admin.revisions(before=number + 2, limit=1)["revisions"][0]["number"] == number + 1


def test_keys_are_made_replaced_and_taken_back(admin):
    made = admin.create_key("shop", "client", ["linear"], "30d", team="shops")
    assert (made["name"], made["models"], made["team"]) == ("shop", ["linear"], "shops")
    changed = admin.set_key(made["id"], limits={"budgets": ["10usd/day"]})
    assert (changed["team"], changed["limits"]["budgets"]) == ("shops", ["10usd/day"])
    assert admin.spend() == {"spend": [], "next": None}
    other = admin.rotate_key(made["id"], "1h")
    assert other["key"] != made["key"]
    assert admin.revoke_key(other["id"])["state"] == "revoked"
    states = {key["id"]: key["state"] for key in admin.list_keys()}
    assert (states[made["id"]], states[other["id"]]) == ("active", "revoked")
    assert all("key" not in key for key in admin.list_keys())


def test_the_audit_is_read_page_by_page(admin):
    page = admin.audit(limit=1)
    assert (len(page["entries"]), page["next"]) == (1, page["entries"][0]["id"])
    assert admin.audit(after=page["next"])["entries"][0]["id"] > page["next"]


def test_the_asynchronous_client_operates_all_the_same(server):
    async def ask() -> None:
        async with AsyncAdmin(f"http://127.0.0.1:{server.admin_port}", timeout_s=120) as admin:
            number = (await admin.config())["number"]
            number = (await admin.apply_config("{}", number))["revision"]
            done = await admin.apply_config(DOCUMENT, number)
            assert (await admin.config(done["revision"]))["document"] == DOCUMENT
            assert (await admin.effective_config())["revision"] == done["revision"]
            back = await admin.roll_back_config(done["revision"], number)
            assert (await admin.revisions())["revisions"][0]["number"] == back["revision"]
            made = await admin.create_key("till", "viewer")
            assert (await admin.set_key(made["id"], tags=["eu"]))["tags"] == ["eu"]
            assert (await admin.spend(limit=1))["next"] is None
            other = await admin.rotate_key(made["id"])
            await admin.revoke_key(other["id"])
            assert {made["id"], other["id"]} <= {key["id"] for key in await admin.list_keys()}
            assert (await admin.audit(limit=1))["next"]
            assert (await admin.reload(config=False))["absent"] == []

    asyncio.run(ask())


def test_the_asynchronous_clients_ask_many_things_at_once(server):
    rows = [RNG.random((1, 4096), np.float32) for _ in range(50)]

    async def ask() -> None:
        async with (
            AsyncClient(f"http://127.0.0.1:{server.port}") as penstock,
            AsyncAdmin(f"http://127.0.0.1:{server.admin_port}") as admin,
        ):
            answers = await asyncio.gather(*(penstock.infer("wide", row) for row in rows))
            for row, answer in zip(rows, answers, strict=True):
                np.testing.assert_array_equal(answer["y"], row)
            assert await penstock.ready()
            assert (await penstock.model("sums")).outputs[1].name == "OUTPUT1"
            assert (await admin.status())["ready"]
            assert await admin.live()

    asyncio.run(ask())


def test_a_server_that_has_gone_is_unreachable(start, tmp_path):
    from tests.models.builders import linear, save

    server = start(save(tmp_path, linear(), "m.onnx"), "--workers", "1")
    with Client(f"http://127.0.0.1:{server.port}") as client:
        assert client.ready()
        server.stop()
        with pytest.raises(Unreachable):
            client.ready()
