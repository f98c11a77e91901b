"""Evaluates every rule on every version that is watched or has outcomes, and has it told.

Knows rules, alarms and who delivers. Knows nothing of how figures are read or letters sent. Rules
are evaluated on a thread; a trouble with one rule is logged and keeps no other from being
evaluated, and a full disk keeps no alarm from being told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any, Final

from gateway.alerts.alarms import FIRING, PENDING, RESOLVED, Alarm, Phase, end, evaluate
from gateway.alerts.notices import Lines, Notice, Subject, condition, notice, ranked, told_lines
from gateway.alerts.shapes import REPEAT_S
from gateway.config import AlertRule, Alerts
from gateway.control.alert_store import UNKEPT, AlertStore, Letter
from gateway.control.deliveries import Deliveries
from gateway.control.drift import Drift
from gateway.control.outcome_figures import OUTCOME_RULES
from gateway.control.rule_figures import RuleFigures
from gateway.control.standings import Standings
from gateway.control.troubles import Troubles
from gateway.errors import NotFound, StoreFailed

log = logging.getLogger("penstock.alerts")

# What is over stays in the list for a day, that of versions and rules that are gone included.
SHOWN_S: Final = 86_400.0

# Whoever looks once a second may come a little early.
_EARLY_S: Final = 0.5

Version = tuple[str, int]
Told = tuple[Subject, AlertRule, Notice]


class Alerting:
    """The alarms of one server. Lives in control.

    Attributes:
        started: what the last process left was read.
    """

    def __init__(
        self,
        drift: Drift,
        standings: Standings,
        store: AlertStore,
        deliveries: Deliveries,
        settings: Callable[[], Alerts],
        now: Callable[[], float],
        troubles: Troubles,
        counting: Executor,
        suppress: Callable[[str, int], str] = lambda model, version: "",
        rules_of: Callable[[str, int], Sequence[AlertRule] | None] = lambda model, version: None,
    ) -> None:
        """Knows nothing yet.

        Args:
            drift: where figures come from.
            standings: where those of outcomes come from.
            store: where alarms are kept.
            deliveries: who tells of them.
            settings: what is configured now.
            now: seconds since 1970 by the time of histories, which never goes back.
            troubles: told of what goes wrong again and again.
            counting: the one thread that histories are read and written on.
            suppress: why alarms of a version may not begin to fire now; empty: they may.
            rules_of: what a version's monitoring release says; None: what is configured.
        """
        self.started = False
        self._drift = drift
        self._standings = standings
        self._store = store
        self._deliveries = deliveries
        self._settings = settings
        self._now = now
        self._troubles = troubles
        self._counting = counting
        self._suppress = suppress
        self._rules_of = rules_of
        self._alarms: dict[Subject, Alarm] = {}
        self._rules: dict[str, AlertRule] = {}
        self._own: dict[Subject, AlertRule] = {}  # a version's may be those of its release
        self._notices: dict[Subject, Notice] = {}
        self._due: dict[Subject, float] = {}
        self._repeated: dict[str, float] = {}
        self._unsaved: dict[Subject, Alarm | None] = {}

    async def start(self) -> None:
        """Goes on where the last process stopped.

        Raises:
            StoreFailed: the database cannot be read.
        """
        self._alarms = await asyncio.to_thread(self._store.alarms)
        self._deliveries.put(await asyncio.to_thread(self._store.waiting))
        self.started = True

    async def look(self, live: Collection[Version]) -> None:
        """Evaluates what is due.

        Args:
            live: the versions that serve.
        """
        settings = self._settings()
        told = await asyncio.get_running_loop().run_in_executor(
            self._counting, self._evaluate, settings, live
        )
        letters = await self._save(
            [
                (sink.name, one)
                for _, rule, one in told
                for sink in settings.sinks
                if rule.severity in sink.severities
            ]
        )
        if settings.log:
            for _, rule, one in told:
                _say(rule, one)
        self._deliveries.put(letters)
        self._deliveries.put(self._repeats(settings))

    def lines(self) -> list[dict[str, Any]]:
        """Every alarm that is pending or fires, or was over lately, as plain values."""
        now = self._now()
        order = {FIRING: 0, PENDING: 1, RESOLVED: 2}
        shown = [
            (subject, alarm)
            for subject, alarm in self._alarms.copy().items()
            if alarm.phase != RESOLVED or alarm.resolved_at > now - SHOWN_S
        ]
        shown.sort(key=lambda one: (order[one[1].phase], -one[1].since_s, one[0]))
        return [self._line(*one) for one in shown]

    def firing(self) -> list[tuple[tuple[str, ...], float]]:
        """1 for each alarm that fires: rule, severity, model, version."""
        return [
            ((one.rule, self._rule(one).severity, one.model, str(one.version)), 1.0)
            for one, alarm in sorted(self._alarms.copy().items())
            if alarm.phase == FIRING
        ]

    # ---- on a thread ----------------------------------------------------------------------------

    def _evaluate(self, settings: Alerts, live: Collection[Version]) -> list[Told]:
        now = self._now()
        watched, labelled = self._drift.watched() & set(live), self._standings.found.keys() & live
        figures = RuleFigures(self._drift, self._standings)
        told: list[Told] = []
        known: set[Subject] = set()
        names = {rule.name for rule in settings.in_force}
        self._rules.update((rule.name, rule) for rule in settings.in_force)
        for version in sorted(watched | labelled):
            released = self._rules_of(*version)
            for rule in settings.rules_of(version[0]) if released is None else released:
                of_outcomes = rule.of in OUTCOME_RULES
                if version not in (labelled if of_outcomes else watched):
                    continue
                if of_outcomes and rule.window_s is not None:
                    self._standings.want(rule.window_s)
                subject = Subject(rule.name, *version)
                known.add(subject)
                names.add(rule.name)
                self._own[subject] = rule
                if self._due.get(subject, 0.0) > now + _EARLY_S:
                    continue
                self._due[subject] = now + rule.every_s
                try:
                    told += self._pane(subject, rule, figures, now)
                except NotFound:  # it went while we looked
                    continue
                except Exception as error:
                    self._troubles.met(f"rule {rule.name}", error)
                else:
                    self._troubles.over(f"rule {rule.name}")
        if not self._standings.started:  # who waits for the ledger is not gone
            known |= {one for one in self._alarms if self._rule(one).of in OUTCOME_RULES}
        told += self._end(known, names, now)
        kept = known | self._alarms.keys()
        self._own = {subject: rule for subject, rule in self._own.items() if subject in kept}
        return told

    def _pane(
        self, subject: Subject, rule: AlertRule, figures: RuleFigures, now: float
    ) -> Iterator[Told]:
        model, version = subject.model, subject.version
        found = figures.read(rule, model, version)
        before = self._alarms.get(subject)
        alarm, tell = evaluate(rule, before, found, now, self._suppress(model, version))
        self._remember(subject, before, alarm)
        if alarm is not None and tell:
            about, lines = figures.told(rule, model, version, alarm)
            yield self._tell(subject, rule, alarm, now, about, lines)

    def _end(
        self, known: Collection[Subject], rules: Collection[str], now: float
    ) -> Iterator[Told]:
        """What alarms were about may be gone."""
        for subject in self._alarms.keys() - set(known):
            before = self._alarms[subject]
            if before.phase == RESOLVED and before.resolved_at > now - SHOWN_S:
                continue
            alarm, tell = end(before, now)
            self._remember(subject, before, alarm)
            self._due.pop(subject, None)
            if alarm is not None and tell:
                gone = "the version is not served any more"
                reason = gone if subject.rule in rules else "there is no such rule any more"
                yield self._tell(subject, self._rule(subject), alarm, now, {}, {}, reason)

    def _tell(
        self,
        subject: Subject,
        rule: AlertRule,
        alarm: Alarm,
        now: float,
        about: Mapping[str, Any],
        lines: Lines,
        reason: str = "",
    ) -> Told:
        one = notice(subject, rule, alarm, now, about, lines, reason)
        if alarm.phase == FIRING:
            self._notices[subject] = one
        else:
            self._notices.pop(subject, None)
        return subject, rule, one

    def _remember(self, subject: Subject, before: Alarm | None, alarm: Alarm | None) -> None:
        if alarm is None:
            self._alarms.pop(subject, None)
        else:
            self._alarms[subject] = alarm
        if _lasting(before) != _lasting(alarm):
            self._unsaved[subject] = alarm

    # ---- on the loop ----------------------------------------------------------------------------

    async def _save(self, letters: list[tuple[str, Notice]]) -> list[Letter]:
        """Writes down what changed; what cannot be written is told all the same."""
        if not self._unsaved and not letters:
            return []
        changed = dict(self._unsaved)
        try:
            kept = await asyncio.to_thread(self._store.save, changed, letters)
        except StoreFailed as error:
            self._troubles.met("alerts", error)
            return [Letter(UNKEPT, sink, one) for sink, one in letters]
        self._troubles.over("alerts")
        self._unsaved.clear()
        return kept

    def _repeats(self, settings: Alerts) -> Iterator[Letter]:
        """Alertmanager takes for resolved what it does not hear of again."""
        now = self._now()
        for sink in settings.sinks:
            if sink.kind != "alertmanager_api" or self._deliveries.waits(sink.name):
                continue
            if self._repeated.setdefault(sink.name, now) > now - REPEAT_S:
                continue
            self._repeated[sink.name] = now
            for subject, alarm in self._alarms.items():
                rule = self._rule(subject)
                if alarm.phase == FIRING and rule.severity in sink.severities:
                    last = self._notices.get(subject)
                    again = last or notice(subject, rule, alarm, now, {}, {})
                    yield Letter(UNKEPT, sink.name, {**again, "at": now})

    def _rule(self, subject: Subject) -> AlertRule:
        """A rule that is gone is remembered by its name alone."""
        own = self._own.get(subject) or self._rules.get(subject.rule)
        return own or AlertRule(name=subject.rule)

    def _line(self, subject: Subject, alarm: Alarm) -> dict[str, Any]:
        rule = self._rule(subject)
        named = sorted(alarm.columns)
        if alarm.phase != PENDING:
            named = ranked(alarm, told_lines(self._notices.get(subject)))
        return {
            "id": subject.alarm_id(alarm) if alarm.number else None,
            "state": alarm.phase,
            "rule": subject.rule,
            "severity": rule.severity,
            "model": subject.model,
            "version": subject.version,
            "condition": condition(rule),
            "window_s": rule.window_s,
            "since": alarm.since_s,
            "fired_at": alarm.fired_at or None,
            "resolved_at": alarm.resolved_at if alarm.phase == RESOLVED else None,
            "suppressed": alarm.suppressed or None,
            "columns": [
                {
                    "name": str(one),
                    "role": one.role,
                    "tensor": one.tensor,
                    "value": alarm.columns[one].value if one in alarm.columns else None,
                }
                for one in named
            ],
        }


def _lasting(alarm: Alarm | None) -> Alarm | None:
    """What of an alarm is worth a write; before it ever fired, nothing is."""
    if alarm is None or not alarm.number:
        return None
    phase: Phase = FIRING if alarm.phase == FIRING else RESOLVED
    columns = {
        one: replace(watch, recent=0, calm=0, value=None)
        for one, watch in alarm.columns.items()
        if watch.alarmed or watch.after_s > 0
    }
    return replace(alarm, phase=phase, since_s=0.0, suppressed="", columns=columns)


def _say(rule: AlertRule, one: Notice) -> None:
    level = logging.WARNING if one["status"] == "firing" else logging.INFO
    if rule.severity == "critical" and level == logging.WARNING:
        level = logging.ERROR
    about = {name: one[name] for name in ("id", "rule", "severity", "status")}
    log.log(level, "alarm: %s", one["summary"], extra={"alarm": about.pop("id"), **about})
