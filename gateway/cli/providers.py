"""What keeps providers of language models from answering: keys, addresses, and they themselves.

Knows the document, and what is said of a provider that answers in which way. Knows nothing of how
one is connected to, which is done as a worker does it, or of any request of a client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

import orjson

from gateway.cli.findings import Case, Finding
from gateway.cli.output import printable
from gateway.config.llm import Llm, LlmProvider
from gateway.errors import GatewayError
from gateway.exchange import Header
from gateway.llm import price_map
from gateway.llm.credentials import credential
from gateway.llm.price_map import Prices
from gateway.llm.targets import listing_head, origin_of
from gateway.llm.upstream.addresses import public
from gateway.llm.upstream.upstreams import Upstreams
from gateway.llm.upstream.words import Timeouts

PATIENCE_S = 10.0
MAX_LIST_BYTES = 1 << 22
_SHOWN = 8
_TIMEOUTS = Timeouts(PATIENCE_S / 2, PATIENCE_S / 2, PATIENCE_S / 2, PATIENCE_S)
_LET_IN = "if it is meant: allow_private: true beside its base_url"
_BEGINS = "it ends where the API's own paths begin"
_PRICED = "set `price` beside it, 0 where it is free, or `priced_as`, or name llm.prices.file"


@dataclass(frozen=True, slots=True)
class Listed:
    """How a provider answers when it is asked for its models.

    Attributes:
        status: of the answer.
        models: that it has; empty: it does not tell, or not all.
    """

    status: int
    models: tuple[str, ...] = ()


def doubts(llm: Llm) -> Iterator[tuple[str, str]]:
    """What can be seen without asking anybody, each with what to do about it."""
    yield from _keys(llm)
    for name, provider in llm.providers.items():
        if not provider.allow_private and _is_private(urlsplit(provider.base_url).hostname or ""):
            yield f"llm.providers.{name}: base_url is not a public address", _LET_IN
        if said := _path_doubt(provider):
            yield f"llm.providers.{name}: base_url {provider.base_url} {said}", _BEGINS
    yield from _price_file(llm)


def _path_doubt(provider: LlmProvider) -> str:
    """What of an address is not as that of most servers of its kind; empty: nothing."""
    path = urlsplit(provider.base_url).path
    if provider.kind == "openai" and not path:
        return "has no path, and most servers have OpenAI's API under /v1"
    if provider.kind == "azure" and "/openai" in path:
        return "has the /openai that requests bring themselves"
    return ""


def check_providers(case: Case) -> Iterator[Finding]:
    """Asks every provider which models it has, with its key: whether it is there and knows that."""
    llm = case.config.llm
    for said, advice in (*_keys(llm), *_price_file(llm)):
        yield Finding("provider", "fail", said, advice)
    asked = {name: one for name, one in llm.providers.items() if not _key(name, one)}
    for name, answer in asyncio.run(_ask(asked)).items():
        yield _found(name, asked[name], answer)
        if isinstance(answer, Listed) and asked[name].kind != "azure":  # it lists no deployments
            yield from _unlisted(name, llm, answer.models)


def check_prices(case: Case) -> Iterator[Finding]:
    """Whether anybody knows what each upstream charges."""
    llm = case.config.llm
    prices, _ = _prices(llm)
    for name, model in llm.models.items():
        for number, version in model.versions.items():
            for one in version.upstreams:
                at = llm.providers[one.provider]
                sold_by = price_map.seller(at.kind, at.base_url)
                if one.price is None and (why := prices.why_not(sold_by, one.model, one.priced_as)):
                    found = f"{name} version {number}: '{one.called}' is unpriced: {why}"
                    yield Finding("price", "warn", found, _PRICED)


def _keys(llm: Llm) -> Iterator[tuple[str, str]]:
    for name, provider in llm.providers.items():
        if fault := _key(name, provider):
            yield fault, "set it where the server runs; its upstreams are left out without"


def _key(name: str, provider: LlmProvider) -> str:
    """Why it cannot be shown; empty where it can, or there is none."""
    try:
        credential(name, provider)
    except GatewayError as error:
        return str(error)
    return ""


def _price_file(llm: Llm) -> Iterator[tuple[str, str]]:
    if fault := _prices(llm)[1]:
        yield fault, "correct it; until then the table that comes along holds alone"


def _prices(llm: Llm) -> tuple[Prices, str]:
    """All there are, and what is wrong with the document's own."""
    try:
        return price_map.prices(llm.prices.file), ""
    except (GatewayError, OSError) as error:
        said = str(error).removeprefix("prices: ")
        return price_map.prices(), f"llm.prices.file: {said}"


