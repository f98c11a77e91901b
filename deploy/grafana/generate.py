"""Writes the dashboards that lie beside it: run `python -m deploy.grafana.generate`.

Knows how Grafana stores a dashboard. Knows nothing of which panels there are, or of servers.

What Grafana stores of a panel is mostly repetition; here a panel is a line or two, and the JSON,
which is committed for whoever has no Python, is what this makes of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.grafana.drift import DRIFT
from deploy.grafana.llm import LLM
from deploy.grafana.model import MODEL
from deploy.grafana.outcomes import OUTCOMES
from deploy.grafana.panels import Dashboard, Panel, Variable
from deploy.grafana.traffic import TRAFFIC

FOLDER = Path(__file__).resolve().parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
COLUMNS = 24

DASHBOARDS = {
    "traffic": TRAFFIC,
    "drift": DRIFT,
    "model": MODEL,
    "outcomes": OUTCOMES,
    "llm": LLM,
}


def document(dashboard: Dashboard) -> dict[str, Any]:
    """A dashboard as Grafana's JSON."""
    return {
        "title": dashboard.title,
        "uid": dashboard.uid,
        "schemaVersion": 39,
        "version": 1,
        "refresh": "5s",
        "time": {"from": dashboard.since, "to": "now"},
        "tags": list(dashboard.tags),
        "templating": {"list": [_variable(one) for one in dashboard.variables]},
        "panels": list(_panels(dashboard)),
    }


def text(dashboard: Dashboard) -> str:
    """The file."""
    return json.dumps(document(dashboard), indent=1) + "\n"


def _variable(one: Variable) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": one.name,
        "type": "query",
        "datasource": SOURCE,
        "query": one.query,
        "includeAll": one.many,
        "multi": one.many,
        "refresh": 2,
    }
    if one.many:
        made |= {"allValue": ".*", "current": {"text": "All", "value": "$__all"}}
    return made


def _panels(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    x = y = height = 0
    for number, panel in enumerate(dashboard.panels, 1):
        if x + panel.width > COLUMNS:
            x, y, height = 0, y + height, 0
        yield _panel(number, panel, x, y)
        x, height = x + panel.width, max(height, panel.height)


def _panel(number: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    shown: dict[str, Any] = {"unit": panel.unit}
    if panel.least is not None:
        shown["min"] = panel.least
    targets = [
        {"refId": chr(ord("A") + at), "expr": query, "legendFormat": legend}
        for at, (query, legend) in enumerate(panel.queries.items())
    ]
    made: dict[str, Any] = {
        "id": number,
        "title": panel.title,
        "description": panel.text,
        "type": panel.kind,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "fieldConfig": {"defaults": shown, "overrides": []},
        "targets": targets,
    }
    if panel.kind == "stat":
        # The name is what a verdict or a state is: the number beside it is always 1.
        made["options"] = {
            "textMode": "value_and_name",
            "reduceOptions": {"calcs": ["lastNotNull"]},
        }
    return made


def main() -> None:
    """Writes all of them."""
    FOLDER.mkdir(exist_ok=True)
    for name, dashboard in DASHBOARDS.items():
        (FOLDER / f"{name}.json").write_text(text(dashboard))


if __name__ == "__main__":
    main()
