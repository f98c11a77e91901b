"""What keeps providers of language models from answering: keys, addresses, and they themselves.

Knows the document, and what is said of a provider that answers in which way. Knows nothing of how
one is connected to, which is done as a worker does it, or of any request of a client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from gateway.cli.findings import Case, Finding
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
_TIMEOUTS = Timeouts(PATIENCE_S / 2, PATIENCE_S / 2, PATIENCE_S / 2, PATIENCE_S)
_LET_IN = "if it is meant: allow_private: true beside its base_url"
_PRICED = "set `price` beside it, 0 where it is free, or name llm.prices.file"


def doubts(llm: Llm) -> Iterator[tuple[str, str]]:
    """What can be seen without asking anybody, each with what to do about it."""
    yield from _keys(llm)
    for name, provider in llm.providers.items():
        if not provider.allow_private and _is_private(urlsplit(provider.base_url).hostname or ""):
            yield f"llm.providers.{name}: base_url is not a public address", _LET_IN
    yield from _price_file(llm)


def check_providers(case: Case) -> Iterator[Finding]:
    """Asks every provider which models it has, with its key: whether it is there and knows that."""
    llm = case.config.llm
    for said, advice in (*_keys(llm), *_price_file(llm)):
        yield Finding("provider", "fail", said, advice)
    asked = {name: one for name, one in llm.providers.items() if not _key(name, one)}
    for name, answer in asyncio.run(_ask(asked)).items():
        yield _found(name, asked[name], answer)


def check_prices(case: Case) -> Iterator[Finding]:
    """Whether anybody knows what each upstream charges."""
    llm = case.config.llm
    prices, _ = _prices(llm)
    for name, model in llm.models.items():
        for number, version in model.versions.items():
            for one in version.upstreams:
                at = llm.providers[one.provider]
                sold_by = price_map.seller(at.kind, at.base_url)
                why = prices.why_not(sold_by, one.model) if one.price is None else ""
                if why:
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


def _found(name: str, provider: LlmProvider, answer: int | GatewayError) -> Finding:
    who = f"{name} at {provider.base_url}"
    if isinstance(answer, GatewayError):
        private = "allow_private" in str(answer)
        advice = _LET_IN if private else "correct base_url, or look at the way there"
        return Finding("provider", "fail", f"{name}: {answer}", advice)
    if answer in (401, 403):
        advice = "correct api_key_env or api_key_file, and what they name"
        return Finding("provider", "fail", f"{who} refuses its key ({answer})", advice)
    if answer != 200:
        found = f"{who} answers {answer} when it is asked for its models"
        return Finding("provider", "warn", found, "does base_url end where the API's paths begin?")
    taken = ", and takes its key" if provider.api_key_env or provider.api_key_file else ""
    return Finding("provider", "ok", f"{who} answers{taken}")


async def _ask(providers: Mapping[str, LlmProvider]) -> dict[str, int | GatewayError]:
    """The status of each one's answer, or why there is none; all at once."""
    upstreams = Upstreams(asyncio.get_running_loop())
    try:
        asked = [_ask_one(upstreams, name, one) for name, one in providers.items()]
        return dict(zip(providers, await asyncio.gather(*asked), strict=True))
    finally:
        upstreams.close()


async def _ask_one(upstreams: Upstreams, name: str, provider: LlmProvider) -> int | GatewayError:
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
    """Takes the status of one answer."""

    def __init__(self, answer: asyncio.Future[int | GatewayError]) -> None:
        self.answer = answer

    def on_head(self, status: int, headers: Sequence[Header]) -> None:
        self._tell(status)

    def on_data(self, data: bytes) -> None:
        pass

    def on_end(self) -> None:
        pass

    def on_failure(self, error: GatewayError, *, sent: bool, answered: bool) -> None:
        self._tell(error)

    def _tell(self, found: int | GatewayError) -> None:
        if not self.answer.done():
            self.answer.set_result(found)


CHECKS = (check_providers, check_prices)
