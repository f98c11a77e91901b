"""The part of the document about large language models that other servers answer for.

Knows providers, the versions of a model and what stands behind each. Knows nothing of which servers
there are, or of what they charge. See docs/llm.md.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from gateway.config.faults import Below
from gateway.config.llm_limits import MAX_GROUPS, GroupName, Limited
from gateway.config.words import Name, Seconds, Section, off
from gateway.names import MAX_VERSION, name_fault

MAX_UPSTREAMS: Final = 32
MAX_FALLBACKS: Final = 16

Api = Literal["chat", "completions", "embeddings", "responses"]
Order = Literal["weighted", "least_latency", "least_busy", "cheapest", "priority"]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,100}$"), AfterValidator(str.lower)]
# What clients may call a model: providers' own names have slashes and colons in them.
AliasName = Annotated[str, Field(pattern=r"^[^\s\x00-\x1f\x7f]{1,200}$")]
_OURS = frozenset(
    {
        *("authorization", "cookie", "x-api-key", "api-key", "x-goog-api-key"),
        *("host", "content-length", "content-type", "content-encoding", "accept-encoding"),
        # of one connection alone
        *("connection", "expect", "keep-alive", "proxy-authenticate", "proxy-authorization"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    }
)


# As few as `kernels.texts` looks a phrase up by; two words of Chinese have as many.
_MIN_PHRASE_BYTES: Final = 8
_MAX_PHRASE_BYTES: Final = 200
# Of a model that does not number its one version: what is not that version's.
_OF_ALL_VERSIONS: Final = ("aliases", "default", "unpriced", "refusal_phrases")
_VARIABLE: Final = r"^[A-Za-z_][A-Za-z0-9_]{0,199}$"
_PATHS: Final = ("/chat/completions", "/completions", "/embeddings", "/responses", "/messages")


def _base_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected http://HOST[:PORT][/PATH] or https://...")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("expected no credentials, query or fragment in it")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("expected a port of 1 to 65535") from None
    url = url.rstrip("/")
    for path in _PATHS:
        if url.endswith(path):
            raise ValueError(f"expected it to end where the API's own paths begin, before {path}")
    return url


def _variable_name(name: str) -> str:
    if not re.fullmatch(_VARIABLE, name):
        raise ValueError(
            "expected the name of a variable, such as OPENAI_API_KEY; the key is what it holds"
        )
    return name


# A key may be given in its place by mistake, so that what is wrong must be said without it.
VariableName = Annotated[
    str, AfterValidator(_variable_name), WithJsonSchema({"type": "string", "pattern": _VARIABLE})
]


def _phrase(text: str) -> str:
    if not _MIN_PHRASE_BYTES <= len(text.encode()) <= _MAX_PHRASE_BYTES or "\0" in text:
        raise ValueError(
            f"expected a phrase of {_MIN_PHRASE_BYTES} to {_MAX_PHRASE_BYTES} bytes: a single word"
            " would be found in answers that refuse nothing"
        )
    return text


def _llm_name(name: str) -> str:
    if "/" in name or "\\" in name:
        raise ValueError(
            "expected a name without slashes, for a folder is called so, too: give it one, and"
            f" what clients say among its aliases, got {name[:80]!r}"
        )
    if fault := name_fault(name):
        raise ValueError(fault)
    return name


LlmName = Annotated[Name, AfterValidator(_llm_name)]


def _per_token(dollars: float) -> float:
    if dollars > 1:
        raise ValueError(
            f"expected dollars per token, not per million, got {dollars:g};"
            f" {dollars:g} per million is {dollars / 1e6:g}"
        )
    return dollars


PerToken = Annotated[
    float,
    Field(ge=0),
    AfterValidator(_per_token),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1}),
]


class LlmTimeouts(Section):
    """How long a provider may take for what."""

    connect_s: Seconds = 5.0
    # An answer that is not streamed begins once it is whole.
    first_byte_s: Seconds = Field(
        600.0, description="from the last byte of the request to the first of the answer"
    )
    # A model that thinks for longer between two chunks than a minute is stuck more often than not.
    idle_s: Seconds = Field(60.0, description="between two pieces of an answer")
    total_s: Seconds = Field(600.0, description="for the whole answer; what clients wait, too")


class LlmProvider(Section):
    """A server that answers for models, and how it is spoken with."""

    kind: Literal["openai", "azure", "anthropic"] = Field(
        "openai", description="whose API it has; vLLM, SGLang, Ollama and llama.cpp have OpenAI's"
    )
    base_url: Annotated[str, AfterValidator(_base_url)] = Field(
        description="up to where the API's own paths begin: https://api.openai.com/v1"
    )
    # Never in the document itself: it is stored, shown and compared.
    api_key_env: VariableName | None = Field(
        None, description="the variable of the server's environment that holds its key"
    )
    api_key_file: Path | None = Field(
        None, description="the file that holds its key, read again when it changes"
    )
    api_version: Name | None = Field(None, description="Azure's, or the `anthropic-version`")
    apis: list[Api] = Field(
        default_factory=lambda: list[Api](get_args(Api)),
        description="of an OpenAI-shaped server, those that it has; others are translated to chat",
    )
    output_limit_field: Literal["max_completion_tokens", "max_tokens"] = Field(
        "max_completion_tokens",
        description="what an OpenAI-shaped server calls the limit of a chat's answer",
    )
    thinks_by: Literal["effort", "budget", "nothing"] = Field(
        "effort", description="how its models are told how long to think"
    )
    headers: dict[HeaderName, str] = Field(
        default_factory=dict, description="sent with each request; no secrets"
    )
    forward_headers: list[HeaderName] = Field(
        default_factory=list, description="of clients, that are passed on; none are by default"
    )
    allow_private: bool = Field(
        False, description="its address may be a private one: loopback, 10.0.0.0/8 and others"
    )
    ca_file: Path | None = Field(None, description="who has signed its certificate; none: as usual")
    max_connections: int = Field(1000, ge=1, le=65_536, description="at once, per worker")
    timeouts: LlmTimeouts = LlmTimeouts()

    @field_validator("api_key_file")
    @classmethod
    def _one_key(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        if file is not None and info.data.get("api_key_env") is not None:
            raise ValueError("expected api_key_env or api_key_file, got both")
        return file

    @field_validator("headers")
    @classmethod
    def _none_of_ours(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if name in _OURS:
                raise ValueError(f"'{name}' is the gateway's own to set")
            if not value.isprintable() or not value.isascii():
                raise ValueError(f"'{name}': expected printable ASCII")
        return headers

    @field_validator("forward_headers")
    @classmethod
    def _none_of_theirs(cls, names: list[str], info: ValidationInfo) -> list[str]:
        for name in names:
            if name in _OURS:
                raise ValueError(f"'{name}' is never passed on")
            if name in info.data.get("headers", ()):
                raise ValueError(f"'{name}' is said in headers: no caller can say it again")
        return names


class LlmPrice(Section):
    """What one upstream charges, in dollars per token; it goes before every price map."""

    input_cost_per_token: PerToken = 0.0
    output_cost_per_token: PerToken = 0.0
    cache_read_input_token_cost: PerToken | None = None
    cache_creation_input_token_cost: PerToken | None = None

    @model_validator(mode="after")
    def _whole(self) -> LlmPrice:
        """Half a price would be a silent zero."""
        needed = ("input_cost_per_token", "output_cost_per_token")
        missing = [name for name in needed if name not in self.model_fields_set]
        if self.model_fields_set and missing:
            raise ValueError(
                f"expected {missing[0]}, too (0 where that is free; {{}} where all is), got nothing"
            )
        return self


class LlmUpstream(Section):
    """One place that answers for a version: a provider, and what that calls the model."""

    provider: Name
    model: Name = Field(description="the provider's own name of it; Azure's is the deployment's")
    name: Name | None = Field(None, description="in metrics and logs; none: PROVIDER/MODEL")
    weight: float = Field(
        1.0, ge=0, le=1_000_000, description="relative; 0: only if all else fails"
    )
    priority: int = Field(1, ge=1, le=1000, description="lower ones first, whatever the order")
    max_parallel: int | None = Field(None, ge=1, le=1_000_000, description="requests, per worker")
    media_tokens: int | None = Field(
        None,
        ge=0,
        le=100_000_000,
        description="most that a picture, sound or file is read as that a request names by its"
        " address; none: 8192, or what is known of the model",
    )
    price: LlmPrice | None = Field(None, description="none: as the price map says")
    priced_as: AliasName | None = Field(
        None, description="the price map's entry, where `model` is a name of one's own, as Azure's"
    )

    @model_validator(mode="after")
    def _priced_once(self) -> LlmUpstream:
        if self.price is not None and self.priced_as is not None:
            raise ValueError("expected a price or priced_as, got both: one excludes the other")
        return self

    @property
    def called(self) -> str:
        """What metrics and logs call it."""
        return self.name or f"{self.provider}/{self.model}"


class LlmRetries(Section):
    """When a request that failed is sent again, to this upstream or another."""

    attempts: int = Field(2, ge=0, le=10, description="after the first")
    budget: float = Field(
        0.2, ge=0, le=1, description="of requests that may be repeated: a storm is not answered so"
    )
    base_s: Seconds = Field(0.25, description="the first pause; each further one is twice as long")
    max_s: Seconds = Field(8.0, description="the longest pause")
    max_retry_after_s: Seconds = Field(
        10.0, description="an upstream that wants a longer pause is left for another"
    )
    # What both vendors' own clients wait.
    within_s: Seconds = Field(
        600.0,
        description="from a request's first byte: later nobody is asked again, nor another model",
    )


class LlmBreaker(Section):
    """When an upstream that fails is left alone."""

    enabled: bool = True
    in_a_row: int = Field(5, ge=1, le=10_000, description="failures with no success in between")
    share: float = Field(0.5, gt=0, le=1, description="of the last `of` requests that failed")
    of: int = Field(20, ge=2, le=10_000)
    open_s: Seconds = Field(5.0, description="until one request may probe it; doubles each time")
    max_open_s: Seconds = Field(120.0)


class LlmVersion(Section):
    """What stands behind one version of a model."""

    upstreams: list[LlmUpstream] = Field(min_length=1, max_length=MAX_UPSTREAMS)
    order: Order = "weighted"
    retries: LlmRetries = LlmRetries()
    breaker: LlmBreaker = LlmBreaker()
    fallbacks: list[Name] = Field(
        default_factory=list,
        max_length=MAX_FALLBACKS,
        description="models that are asked in turn where all upstreams fail",
    )
    context_window_fallbacks: list[Name] = Field(default_factory=list, max_length=MAX_FALLBACKS)
    content_policy_fallbacks: list[Name] = Field(default_factory=list, max_length=MAX_FALLBACKS)
    max_output_tokens: int | None = Field(
        None,
        ge=1,
        le=2**31 - 1,
        description="most that one answer may have; none: as the price map says",
    )
    unsupported: Literal["drop", "refuse"] = Field(
        "drop", description="what becomes of fields that another provider's API has nothing for"
    )

    @field_validator("upstreams")
    @classmethod
    def _told_apart(cls, upstreams: list[LlmUpstream]) -> list[LlmUpstream]:
        twice = [n for n, times in Counter(one.called for one in upstreams).items() if times > 1]
        if twice:
            raise ValueError(f"expected each name once, got '{twice[0]}' again")
        return upstreams


class LlmModel(Section):
    """A model that clients call by name; `routes.NAME` divides its requests among versions."""

    aliases: list[AliasName] = Field(
        default_factory=list, max_length=64, description="other names that clients may call it by"
    )
    default: int | None = Field(
        None,
        description="the version that answers where no route says otherwise; none: the highest",
    )
    unpriced: Literal["serve", "refuse"] = Field(
        "serve",
        description="where nobody knows what it costs: serve tells so, refuse answers 403",
    )
    refusal_phrases: list[Annotated[str, AfterValidator(_phrase)]] | None = Field(
        None,
        max_length=1000,
        description="an answer that has one in its first 200 characters refuses in words; none: a"
        " list in twelve languages that comes along",
    )
    versions: dict[Annotated[int, Field(ge=1, le=MAX_VERSION)], LlmVersion] = Field(min_length=1)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Lets editors know what `_short` takes, too."""
        schema = handler(core)
        version = handler.resolve_ref_schema(handler(LlmVersion.__pydantic_core_schema__))
        either = handler.resolve_ref_schema(schema)
        either["properties"] |= version["properties"]
        either["anyOf"] = [{"required": either.pop("required")}, {"required": version["required"]}]
        return schema

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: object) -> object:
        """A model with one version may say what that is without numbering it."""
        if not isinstance(given, dict):
            return given
        if ("upstreams" in given) == ("versions" in given):
            got = "both: one excludes the other" if "versions" in given else "neither"
            raise ValueError(f"expected upstreams, or versions that each have some, got {got}")
        if "versions" not in given:
            own = {key: given[key] for key in _OF_ALL_VERSIONS if key in given}
            rest = {key: value for key, value in given.items() if key not in own}
            return {**own, "versions": {1: rest}}
        return given

    @field_validator("versions")
    @classmethod
    def _has_default(
        cls, versions: dict[int, LlmVersion], info: ValidationInfo
    ) -> dict[int, LlmVersion]:
        default = info.data.get("default")
        if default is not None and default not in versions:
            known = ", ".join(map(str, versions))
            raise ValueError(f"expected the default to be one of {known}, got {default}")
        return versions


