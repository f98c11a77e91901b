"""What is told of an alarm, in each shape."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest

from gateway.alerts import shapes
from gateway.alerts.alarms import evaluate
from gateway.alerts.notices import Subject, notice
from gateway.alerts.readings import Column, Look
from gateway.alerts.signatures import headers, read_secret
from gateway.config import AlertRule


def pane(*arguments):
    """`evaluate`, for those who know that there is an alarm."""
    return evaluate(*arguments)


RULE = AlertRule(name="high-psi", figure="psi", threshold=0.2, window_s=600, clear_panes=1)
SUBJECT = Subject("high-psi", "fraud/é", 3)
COLUMNS = [Column("features", "x", f"c{n}") for n in range(7)]
LINES = {
    column: {"type": "float32", "rows": 900, "log10_e": float(n), "psi": n / 10}
    for n, column in enumerate(COLUMNS)
}
NOON = 1_800_000_000.0
FIRED, _ = pane(RULE, None, {column: (Look(0.3),) for column in COLUMNS}, NOON)
OVER, _ = pane(RULE, FIRED, {column: (Look(0.0),) for column in COLUMNS}, NOON + 90)
ABOUT = {"reference": "abc", "self_referenced": False}
FIRING = notice(SUBJECT, RULE, FIRED, NOON, ABOUT, LINES)
RESOLVED = notice(SUBJECT, RULE, OVER, NOON + 90, ABOUT, LINES)


def test_a_notice_names_the_columns_with_the_most_evidence():
    assert [column["name"] for column in FIRING["columns"]] == ["c6", "c5", "c4", "c3", "c2"]
    assert FIRING["more_columns"] == 2
    assert FIRING["columns"][0]["psi"] == 0.6
    assert FIRING["summary"] == (
        "model 'fraud/é' version 3: psi >= 0.2: c6, c5, c4, c3, c2 and 2 more"
    )


def test_an_alarm_keeps_its_id_and_every_notice_has_its_own():
    assert FIRING["id"] == RESOLVED["id"]
    assert FIRING["event"] != RESOLVED["event"]
    again, _ = pane(RULE, OVER, {COLUMNS[0]: (Look(0.3),)}, NOON + 9999)
    assert notice(SUBJECT, RULE, again, NOON, ABOUT, LINES)["id"] != FIRING["id"]
    other = Subject("high-psi", "fraud/é", 4)
    assert notice(other, RULE, FIRED, NOON, ABOUT, LINES)["id"] != FIRING["id"]


def test_the_webhook_is_the_notice():
    assert json.loads(shapes.webhook(FIRING).body) == FIRING


def test_the_shape_of_alertmanagers_webhook():
    told = json.loads(shapes.alertmanager(RESOLVED).body)
    assert set(told) == {
        *("version", "groupKey", "truncatedAlerts", "status", "receiver", "groupLabels"),
        *("commonLabels", "commonAnnotations", "externalURL", "alerts"),
    }
    assert (told["version"], told["status"]) == ("4", "resolved")
    [alert] = told["alerts"]
    assert alert["labels"] == {
        "alertname": "penstock_high_psi",
        "job": "penstock",
        "model": "fraud/é",
        "version": "3",
        "severity": "warning",
    }
    assert (alert["startsAt"], alert["endsAt"]) == ("2027-01-15T08:00:00Z", "2027-01-15T08:01:30Z")


def test_alertmanager_is_told_until_when_an_alert_holds():
    [firing] = json.loads(shapes.alertmanager_api(FIRING).body)
    [over] = json.loads(shapes.alertmanager_api(RESOLVED).body)
    assert firing["labels"] == over["labels"]
    assert (firing["endsAt"], over["endsAt"]) == ("2027-01-15T08:04:00Z", "2027-01-15T08:01:30Z")


def test_the_required_attributes_of_a_cloud_event():
    message = shapes.cloudevents(FIRING)
    event = json.loads(message.body)
    assert message.content_type == "application/cloudevents+json"
    assert (event["specversion"], event["id"]) == ("1.0", FIRING["event"])
    assert event["source"] == "/penstock/models/fraud%2F%C3%A9/versions/3"
    assert (event["type"], event["data"]) == ("penstock.alert.firing", FIRING)


def test_a_signature_is_what_standard_webhooks_libraries_compute():
    # The example of https://github.com/standard-webhooks/standard-webhooks' specification.
    secret = read_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    told = headers(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert told["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert told["webhook-timestamp"] == "1614265330"


def test_any_text_is_a_secret():
    signed = hmac.new(b"open sesame", b"e.7.body", hashlib.sha256).digest()
    told = headers(read_secret(" open sesame\n"), "e", 7, b"body")
    assert told["webhook-signature"] == "v1," + base64.b64encode(signed).decode()


@pytest.mark.parametrize("text", ["", " \n", "whsec_", "whsec_not base64"])
def test_what_is_no_secret_is_refused(text):
    with pytest.raises(ValueError, match="expected"):
        read_secret(text)
