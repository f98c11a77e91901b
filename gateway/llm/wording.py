"""Words a request as one upstream is asked it: in its dialect, by its own name of the model.

Knows dialects, what an upstream wants said, and how its answer is to go on. Knows nothing of who is
asked when, of connections, or of what becomes of the answer.
"""

from __future__ import annotations

from typing import Any

from gateway.errors import InvalidParameter
from gateway.exchange import Exchange
from gateway.llm.account import Account
from gateway.llm.deployment import LlmDeployment
from gateway.llm.relay import Spoken
from gateway.llm.targets import Target
from gateway.llm.upstream.words import Body
from gateway.wire.llm.abridged import Abridged
from gateway.wire.llm.asked import Asked
from gateway.wire.llm.requests import Call, prepared
from gateway.wire.llm.translate import translation
from gateway.wire.llm.words import Dialect


def worded(
    client: Dialect,
    call: Call,
    values: dict[str, Any],
    account: Account,
    deployment: LlmDeployment,
    target: Target,
    *,
    exchange: Exchange,
    now_s: float,
    copy: bool,
) -> tuple[Spoken, Body]:
    """How a request is asked and its answer goes on, and the body that is sent.

    Args:
        client: the dialect that it came in.
        call: what is known of it.
        values: the request.
        account: what its answer may take.
        deployment: the version that is to answer.
        target: the upstream of it that is asked.
        exchange: of the request, which knows what it is called.
        now_s: seconds since 1970.
        copy: nobody gets the answer.

    Raises:
        InvalidParameter, Unsupported: it cannot be said in the upstream's dialect.
    """
    dialect = target.speaks[client]
    spoken = Spoken(client, dialect, None)
    if dialect is not client:
        values = _in_full(values)
        spoken.translation = translation(client, dialect)
        assert spoken.translation is not None, "the dialects differ"
        request_id = exchange.about["request_id"]
        spoken.asked = _asked(call, values, deployment, target, request_id, now_s)
        values = spoken.translation.request(values, spoken.asked)
    # A stream that does not tell its usage could not be charged for.
    wants = call.stream and dialect in (Dialect.CHAT, Dialect.COMPLETIONS)
    spoken.hides_usage = wants and spoken.asked is None and not call.include_usage
    # Of several choices some may be good; a shadow is asked for its own answer alone.
    chain = deployment.settings.version.content_policy_fallbacks
    spoken.holds_filtered = bool(chain) and call.n == 1 and not copy
    fields = account.cap(dialect, target)
    return spoken, prepared(dialect, values, target.model, include_usage=wants, fields=fields)


def speechless(
    client: Dialect, call: Call, values: dict[str, Any], deployment: LlmDeployment
) -> frozenset[int]:
    """Upstreams of a version that a request cannot be put to, by index.

    Those that do not speak what it is asked in, and those whose dialect has no words for it.
    Takes as long as wording the request anew, once for all upstreams that are spoken with alike.

    Raises:
        InvalidParameter, Unsupported: it can be put to none of them.
    """
    mute = deployment.mute(client)
    found, why = set(mute), None
    tried: dict[tuple[Dialect, str, str], InvalidParameter | None] = {}
    for place, target in enumerate(deployment.targets):
        if place in mute or (dialect := target.speaks[client]) is client:
            continue
        alike = (dialect, target.limit_field, target.thinks_by)
        if alike not in tried:
            values = _in_full(values)
            tried[alike] = _fault(client, dialect, values, _asked(call, values, deployment, target))
        if (fault := tried[alike]) is not None:
            found.add(place)
            why = fault
    if why is not None and len(found) == len(deployment.targets):
        raise why
    return frozenset(found)


def _in_full(values: dict[str, Any]) -> dict[str, Any]:
    """A request as translations read it: to them a text that was not read is none."""
    return values.whole() if type(values) is Abridged else values


def _fault(
    client: Dialect, dialect: Dialect, values: dict[str, Any], asked: Asked
) -> InvalidParameter | None:
    between = translation(client, dialect)
    assert between is not None, "the dialects differ"
    try:
        between.request(values, asked)
    except InvalidParameter as error:
        return error
    return None


def _asked(
    call: Call,
    values: dict[str, Any],
    deployment: LlmDeployment,
    target: Target,
    request_id: str = "",
    now_s: float = 0.0,
) -> Asked:
    """What a translation has to know."""
    return Asked(
        model=call.model,
        id=request_id,
        created=int(now_s),
        request=values,
        include_usage=call.include_usage,
        max_output_tokens=target.longest(deployment.max_output_tokens),
        limit_field=target.limit_field,
        thinks_by=target.thinks_by,
        refuse_unsupported=deployment.settings.version.unsupported == "refuse",
    )
