"""Words a request as one upstream is asked it: in its dialect, by its own name of the model.

Knows dialects, what an upstream wants said, and how its answer is to go on. Knows nothing of who is
asked when, of connections, or of what becomes of the answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

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

TRANSLATED_AT_ONCE_BYTES: Final = 64 << 10
"""What is longer is translated on a thread: a megabyte of short messages takes a tenth of a second,
and to have a thread do it takes a tenth of a millisecond."""


_NEW_LIMIT: Final = "max_completion_tokens"


class Manner(NamedTuple):
    """How an upstream is spoken with: a request is translated alike for all of one manner."""

    dialect: Dialect
    limit_field: str
    thinks_by: str
    max_output_tokens: int
    refuses: bool


Translated = dict[Manner, "dict[str, Any] | InvalidParameter"]
"""A request as upstreams of each manner are asked it, or why they cannot be."""


def manners(client: Dialect, deployments: Iterable[LlmDeployment]) -> set[Manner]:
    """In which manners versions are spoken with that a request has to be translated for."""
    return {
        _manner(client, one, target)
        for one in deployments
        for target in one.targets
        if target.speaks.get(client, client) is not client
    }


def translate(
    client: Dialect,
    call: Call,
    values: dict[str, Any],
    wanted: Iterable[Manner],
    translated: Translated,
) -> None:
    """Translates a request in some manners. Takes long where the request is; touches nothing else.

    Args:
        client: the dialect that it came in.
        call: what is known of it.
        values: the request.
        wanted: the manners.
        translated: takes what comes of it.
    """
    values = _in_full(values)
    for manner in wanted:
        try:
            translated[manner] = _translated(client, values, manner, _asked(call, values, manner))
        except InvalidParameter as error:
            translated[manner] = _anew(error)


def worded(
    client: Dialect,
    call: Call,
    values: dict[str, Any],
    account: Account,
    deployment: LlmDeployment,
    target: Target,
    translated: Translated,
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
        translated: what of the request is translated already.
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
        manner = _manner(client, deployment, target)
        spoken.asked = _asked(call, values, manner, exchange.about["request_id"], now_s)
        known = translated.get(manner)
        if isinstance(known, InvalidParameter):
            raise _anew(known)
        values = known or _translated(client, values, manner, spoken.asked)
    # A stream that does not tell its usage could not be charged for.
    wants = call.stream and dialect in (Dialect.CHAT, Dialect.COMPLETIONS)
    spoken.hides_usage = wants and spoken.asked is None and not call.include_usage
    # Of several choices some may be good; a shadow is asked for its own answer alone.
    chain = deployment.settings.version.content_policy_fallbacks
    spoken.holds_filtered = bool(chain) and call.n == 1 and not copy
    fields = account.cap(dialect, target) or _limit_as_known(dialect, values, target)
    return spoken, prepared(dialect, values, target.model, include_usage=wants, fields=fields)


def _limit_as_known(dialect: Dialect, values: dict[str, Any], target: Target) -> dict[str, Any]:
    """The limit of a chat in the field that its server knows, where the request has it in another.

    It would write on past a limit that it does not know, and past what was reserved.
    """
    if _NEW_LIMIT not in values or dialect is not Dialect.CHAT or target.limit_field == _NEW_LIMIT:
        return {}
    given = values.get(target.limit_field)
    return {target.limit_field: values[_NEW_LIMIT] if given is None else given}


def speechless(
    client: Dialect,
    call: Call,
    values: dict[str, Any],
    deployment: LlmDeployment,
    translated: Translated,
) -> frozenset[int]:
    """Upstreams of a version that a request cannot be put to, by index.

    Those that do not speak what it is asked in, and those whose dialect has no words for it.
    Takes as long as wording the request anew, once for all upstreams that are spoken with alike,
    where that was not done already (`translated`).

    Raises:
        InvalidParameter, Unsupported: it can be put to none of them.
    """
    mute = deployment.mute(client)
    found, why = set(mute), None
    tried = dict(translated)
    for place, target in enumerate(deployment.targets):
        if place in mute or target.speaks[client] is client:
            continue
        manner = _manner(client, deployment, target)
        if manner not in tried:
            translate(client, call, values, (manner,), tried)
        if isinstance(fault := tried[manner], InvalidParameter):
            found.add(place)
            why = fault
    if why is not None and len(found) == len(deployment.targets):
        raise _anew(why)
    return frozenset(found)


def _anew(error: InvalidParameter) -> InvalidParameter:
    """The same without a traceback, which knows a request that in turn may keep the error."""
    return type(error)(*error.args)


def _in_full(values: dict[str, Any]) -> dict[str, Any]:
    """A request as translations read it: to them a text that was not read is none."""
    return values.whole() if type(values) is Abridged else values


def _manner(client: Dialect, deployment: LlmDeployment, target: Target) -> Manner:
    return Manner(
        target.speaks[client],
        target.limit_field,
        target.thinks_by,
        target.longest(deployment.max_output_tokens),
        deployment.settings.version.unsupported == "refuse",
    )


def _translated(
    client: Dialect, values: dict[str, Any], manner: Manner, asked: Asked
) -> dict[str, Any]:
    between = translation(client, manner.dialect)
    assert between is not None, "the dialects differ"
    return between.request(values, asked)


def _asked(
    call: Call, values: dict[str, Any], manner: Manner, request_id: str = "", now_s: float = 0.0
) -> Asked:
    """What a translation has to know."""
    return Asked(
        model=call.model,
        id=request_id,
        created=int(now_s),
        request=values,
        include_usage=call.include_usage,
        max_output_tokens=manner.max_output_tokens,
        limit_field=manner.limit_field,
        thinks_by=manner.thinks_by,
        refuse_unsupported=manner.refuses,
    )
