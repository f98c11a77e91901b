"""The words of a dashboard: what a panel is made of, and what queries have in common.

Knows queries and units. Knows nothing of which panels there are, or of Grafana's JSON.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# Grafana's own: an interval that always holds a few scrapes, and the time that is shown.
RATE = "[$__rate_interval]"
RANGE = "[$__range]"
# Of the models that are chosen above the panels.
OF = '{model=~"$model"}'


@dataclass(frozen=True)
class Panel:
    """One picture.

    Attributes:
        title: over it.
        queries: legend by query.
        unit: Grafana's name of it.
        width: of 24 columns.
        height: in rows of 30 pixels.
        kind: Grafana's name of it.
        text: what the title does not say.
        least: of the axis; none: as the data has it.
    """

    title: str
    queries: dict[str, str]
    unit: str = "short"
    width: int = 8
    height: int = 8
    kind: str = "timeseries"
    text: str = ""
    least: float | None = 0


@dataclass(frozen=True)
class Variable:
    """What can be chosen above the panels."""

    name: str
    query: str
    many: bool = True


@dataclass(frozen=True)
class Dashboard:
    """A page of panels, which are laid out as words are."""

    uid: str
    title: str
    variables: tuple[Variable, ...]
    panels: tuple[Panel, ...]
    since: str = "now-1h"
    tags: tuple[str, ...] = field(default=("penstock",))


def quantile(share: float, labels: str, by: str) -> str:
    """Of the time that requests took; the labels choose which, and `by` names those that stay."""
    bucket = f"penstock_request_duration_seconds_bucket{labels}{RATE}"
    return f"histogram_quantile({share}, sum by ({by}) (rate({bucket})))"
