"""A notice in the shapes that receivers know.

Knows notices and formats. Knows nothing of delivery: the same notice always gives the same bytes.

Sources: Alertmanager's webhook, https://prometheus.io/docs/alerting/latest/configuration/
#webhook_config, and its API, version 2; CloudEvents 1.0, https://github.com/cloudevents/spec.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from gateway.alerts.notices import Notice

# Alertmanager calls resolved what nobody sends again: it is sent once a minute.
REPEAT_S: Final = 60.0
_LASTS_S: Final = 4 * REPEAT_S
_NEVER: Final = "0001-01-01T00:00:00Z"  # Go's zero time, which is what Alertmanager sends
_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Message:
    """What is POSTed.

    Attributes:
        path: put behind the sink's URL where that has none.
    """

    body: bytes
    content_type: str
    path: str = ""


def webhook(notice: Notice) -> Message:
    """The notice itself."""
    return Message(_bytes(notice), _JSON)


def cloudevents(notice: Notice) -> Message:
    """CloudEvents 1.0 in structured mode."""
    model = quote(notice["model"], safe="")
    event = {
        "specversion": "1.0",
        "id": notice["event"],
        "source": f"/penstock/models/{model}/versions/{notice['version']}",
        "type": f"penstock.alert.{notice['status']}",
        "subject": notice["rule"],
        "time": _time(notice["at"]),
        "datacontenttype": _JSON,
        "data": notice,
    }
    return Message(_bytes(event), "application/cloudevents+json")


def alertmanager(notice: Notice) -> Message:
    """What Alertmanager sends to its webhook receivers, version 4."""
    labels, annotations = _labels(notice), _annotations(notice)
    over = notice["status"] == "resolved"
    group = {"alertname": labels["alertname"]}
    return Message(
        _bytes(
            {
                "version": "4",
                "groupKey": f"penstock:{notice['fingerprint']}",
                "truncatedAlerts": 0,
                "status": notice["status"],
                "receiver": "penstock",
                "groupLabels": group,
                "commonLabels": labels,
                "commonAnnotations": annotations,
                "externalURL": "",
                "alerts": [
                    {
                        "status": notice["status"],
                        "labels": labels,
                        "annotations": annotations,
                        "startsAt": _time(notice["fired_at"]),
                        "endsAt": _time(notice["resolved_at"]) if over else _NEVER,
                        "generatorURL": "",
                        "fingerprint": notice["fingerprint"],
                    }
                ],
            }
        ),
        _JSON,
    )


def alertmanager_api(notice: Notice) -> Message:
    """What Alertmanager takes from Prometheus: POST /api/v2/alerts."""
    over = notice["status"] == "resolved"
    ends = notice["resolved_at"] if over else notice["at"] + _LASTS_S
    alert = {
        "labels": _labels(notice),
        "annotations": _annotations(notice),
        "startsAt": _time(notice["fired_at"]),
        "endsAt": _time(ends),
    }
    return Message(_bytes([alert]), _JSON, "/api/v2/alerts")


SHAPES: Final[Mapping[str, Callable[[Notice], Message]]] = {
    "webhook": webhook,
    "cloudevents": cloudevents,
    "alertmanager": alertmanager,
    "alertmanager_api": alertmanager_api,
}


def _labels(notice: Notice) -> dict[str, str]:
    """What an alert is told apart by: the same as long as it is the same alarm."""
    return {
        "alertname": f"penstock_{notice['rule'].replace('-', '_')}",
        "job": "penstock",
        "model": notice["model"],
        "version": str(notice["version"]),
        "severity": notice["severity"],
    }


def _annotations(notice: Notice) -> dict[str, str]:
    return {
        "summary": notice["summary"],
        "condition": notice["condition"],
        "columns": ", ".join(column["name"] for column in notice["columns"]),
        "alarm_id": notice["id"],
        "reference": notice["reference"] or "",
    }


def _bytes(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
