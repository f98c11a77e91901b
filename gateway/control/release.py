"""One numbered release of what a version is watched by: profile, contract and thresholds.

Knows its fields, and thresholds as JSON. Knows nothing of where releases are kept or how one
follows another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from gateway.config import AlertRule, Alerts
from gateway.profiles.values import Profile

_RULES = TypeAdapter(tuple[AlertRule, ...])


@dataclass(frozen=True, slots=True)
class Offer:
    """What a version would be watched by if nothing were known of it.

    Attributes:
        profile: found for it.
        digest: of that.
        thresholds: that the configuration has for its model, as `thresholds_of` writes them.
    """

    profile: Profile
    digest: str
    thresholds: str


@dataclass(frozen=True, slots=True)
class Release:
    """One row. What defaults say stands before a version's first release.

    Attributes:
        model, version: identity.
        number: from 1 on.
        at: seconds since 1970.
        who: made it so.
        note: why, or out of what.
        profile: digest.
        profile_folder: where it lies.
        rows: of the profile.
        self_referenced: of the profile.
        offered: digest of the profile that was offered then.
        contract: digest.
        contract_folder: where it lies.
        edited: somebody set the contract; it was not inferred from the profile.
        thresholds: alert rules, as JSON.
        configured: those that were offered then.
    """

    model: str
    version: int
    number: int = 0
    at: float = 0.0
    who: str = ""
    note: str = ""
    profile: str = ""
    profile_folder: str = ""
    rows: int = 0
    self_referenced: bool = False
    offered: str = ""
    contract: str = ""
    contract_folder: str = ""
    edited: bool = False
    thresholds: str = ""
    configured: str = ""

    @property
    def watched_by(self) -> tuple[str, str, str]:
        """What it is about: equal for equal releases."""
        return self.profile, self.contract, self.thresholds

    def as_json(self) -> dict[str, Any]:
        """What people want to know of it, as plain values."""
        return {
            "number": self.number,
            "at": self.at,
            "who": self.who,
            "note": self.note,
            "profile": self.profile,
            "rows": self.rows,
            "self_referenced": self.self_referenced,
            "contract": self.contract,
            "edited": self.edited,
            "thresholds": orjson.loads(self.thresholds),
        }


def thresholds_of(alerts: Alerts, model: str) -> str:
    """The alert rules that are about a model, as JSON; equal for equal ones."""
    rules = [rule.model_dump(mode="json") for rule in alerts.rules_of(model)]
    return orjson.dumps(rules, option=orjson.OPT_SORT_KEYS).decode()


def audited(release: Release) -> dict[str, Any]:
    """What the audit says of it."""
    return {
        "release": release.number,
        "profile": release.profile,
        "contract": release.contract,
        "rules": [rule["name"] for rule in orjson.loads(release.thresholds)],
    }


def rules_of(release: Release) -> Sequence[AlertRule] | None:
    """A release's thresholds; None where another version of this program wrote them."""
    try:
        return _RULES.validate_json(release.thresholds)
    except ValidationError:
        return None
