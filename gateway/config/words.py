"""What the parts of the document have in common: names, hosts, numbers, and what a part is.

Knows the words. Knows nothing of any part.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from gateway.names import name_fault


def off(value: object) -> object:
    """What YAML makes of `off` is meant as the word."""
    return "off" if value is False else value


def _model_name(name: str) -> str:
    if fault := name_fault(name):
        raise ValueError(fault)
    return name


def _host(host: str) -> str:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if len(host) > 253 or not _HOST_NAME.fullmatch(host) or _NUMBERS.fullmatch(host):
            raise ValueError("expected an address or a host name") from None
    return host


def _network(place: str) -> str:
    try:
        ipaddress.ip_network(place, strict=False)
    except ValueError:
        raise ValueError("expected an address or network") from None
    return place


_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")
_NUMBERS = re.compile(r"[0-9.]+")  # an address that is none
Name = Annotated[str, Field(min_length=1, max_length=200)]
ModelName = Annotated[Name, AfterValidator(_model_name)]
Host = Annotated[str, AfterValidator(_host)]
Network = Annotated[str, AfterValidator(_network)]
MetricName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]{0,63}$")]
Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """One part of the document: unknown keys are faults, values do not change after reading.

    Numbers are finite: clocks, queues and JSON have no other.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
