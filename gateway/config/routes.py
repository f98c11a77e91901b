"""The part of the document that divides a model's requests among its versions.

Knows names and weights. Knows nothing of which versions there are. See docs/routing.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Final

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from gateway.config.words import Name, Section
from gateway.errors import InvalidParameter
from gateway.names import MAX_VERSION, check_alias

MAX_VARIANTS: Final = 16
MAX_SHADOWS: Final = 4
MAX_WEIGHT: Final = 1_000_000


def _alias(text: str) -> str:
    try:
        return check_alias(text)
    except InvalidParameter as error:
        raise ValueError(str(error)) from error


def _lower(text: str) -> str:
    return text.lower()


# A letter first: a value that is all digits names a version where somebody overrides.
VariantName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,100}$"), AfterValidator(_lower)]
Alias = Annotated[Name, AfterValidator(_alias)]


class Variant(Section):
    """One of those that a route's requests are divided among: a version, or what an alias names."""

    name: VariantName
    version: int | None = Field(None, ge=1, le=MAX_VERSION)
    # After `version`, so that both are known where they are held against each other.
    alias: Alias | None = Field(None, validate_default=True)
    weight: float = Field(
        1.0, ge=0, le=MAX_WEIGHT, description="relative: its share is its part of all weights"
    )

    @field_validator("alias")
    @classmethod
    def _one_of_the_two(cls, alias: str | None, info: ValidationInfo) -> str | None:
        return _either(alias, info)


class Shadow(Section):
    """A version that is run with copies of requests after they are answered. See docs/shadows.md.

    Nobody gets its answers; they are held against those that were given.
    """

    version: int | None = Field(None, ge=1, le=MAX_VERSION)
    alias: Alias | None = Field(None, validate_default=True)
    share: float = Field(1.0, gt=0, le=1, description="of the route's requests, each by itself")
    tolerance: float = Field(
        0.01,
        ge=0,
        le=1,
        description="predicted numbers agree that differ by no more than this part of the larger",
    )
    # What a worker answers in a tenth of a second: longer waits only where nothing is to spare.
    max_waiting_rows: int = Field(
        2048, ge=1, le=1_000_000, description="copies in a worker; more are dropped, and counted"
    )
    max_waiting_bytes: int = Field(
        32 << 20, ge=64 << 10, le=1 << 30, description="of them, in a worker"
    )

    @field_validator("alias")
    @classmethod
    def _one_of_the_two(cls, alias: str | None, info: ValidationInfo) -> str | None:
        return _either(alias, info)


class Sticky(Section):
    """What a request is known by: requests with the same value get the same variant."""

    header: HeaderName | None = None
    parameter: Name | None = Field(None, validate_default=True)

    @field_validator("parameter")
    @classmethod
    def _one_at_most(cls, parameter: str | None, info: ValidationInfo) -> str | None:
        if "header" in info.data and (parameter is None) == (info.data["header"] is None):
            given = "neither" if parameter is None else "both"
            raise ValueError(f"expected a header or a parameter, got {given}")
        return parameter


class Overrides(Section):
    """Where a request may name the variant, or its version, that is to answer it."""

    header: HeaderName | None = None
    parameter: Name | None = None


class Failing(Section):
    """When a variant is pulled at once, whatever else is said of its share.

    The defaults are for what hardly works at all: by chance alone they are passed once in some 30
    million requests by a version that fails a tenth of them, within 50 by one that fails half.
    What is merely worse than another is for statistics to tell.
    """

    enabled: bool = Field(True, description="false: nothing is pulled, not even what crashes")
    in_a_row: int = Field(
        10, ge=1, le=100_000, description="failures with no success in between, of all workers"
    )
    share: float = Field(
        0.5, gt=0, lt=1, description="of requests that failed; more than that is too much"
    )
    of: int = Field(20, ge=2, le=100_000, description="the share is taken of so many requests")


class Route(Section):
    """How the requests for a model that name no version are divided."""

    variants: list[Variant] = Field(min_length=1, max_length=MAX_VARIANTS)
    sticky: Sticky | None = Field(
        None, description="none: variants take turns, whoever asks; their shares are exact"
    )
    overrides: Overrides = Overrides()
    fallback: VariantName | None = Field(
        None,
        description="the variant that answers alone when the route is stopped, or another does not"
        " serve; none: the heaviest",
    )
    failing: Failing = Failing()
    shadows: list[Shadow] = Field(
        default_factory=list, max_length=MAX_SHADOWS, description="run aside and compared"
    )

    @field_validator("variants")
    @classmethod
    def _told_apart(cls, variants: list[Variant]) -> list[Variant]:
        _each_once("name", (one.name for one in variants))
        _each_once("version", (one.version for one in variants if one.version is not None))
        _each_once("alias", (one.alias for one in variants if one.alias is not None))
        if not any(one.weight for one in variants):
            raise ValueError("expected a weight above 0, got 0 for all")
        return variants

    @field_validator("fallback")
    @classmethod
    def _is_a_variant(cls, fallback: str | None, info: ValidationInfo) -> str | None:
        names = [one.name for one in info.data.get("variants", ())]
        if fallback is not None and names and fallback not in names:
            raise ValueError(f"expected one of {', '.join(names)}, got '{fallback}'")
        return fallback

    @field_validator("shadows")
    @classmethod
    def _once(cls, shadows: list[Shadow]) -> list[Shadow]:
        _each_once("version", (one.version for one in shadows if one.version is not None))
        _each_once("alias", (one.alias for one in shadows if one.alias is not None))
        return shadows

    @property
    def main(self) -> Variant:
        """The variant that stands for the route where one has to."""
        named = [one for one in self.variants if one.name == self.fallback]
        return named[0] if named else max(self.variants, key=lambda one: one.weight)


def _either(alias: str | None, info: ValidationInfo) -> str | None:
    if "version" in info.data and (alias is None) == (info.data["version"] is None):
        given = "neither" if alias is None else "both"
        raise ValueError(f"expected a version or an alias, got {given}")
    return alias


def _each_once(what: str, values: Iterable[str | int]) -> None:
    twice = [value for value, times in Counter(values).items() if times > 1]
    if twice:
        raise ValueError(f"expected each {what} once, got '{twice[0]}' again")
