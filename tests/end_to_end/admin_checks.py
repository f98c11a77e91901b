"""What schemathesis is told beside the document: changes that fit, and who may what.

Loaded by schemathesis in a process of its own, which is told roles and tokens by its environment.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from typing import Any

import httpx
import requests
import schemathesis
from schemathesis import Case, CheckContext, HookContext, Response

from tests.control.permitted import ALLOWED, PERMISSIONS

TOKENS = "PENSTOCK_TESTS_TOKENS"
"""A variable: roles and their tokens as JSON. The first sends what is generated, the others the
same again. Where it is not set the port is open, and whoever comes may do everything."""
# Nothing that has models loaded anew, which takes its time and is tested elsewhere.
DOCUMENTS: Iterator[dict[str, Any]] = itertools.cycle(
    ({}, {"drain": {"grace_s": 20}}, {"log": {"level": "warning"}})
)
CHANGES = {"PUT /api/config", "POST /api/config/rollback"}
_tokens: dict[str, str] = json.loads(os.environ.get(TOKENS, "{}"))
_turns = itertools.count()
_fitting: set[str] = set()


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Makes every second change of the configuration one that fits what is in force."""
    if case.operation.label not in CHANGES or next(_turns) % 2 or not _positive(case):
        return
    headers = {"authorization": f"Bearer {next(iter(_tokens.values()), None)}"}
    place = str(case.operation.base_url).rstrip("/")
    shown = httpx.get(f"{place}/api/config", headers=headers)
    if shown.status_code != 200:
        return  # the role may not even look
    if case.operation.label == "PUT /api/config":
        case.body = next(DOCUMENTS)
    elif shown.json()["number"]:
        case.query["revision"] = shown.json()["number"]
    else:
        return  # nothing was put in force yet
    case.headers["If-Match"] = shown.headers["etag"]
    _fitting.add(case.id)


@schemathesis.check
def change_that_fits_is_made(ctx: CheckContext, response: Response, case: Case) -> None:
    """Whoever may make it."""
    if case.id in _fitting and all(_may(role, case) for role in list(_tokens)[:1]):
        assert response.status_code == 200, response.text


@schemathesis.check
def roles_may_what_is_written_down(ctx: CheckContext, response: Response, case: Case) -> None:
    """403 for what a role may not, whatever else is wrong with a request; never for the rest."""
    for role, status, text in _answers(response):
        assert status < 500, f"{role}: {text}"
        # No key, no such method, or more than the port takes of anybody.
        if status in (401, 405, 414, 431):
            continue
        if status == 404 and json.loads(text)["error"].startswith("nothing at "):
            continue  # a name with a slash in it is another path
        assert (status != 403) == _may(role, case), f"{role}: {text}"


@schemathesis.check
def document_says_who_may(ctx: CheckContext, response: Response, case: Case) -> None:
    """What is written down twice is the same."""
    told = case.operation.definition.raw["x-permission"]
    assert PERMISSIONS[told] == ALLOWED[case.operation.label]


def _positive(case: Case) -> bool:
    return case.meta is not None and case.meta.generation.mode.is_positive


def _may(role: str, case: Case) -> bool:
    return role in ALLOWED[case.operation.label]


def _answers(response: Response) -> Iterator[tuple[str, int, str]]:
    """Role, status and body: of the answer itself, and of the same request by each other role."""
    for place, (role, token) in enumerate(_tokens.items()):
        if place == 0:
            yield role, response.status_code, response.text
            continue
        again = response.request.copy()
        again.headers["Authorization"] = f"Bearer {token}"
        with requests.Session() as session:
            answer = session.send(again, allow_redirects=False)
        yield role, answer.status_code, answer.text
