"""The admin API made of a table: what is read, what is refused, and what its document says."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Literal

import httpx
import pytest
from openapi_spec_validator import validate
from pydantic import Field, ValidationError, model_validator
from starlette.routing import Route

from gateway import config
from gateway.access.roles import Permission
from gateway.control import (
    alert_operations,
    audit_operations,
    config_operations,
    drift_operations,
    experiment_operations,
    key_operations,
    release_operations,
    spend_operations,
)
from gateway.control.admin import Admin, operations
from gateway.control.api import _faults, build_app
from gateway.control.audit import Actor
from gateway.control.openapi import document, errors_of
from gateway.control.operations import MAX_BODY_BYTES, Asked, Document, Operation, Told
from gateway.control.rollout_documents import StartWanted
from gateway.errors import Conflict, ModelNotFound
from gateway.plan import Absent


class Size(Document):
    width: int = Field(ge=1)
    unit: Literal["mm", "inch"] = "mm"


class Which(Document):
    name: str


class Page(Document):
    limit: int = Field(10, ge=1, le=100)


class Seen(Document):
    path: str
    limit: int
    width: int


async def put(asked: Asked) -> Any:
    """A handler of every kind of input."""
    if asked.path.name == "taken":
        raise Conflict("taken: expected a free name")
    if asked.path.name == "broken":
        raise ZeroDivisionError
    if asked.path.name == "lying":
        return {"path": 7}
    return {"path": asked.path.name, "limit": asked.query.limit, "width": asked.body.width}


async def read(_: Asked) -> Any:
    return {"path": "", "limit": 1, "width": 1}


class Where(Document):
    """An answer that notes which thread checked it."""

    thread: int = 0

    @model_validator(mode="before")
    @classmethod
    def _note(cls, _: Any) -> Any:
        return {"thread": threading.get_ident()}


async def tell(_: Asked) -> Any:
    return {}


class Precondition(Document):
    revision: int = Field(ge=1, alias="if-match")


async def write(asked: Asked) -> Any:
    value = {"path": asked.body, "limit": 1, "width": asked.headers.revision}
    return Told(value, {"etag": "8"})


class To(Document):
    to: int


async def begin(asked: Asked) -> Any:
    return {"to": asked.body.to}


ROLL_OUT = Operation(
    "POST", "/rollouts", begin, "Begin", Permission.OPERATE, answer=To, body=StartWanted
)
TABLE = (
    Operation(
        "PUT",
        "/things/{name}",
        put,
        "Put a thing",
        Permission.ADMINISTER,
        answer=Seen,
        path_parameters=Which,
        query=Page,
        body=Size,
        errors=(Conflict,),
    ),
    Operation(
        "PUT",
        "/text",
        write,
        "Write a text",
        Permission.ADMINISTER,
        answer=Seen,
        status=201,
        body="text/plain",
        headers=Precondition,
    ),
    Operation(
        "GET", "/things/{name}", read, "Get", Permission.READ, answer=Seen, path_parameters=Which
    ),
)
GOOD = b'{"width": 3}'
JSON = {"content-type": "application/json"}


def ask(
    method: str, path: str, content: Any = b"", headers: Any = None, table: Any = TABLE
) -> httpx.Response:
    async def one() -> httpx.Response:
        transport = httpx.ASGITransport(build_app(table), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, content=content, headers=headers)

    return asyncio.run(one())


def refused(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert set(body) == {"error", "code"}
    assert body["error"]
    return answer.status_code, body["code"]


def test_a_handler_gets_everything_checked():
    answer = ask("PUT", "/things/a%20b?limit=5", GOOD, JSON)
    assert (answer.status_code, answer.json()) == (200, {"path": "a b", "limit": 5, "width": 3})
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("path", "content", "headers", "status", "code"),
    [
        pytest.param("?limit=5&limit=6", GOOD, JSON, 400, "invalid_parameter", id="twice"),
        pytest.param("?limit=x", GOOD, JSON, 400, "invalid_parameter", id="no-number"),
        pytest.param("?limit=101", GOOD, JSON, 400, "invalid_parameter", id="out-of-bounds"),
        pytest.param("?limt=5", GOOD, JSON, 400, "invalid_parameter", id="unknown"),
        pytest.param("", GOOD, None, 415, "unsupported_media_type", id="no-type"),
        pytest.param(
            "", GOOD, {"content-type": "text/plain"}, 415, "unsupported_media_type", id="type"
        ),
        pytest.param(
            "", GOOD, JSON | {"content-encoding": "gzip"}, 415, "unsupported_encoding", id="coding"
        ),
        pytest.param("", b"", JSON, 400, "malformed_json", id="empty"),
        pytest.param("", b"{", JSON, 400, "malformed_json", id="cut"),
        pytest.param("", b"\xff", JSON, 400, "malformed_json", id="not-utf8"),
        pytest.param("", b"[" * 100_000, JSON, 400, "malformed_json", id="deep"),
        pytest.param("", b"[]", JSON, 400, "invalid_request", id="no-object"),
        pytest.param("", b'{"width": 0}', JSON, 400, "invalid_request", id="value"),
        pytest.param("", b" " * (MAX_BODY_BYTES + 1), JSON, 413, "body_too_large", id="too-large"),
    ],
)
def test_what_does_not_fit_is_refused_for_what_it_is(path, content, headers, status, code):
    assert refused(ask("PUT", f"/things/a{path}", content, headers)) == (status, code)


TEXT = {"content-type": "text/plain", "if-match": "7"}


def test_a_text_is_taken_whole_beside_headers_that_are_checked():
    answer = ask("PUT", "/text", "café".encode(), TEXT)
    assert (answer.status_code, answer.headers["etag"]) == (201, "8")
    assert answer.json() == {"path": "café", "limit": 1, "width": 7}


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        pytest.param(b"x", TEXT | {"if-match": "x"}, 400, "invalid_parameter", id="header"),
        pytest.param(b"x", {"content-type": "text/plain"}, 400, "invalid_parameter", id="missing"),
        pytest.param(b"x", TEXT | JSON, 415, "unsupported_media_type", id="type"),
        pytest.param(b"\xff", TEXT, 400, "invalid_request", id="not-utf8"),
    ],
)
def test_a_text_or_header_that_does_not_fit_is_refused(content, headers, status, code):
    assert refused(ask("PUT", "/text", content, headers)) == (status, code)


@pytest.mark.parametrize("bulky", [False, True])
def test_an_answer_that_may_be_long_is_written_beside_the_loop(bulky):
    row = Operation("GET", "/where", tell, "Tell", Permission.READ, answer=Where, bulky=bulky)
    told = ask("GET", "/where", table=(row,)).json()["thread"]
    assert (told != threading.get_ident()) == bulky


def test_lists_are_answers_that_may_be_long():
    bulky = {row.path for row in PRODUCT if row.bulky}
    assert bulky >= {"/api/keys", "/api/audit", "/api/models"}


def test_a_type_with_a_charset_is_still_json():
    answer = ask("PUT", "/things/a", GOOD, {"content-type": "Application/JSON; charset=utf-8"})
    assert answer.status_code == 200


def test_all_faults_of_a_body_are_told_at_once_and_none_of_its_values():
    answer = ask("PUT", "/things/a", b'{"unit": "s3cret", "depth": 1}', JSON)
    told = answer.json()["error"]
    assert all(f"body '{path}'" in told for path in ("width", "unit", "depth"))
    assert "s3cret" not in told


@pytest.mark.parametrize(
    ("given", "told"),
    [
        pytest.param('{"to": "2"}', "'to': input should be a valid integer, got a text", id="text"),
        pytest.param('{"to": true}', "valid integer, got a boolean", id="boolean"),
        pytest.param(
            '{"to": 2, "why": 7}', "'why': input should be a valid string, got", id="number"
        ),
        pytest.param('{"to": 2, "plan": []}', "'plan': expected a mapping, got a list", id="list"),
        pytest.param(
            '{"to": 2, "plan": {"steps": [{"percent": "5", "approval": 1}]}}',
            "'plan.steps.0.percent': input should be a valid number, got a text; body"
            " 'plan.steps.0.approval': input should be a valid boolean, got a number",
            id="within",
        ),
    ],
)
def test_a_value_of_another_type_is_not_guessed_at(given, told):
    answer = ask("POST", "/rollouts", given.encode(), JSON, (ROLL_OUT,))
    assert refused(answer) == (400, "invalid_request")
    assert told in answer.json()["error"]


def test_a_whole_number_may_have_a_point_as_json_has_it():
    answer = ask("POST", "/rollouts", b'{"to": 2.0}', JSON, (ROLL_OUT,))
    assert (answer.status_code, answer.json()) == (200, {"to": 2})


def test_what_a_check_of_the_product_says_of_a_body_is_told_in_its_own_words():
    with pytest.raises(ValidationError) as caught:
        config.Route.model_validate({"variants": [{"name": "a", "version": 1, "weight": 0}]})
    assert _faults("body", caught.value, config.Route) == (
        "body 'variants': expected a weight above 0, got 0 for all"
    )


def test_a_body_where_none_is_taken_is_refused():
    assert refused(ask("GET", "/things/a", b"x")) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [("taken", 409, "conflict"), ("broken", 500, "internal"), ("lying", 500, "internal")],
)
def test_what_a_handler_raises_or_gets_wrong_has_the_same_shape(name, status, code):
    assert refused(ask("PUT", f"/things/{name}", GOOD, JSON)) == (status, code)


def test_head_is_get_and_options_says_what_there_is():
    assert ask("HEAD", "/things/a").status_code == 200
    answer = ask("OPTIONS", "/things/a")
    assert (answer.status_code, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS, PUT")


def test_another_method_is_told_the_right_ones():
    answer = ask("DELETE", "/things/a")
    assert refused(answer) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, PUT"
    assert refused(ask("GET", "/nothing")) == (404, "not_found")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v2/models/m/infer"])
def test_whoever_asks_a_model_here_is_told_of_the_other_port(path):
    answer = ask("POST", path)
    assert refused(answer) == (404, "not_found")
    said = f"nothing at {path}: this is the control port, and models answer at the data port"
    assert answer.json()["error"] == said


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil.example:80"]
)
def test_a_foreign_host_name_is_refused(host):
    assert refused(ask("GET", "/things/a", headers={"host": host})) == (403, "forbidden_host")


def test_of_two_host_names_none_is_believed():
    twice = [("host", "localhost"), ("host", "evil.example")]
    assert refused(ask("GET", "/things/a", headers=twice)) == (403, "forbidden_host")
    assert refused(ask("GET", "/things/a", headers=twice[::-1])) == (403, "forbidden_host")


@pytest.mark.parametrize("host", ["localhost", "localhost:8002", "127.0.0.1:8002", "[::1]:8002"])
def test_names_of_the_loopback_are_taken(host):
    assert ask("GET", "/things/a", headers={"host": host}).status_code == 200


# ---- the table of the product ----


def nothing(*_: object) -> Any:
    raise AssertionError("not called by these tests")


def status() -> dict[str, Any]:
    return {"ready": True, "draining": False, "plan": 3}


async def reload(_: Actor, name: str | None, reread: bool) -> tuple[Absent, ...]:
    return (Absent(name or "m", 2, "UNAVAILABLE", "no such operator"),)


async def load(_: Actor, name: str) -> None:
    raise ModelNotFound(f"no {name}")


ROOM: Any = nothing  # a table is made without touching what its handlers call
PRODUCT = (
    *operations(Admin(nothing, status, nothing, reload, load, nothing)),
    *audit_operations.operations(ROOM),
    *config_operations.operations(ROOM, nothing, nothing, nothing),
    *key_operations.operations(ROOM, nothing, ROOM),
    *spend_operations.operations(ROOM, ROOM),
    *drift_operations.operations(ROOM, ROOM, ROOM, ROOM),
    *release_operations.operations(ROOM, ROOM, ROOM, ROOM),
    *alert_operations.operations(ROOM, ROOM, ROOM),
    *experiment_operations.operations(ROOM, ROOM, ROOM, ROOM),
)


@pytest.mark.parametrize("table", [TABLE, PRODUCT], ids=["test", "product"])
def test_table_document_and_router_agree(table):
    rows = {(row.method, row.path) for row in table} | {("GET", "/api/openapi.json")}
    described = ask("GET", "/api/openapi.json", table=table).json()
    listed = {
        (method.upper(), path) for path, methods in described["paths"].items() for method in methods
    }
    routes = {route.path for route in build_app(table).routes if isinstance(route, Route)}
    assert listed == rows
    assert routes == {path for _, path in rows}
    validate(described)


@pytest.mark.parametrize("row", PRODUCT, ids=lambda row: row.name)
def test_every_row_is_whole(row):
    placeholders = {part[1:-1] for part in row.path.split("/") if part.startswith("{")}
    assert placeholders == set(row.path_parameters.model_fields if row.path_parameters else ())
    assert row.summary[0].isupper()
    assert not row.summary.endswith(".")
    public = {"/health/live", "/health/ready"}
    assert (row.permission is None) == (row.path in public)
    assert (row.permission is Permission.READ) <= (row.method == "GET")


def test_ids_are_unique():
    names = [row.name for row in PRODUCT]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("asks", [False, True])
def test_the_document_tells_every_code_of_every_error(asks):
    described = document(PRODUCT, asks)
    for row in PRODUCT:
        responses = described["paths"][row.path][row.method.lower()]["responses"]
        told = {
            (int(number), code)
            for number, response in responses.items()
            if not number.startswith("2")
            for code in response["content"]["application/json"]["schema"]["allOf"][1]["properties"][
                "code"
            ]["enum"]
        }
        assert told == {(error.status, error.code) for error in errors_of(row, asks)}


def test_what_a_reload_leaves_out_is_told():
    assert ask("POST", "/api/reload", table=PRODUCT).json() == {
        "plan": 3,
        "absent": [
            {
                "name": "m",
                "version": 2,
                "state": "UNAVAILABLE",
                "default": False,
                "reason": "no such operator",
                "retired": False,
                "successor": 0,
            }
        ],
    }


def test_a_reload_may_wait_for_one_model_alone():
    answer = ask("POST", "/api/reload?model=null", table=PRODUCT)
    assert [one["name"] for one in answer.json()["absent"]] == ["null"]
    assert refused(ask("POST", "/api/reload?model=", table=PRODUCT)) == (400, "invalid_parameter")


def test_a_refused_change_is_its_error():
    answer = ask("POST", "/api/models/x/load", table=PRODUCT)
    assert refused(answer) == (404, "model_not_found")
