"""What schemathesis is told beside the document: changes that fit, and who may what.

Loaded by schemathesis in a process of its own, which is told role and token by its environment.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

import httpx
import schemathesis
from schemathesis import Case, CheckContext, HookContext, Response

from tests.control.permitted import ALLOWED, PERMISSIONS

ROLE, TOKEN = "PENSTOCK_TESTS_ROLE", "PENSTOCK_TESTS_TOKEN"
"""Variables. Where they are not set the port is open, and whoever comes may do everything."""
# Nothing that has models loaded anew, which takes its time and is tested elsewhere.
DOCUMENTS: Iterator[dict[str, Any]] = itertools.cycle(
    ({}, {"drain": {"grace_s": 20}}, {"log": {"level": "warning"}})
)
CHANGES = {"PUT /api/config", "POST /api/config/rollback"}
_turns = itertools.count()
_fitting: set[str] = set()


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Makes every second change of the configuration one that fits what is in force."""
    if case.operation.label not in CHANGES or next(_turns) % 2 or not _positive(case):
        return
    headers = {"authorization": f"Bearer {os.environ.get(TOKEN)}"}
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
    if case.id in _fitting and _may(case):
        assert response.status_code == 200, response.text


@schemathesis.check
def role_may_what_is_written_down(ctx: CheckContext, response: Response, case: Case) -> None:
    """403 for what a role may not, whatever else is wrong with a request; never for the rest."""
    # No key, no such method, or more than the port takes of anybody.
    if ROLE not in os.environ or response.status_code in (401, 405, 414, 431):
        return
    if response.status_code == 404 and response.json()["error"].startswith("nothing at "):
        return  # a name with a slash in it is another path
    assert (response.status_code != 403) == _may(case), f"{os.environ[ROLE]}: {response.text}"


@schemathesis.check
def document_says_who_may(ctx: CheckContext, response: Response, case: Case) -> None:
    """What is written down twice is the same."""
    told = case.operation.definition.raw["x-permission"]
    assert PERMISSIONS[told] == ALLOWED[case.operation.label]


def _positive(case: Case) -> bool:
    return case.meta is not None and case.meta.generation.mode.is_positive


def _may(case: Case) -> bool:
    return ROLE not in os.environ or os.environ[ROLE] in ALLOWED[case.operation.label]