def _is_private(host: str) -> bool:
    """Of addresses; what a name stands for is seen when it is asked."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return not public(host)


def _unlisted(name: str, llm: Llm, listed: Sequence[str]) -> Iterator[Finding]:
    """Models that upstreams name and their provider does not, where it tells which it has."""
    wanted = {
        one.model: f"{called} version {number}"
        for called, model in llm.models.items()
        for number, version in model.versions.items()
        for one in version.upstreams
        if one.provider == name
    }
    near = f"{', '.join(listed[:_SHOWN])}{', ...' if len(listed) > _SHOWN else ''}"
    for model, by in wanted.items():
        if listed and not any(_is_called(one, model) for one in listed):
            found = f"{name} does not list '{model[:80]}' ({by}); it has {printable(near)}"
            advice = "correct `model`, unless it answers for more than it lists"
            yield Finding("provider", "warn", found, advice)


def _is_called(listed: str, model: str) -> bool:
    """Whether one that is listed may be meant: some lists have a date, tag or folder more."""
    return (
        listed == model
        or listed.startswith((f"{model}-", f"{model}:"))
        or (listed.endswith(f"/{model}"))
    )


def _found(name: str, provider: LlmProvider, answer: Listed | GatewayError) -> Finding:
    who = f"{name} at {provider.base_url}"
    if isinstance(answer, GatewayError):
        private = "allow_private" in str(answer)
        advice = _LET_IN if private else "correct base_url, or look at the way there"
        return Finding("provider", "fail", f"{name}: {answer}", advice)
    status = answer.status
    if status in (401, 403):
        advice = "correct api_key_env or api_key_file, and what they name"
        return Finding("provider", "fail", f"{who} refuses its key ({status})", advice)
    if status != 200:
        found = f"{who} answers {status} when it is asked for its models"
        return Finding("provider", "warn", found, "does base_url end where the API's paths begin?")
    taken = ", and takes its key" if provider.api_key_env or provider.api_key_file else ""
    return Finding("provider", "ok", f"{who} answers{taken}")


async def _ask(providers: Mapping[str, LlmProvider]) -> dict[str, Listed | GatewayError]:
    """Each one's answer, or why there is none; all at once."""
    upstreams = Upstreams(asyncio.get_running_loop())
    try:
        asked = [_ask_one(upstreams, name, one) for name, one in providers.items()]
        return dict(zip(providers, await asyncio.gather(*asked), strict=True))
    finally:
        upstreams.close()


async def _ask_one(upstreams: Upstreams, name: str, provider: LlmProvider) -> Listed | GatewayError:
    try:
        origin = origin_of(provider)
        head = listing_head(provider, origin, credential(name, provider))
    except GatewayError as error:
        return error
    heard = _Heard(asyncio.get_running_loop().create_future())
    sending = upstreams.send(origin, head, b"", heard, _TIMEOUTS)
    found = await heard.answer
    sending.cancel()  # what else it says is of no interest
    return found


class _Heard:
    """Takes one answer, up to its end or as much as is looked at."""

    def __init__(self, answer: asyncio.Future[Listed | GatewayError]) -> None:
        self.answer = answer
        self._status = 0
        self._body = bytearray()

    def on_head(self, status: int, headers: Sequence[Header]) -> None:
        self._status = status
        if status != 200:
            self._tell(Listed(status))

    def on_data(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > MAX_LIST_BYTES:
            self._tell(Listed(self._status))

    def on_end(self) -> None:
        self._tell(Listed(self._status, _models(bytes(self._body))))

    def on_failure(self, error: GatewayError, *, sent: bool, answered: bool) -> None:
        self._tell(Listed(self._status) if self._status else error)

    def _tell(self, found: Listed | GatewayError) -> None:
        if not self.answer.done():
            self.answer.set_result(found)


def _models(body: bytes) -> tuple[str, ...]:
    """The models of a list, in the shape that both APIs share; of a part of one, none."""
    try:
        told = orjson.loads(body)
        names = [one["id"] for one in told["data"]]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ()
    return () if told.get("has_more") else tuple(name for name in names if isinstance(name, str))


CHECKS = (check_providers, check_prices)
