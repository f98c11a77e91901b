"""Reads what an upstream says is wrong: what follows for it, and what of it its client may read.

Knows errors, told with a status or inside a 200, and dialects. Knows nothing of who is asked next
(`pools`), or of how an answer is written (`journey`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from gateway.errors import (
    GatewayError,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamRefused,
    UpstreamsExhausted,
)
from gateway.exchange import Header
from gateway.llm.pools import Failure, Pool, Trouble
from gateway.llm.pools.troubles import of_answer, of_error
from gateway.llm.relay import ErrorInside, Spoken
from gateway.llm.targets import Target
from gateway.wire.llm.errors import told_body
from gateway.wire.llm.told import told_error

Words = tuple[int, bytes]
"""An answer: its status and its body."""

# Of upstreams that take nothing: who has twenty looks at `penstock llm status`.
_MAX_TOLD: Final = 3
# More than any reason of a connection has.
_MAX_WHY: Final = 100
# What is wrong with the request itself is for its sender to read.
_THEIRS: Final = frozenset(
    {
        Trouble.REFUSED,
        Trouble.CONTEXT_WINDOW,
        Trouble.CONTENT_POLICY,
        Trouble.MISSING,
        Trouble.UNKNOWN,
    }
)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why one upstream has no answer for a request.

    Attributes:
        error: what it is for the gateway.
        failure: what it is for the pool.
        words: what the upstream itself says, in the client's dialect; None: that is not for it.
    """

    error: GatewayError
    failure: Failure
    words: Words | None = None


def exhausted(model: str, pool: Pool, now: float, mute: Collection[int]) -> GatewayError:
    """None of a model's upstreams takes a request now: why, of the first few.

    Args:
        model: its name.
        pool: the upstreams.
        now: seconds, of the pool's clock.
        mute: those that could never answer it, by index.
    """
    whys = pool.hindrances(now, mute)
    more = f"; and {len(whys) - _MAX_TOLD} more" if len(whys) > _MAX_TOLD else ""
    said = f"model '{model}': no upstream takes requests now: {'; '.join(whys[:_MAX_TOLD])}{more}"
    if pool.limited(now, mute):
        return UpstreamLimited(said)
    return UpstreamsExhausted(said, failing=pool.failing(now, mute))


def broken(error: GatewayError, called: str) -> Fault:
    """No answer came, or none that could be read.

    Why a connection failed is told with `called`'s name, and is said of it from then on; what is
    wrong with what came may hold words of it, and is told by its code alone.
    """
    failure, named = of_error(error), f"upstream '{called}': "
    if str(error).startswith(named):
        why = f"{failure.why}: {str(error).removeprefix(named)}"
        failure = replace(failure, why=why[:_MAX_WHY])
    return Fault(error, failure)


def refused(
    called: str, spoken: Spoken, status: int, headers: Sequence[Header], body: bytes, now_s: float
) -> Fault:
    """An answer with an error came.

    Args:
        called: who gave it.
        spoken: how it was asked, and is to be answered.
        status: of the answer, not 200.
        headers: of the answer, names in lower case.
        body: of the answer; it says nothing that a client must not read.
        now_s: seconds since 1970.
    """
    values = _json(body)
    failure = of_answer(status, headers, values, now_s=now_s)
    other = UpstreamFailed(f"upstream '{called}' answered {status}")
    error = _error(called, status, values, failure.trouble, other)
    # What no API says, a page of some proxy's, is nothing that its client could read.
    theirs = isinstance(error, UpstreamRefused) and told_error(values) is not None
    return Fault(error, failure, _in_dialect(spoken, status, body) if theirs else None)


def refused_inside(called: str, spoken: Spoken, inside: ErrorInside, now_s: float) -> Fault:
    """An answer of status 200 tells of an error: it means what it would mean as a status."""
    values = inside.values
    failure = of_answer(200, (), values, now_s=now_s)
    error = _error(called, 200, values, failure.trouble, inside)
    said, words = told_error(values), None
    if said is not None and isinstance(error, UpstreamRefused):
        status = said.status if said.status < 500 else error.status
        status, told = told_body(spoken.upstream, status, said)
        words = _in_dialect(spoken, status, orjson.dumps(told))
    return Fault(error, failure, words)


def named(error: GatewayError, target: Target) -> GatewayError:
    """An error of a connection, with the upstream's name where it tells an address.

    What lies behind the gateway is nothing that its clients have to know.
    """
    told, name = str(error), f"upstream '{target.called}'"
    for address in (str(target.origin), target.origin.host):
        told = told.replace(address, name)
    named_error = copy(error)  # others who waited for the same connection have it too
    named_error.args = (told,)
    return named_error


def _error(
    called: str, status: int, values: Any, trouble: Trouble, other: GatewayError
) -> GatewayError:
    if trouble is Trouble.CREDENTIALS:
        # It is about the gateway's key, which is none of the client's business.
        return UpstreamFailed(f"upstream '{called}' refused the gateway's credentials")
    if trouble in _THEIRS:
        said = told_error(values)
        what = f"status {status}" if said is None else said.message
        return UpstreamRefused(f"upstream '{called}': {what}")
    if trouble is Trouble.LIMITED:
        return UpstreamLimited(f"upstream '{called}' takes no more for now")
    return other


def _in_dialect(spoken: Spoken, status: int, body: bytes) -> Words:
    """An upstream's own words of an error, as the client's dialect has them."""
    if spoken.translation is None:
        return status, body
    values = _json(body)
    status, told = spoken.translation.error(status, values)
    return status, orjson.dumps(told)


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
