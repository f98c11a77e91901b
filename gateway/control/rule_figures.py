"""The figures that rules read of versions' drift or outcomes, and those told with an alarm.

Knows rules, reports and looks back. Knows nothing of when an alarm fires, or of who is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.alerts import readings
from gateway.alerts.alarms import Alarm
from gateway.alerts.notices import Lines, lines_of
from gateway.alerts.readings import Column, Look, Readings
from gateway.config import AlertRule
from gateway.control import outcome_figures
from gateway.control.drift import Drift
from gateway.control.outcome_figures import OUTCOME_RULES
from gateway.control.standings import Standing, Standings
from gateway.drift.look_back import Lookback
from gateway.drift.rules import LOOKBACK_ROWS
from gateway.errors import NotFound
from gateway.profiles.values import FEATURE


class RuleFigures:
    """Those of one moment: a report that several rules read is made once."""

    def __init__(self, drift: Drift, standings: Standings) -> None:
        """Reads nothing yet."""
        self._drift = drift
        self._standings = standings.found
        self._reports: dict[tuple[str, int, float, str], Mapping[str, Any]] = {}

    def read(self, rule: AlertRule, model: str, version: int) -> Readings:
        """What a rule reads of a version now.

        Raises:
            NotFound: the version is not watched any more.
        """
        if rule.of in OUTCOME_RULES:
            return outcome_figures.read(rule, self._standing(model, version))
        if rule.window_s is None:
            return self._lookbacks(rule, model, version)
        return readings.read(rule, self._report(rule, rule.window_s, model, version))

    def told(
        self, rule: AlertRule, model: str, version: int, alarm: Alarm
    ) -> tuple[Mapping[str, Any], Lines]:
        """The fields of the report that an alarm was read of, and its lines by column.

        Raises:
            NotFound: as `read`.
        """
        if rule.of in OUTCOME_RULES:
            return outcome_figures.told(rule, self._standing(model, version))
        if rule.window_s is not None:
            report = self._report(rule, rule.window_s, model, version)
            return report, lines_of(rule, report)
        about: Mapping[str, Any] = {}
        lines: dict[Column, Mapping[str, Any]] = {}
        columns = {one: alarm.columns[one].rows for one in alarm.alarmed}
        for rows in sorted({*columns.values()} or {LOOKBACK_ROWS[0]}):
            about = self._drift.report_of_rows(model, version, rows)
            of_rows = lines_of(rule, about)
            of_these = [one for one, its in columns.items() if its == rows] or alarm.told
            lines.update((one, of_rows[one]) for one in of_these if one in of_rows)
        return about, lines

    def _standing(self, model: str, version: int) -> Standing:
        found = self._standings.get((model, version))
        if found is None:
            raise NotFound(f"model '{model}' version {version} has no ledger")
        return found

    def _report(
        self, rule: AlertRule, window_s: float, model: str, version: int
    ) -> Mapping[str, Any]:
        key = (model, version, window_s, rule.reference)
        if key not in self._reports:
            self._reports[key] = self._drift.report(
                model, version, window_s, None, False, rule.against
            )
        return self._reports[key]

    def _lookbacks(self, rule: AlertRule, model: str, version: int) -> Readings:
        """A rule's readings of looks back by rows."""
        reference, looks = self._drift.lookbacks(model, version)
        wanted = readings.roles(rule)
        found = {}
        for place, (frame, column) in enumerate(reference.columns):
            role = "features" if frame.role == FEATURE else "outputs"
            if role in wanted:
                found[Column(role, frame.tensor, column.name)] = tuple(
                    _look(rule, one, place) for one in looks
                )
        return found


def _look(rule: AlertRule, look: Lookback, place: int) -> Look:
    judged = look.judgement
    enough = judged.rows[place] >= rule.min_rows
    value = readings.level(str(judged.verdicts[place])) if enough else None
    return Look(value, look.rows, look.start_s)