class LlmPrices(Section):
    """What tokens cost."""

    file: Path | None = Field(
        None, description="in LiteLLM's format; it goes before the table that comes along"
    )


class Llm(Section):
    """Models that other servers answer for."""

    providers: dict[Name, LlmProvider] = Field(default_factory=dict)
    prices: LlmPrices = LlmPrices()
    teams: dict[GroupName, Limited] = Field(
        default_factory=dict, max_length=MAX_GROUPS, description="what keys of one team share"
    )
    tags: dict[GroupName, Limited] = Field(
        default_factory=dict, max_length=MAX_GROUPS, description="what keys with one tag share"
    )
    log_content: Annotated[Literal["off", "redacted", "full"], BeforeValidator(off)] = Field(
        "off",
        description="prompts and answers among captured rows: redacted leaves out e-mail and IP"
        " addresses, keys, and numbers of telephones, cards and accounts",
    )
    models: dict[LlmName, LlmModel] = Field(default_factory=dict)

    @field_validator("models")
    @classmethod
    def _known(cls, models: dict[str, LlmModel], info: ValidationInfo) -> dict[str, LlmModel]:
        faults = [*_clashes(models)]
        if "providers" in info.data:  # else it has faults of its own
            faults += _strangers(models, info.data["providers"])
        if faults:
            raise Below(faults)
        return models


Fault = tuple[tuple[int | str, ...], str]
_CHAINS: Final = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")


def _clashes(models: Mapping[str, LlmModel]) -> Iterator[Fault]:
    """Aliases that something else is called by."""
    owners = {name: name for name in models}
    for name, model in models.items():
        for place, alias in enumerate(model.aliases):
            owner = owners.setdefault(alias, name)
            if owner != name or alias in model.aliases[:place] or alias == name:
                said = (
                    f"expected a name that nothing else has, got '{alias}': so is '{owner}' called"
                )
                yield (name, "aliases", place), said


def _strangers(
    models: Mapping[str, LlmModel], providers: Mapping[str, LlmProvider]
) -> Iterator[Fault]:
    """Providers and models that are named, and of which nothing else is said."""
    called = {alias: name for name, model in models.items() for alias in model.aliases}
    called |= {name: name for name in models}
    known = ", ".join(providers) or "none is there"
    for name, model in models.items():
        for number, version in model.versions.items():
            at = (name, "versions", str(number))
            for place, one in enumerate(version.upstreams):
                if one.provider not in providers:
                    said = f"expected one of llm.providers ({known}), got '{one.provider}'"
                    yield (*at, "upstreams", place, "provider"), said
            for chain in _CHAINS:
                for place, other in enumerate(getattr(version, chain)):
                    if other not in called:
                        said = f"expected a name or alias of llm.models, got '{other}'"
                        yield (*at, chain, place), said
                    elif called[other] == name and len(model.versions) == 1:
                        said = f"expected another model, got '{other}', which has just failed then"
                        yield (*at, chain, place), said
