"""Answers a scrape: gathers what the rooms of control have to tell, and renders it.

Knows which room tells what. Knows nothing of formats or of the arena's words.

What the event loop owns is gathered on it; reading counters and writing text is a thread's.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import os
import threading
from collections.abc import Callable, Mapping, Sequence

import onnxruntime as ort
from prometheus_client.core import Metric

from gateway import __version__
from gateway.config import Metrics as Settings
from gateway.control import (
    capture_metrics,
    contract_metrics,
    drift_metrics,
    experiment_metrics,
    llm_metrics,
    outcome_metrics,
    rollout_metrics,
    route_metrics,
    shadow_metrics,
    views,
)
from gateway.control.experiment_store import Experiment
from gateway.control.gauges import Reading
from gateway.control.key_usage import Usage
from gateway.control.links import Links
from gateway.control.llm_reports import Key
from gateway.control.metrics import Info, Metrics
from gateway.control.monitoring import Monitoring
from gateway.control.port import Counts
from gateway.control.port_certificates import PortCertificates
from gateway.control.pulls import Pulls
from gateway.control.rollouts import Rollouts
from gateway.control.spend_metrics import SpendMetrics
from gateway.control.tracing import Export
from gateway.control.troubles import Troubles
from gateway.control.unwritten import Unwritten
from gateway.errors import StoreFailed
from gateway.plan import Plan


class Scrapes:
    """Lives on control's event loop."""

    def __init__(
        self,
        metrics: Metrics,
        plan: Callable[[], Plan],
        settings: Callable[[], Settings],
        monitoring: Monitoring,
        pulls: Pulls,
        unwritten: Unwritten,
        rollouts: Rollouts,
        usage: Usage,
        links: Links,
        certificates: PortCertificates,
        export: Export | None,
        port: Counts,
        troubles: Troubles,
        experiments: Callable[[], Mapping[int, Experiment]],
        spent: SpendMetrics,
        changes: Mapping[Key, int],
    ) -> None:
        """Takes its collaborators.

        Args:
            metrics: renders.
            plan: the newest.
            settings: those in force.
            monitoring: drift and alarms.
            pulls: what was pulled from routes.
            unwritten: of what was stopped or pulled.
            rollouts: that are under way.
            usage: of keys.
            links: to the workers.
            certificates: of the ports.
            export: of traces, where there is one.
            port: what connections of the control port count.
            troubles: told of what fails again and again.
            experiments: those under way.
            spent: on language models.
            changes: of what upstreams of language models say of themselves.
        """
        self._metrics = metrics
        self._plan = plan
        self._settings = settings
        self._monitoring = monitoring
        self._pulls = pulls
        self._unwritten = unwritten
        self._rollouts = rollouts
        self._usage = usage
        self._links = links
        self._certificates = certificates
        self._export = export
        self._port = port
        self._troubles = troubles
        self._experiments = experiments
        self._changes = changes
        self._spent = spent
        self._spent_in_turn = threading.Lock()

    async def render(self, accept: str, triton: bool) -> tuple[bytes, str]:
        """The body and its content type.

        Args:
            accept: which formats are taken.
            triton: Triton's names, too.
        """
        reading = await self._drift()
        info = await self._info()
        return await asyncio.to_thread(self._text, info, reading, self._settings(), accept, triton)

    async def _drift(self) -> Reading:
        try:
            reading = await self._monitoring.gauges.fresh()
        except Exception as error:  # what fails must not hide what else there is to see
            self._troubles.met("figures of drift", error)
            return Reading((), 0.0)
        self._troubles.over("figures of drift")
        return reading

    async def _info(self) -> Info:
        requests, seen = await self._usage.by_name()
        plan = self._plan()
        return Info(
            version=__version__,
            onnxruntime=ort.__version__,
            providers=tuple(ort.get_available_providers()),
            plan=plan.number,
            supervisor=os.getppid(),
            models=dict(collections.Counter(line["state"] for line in views.models(plan))),
            refused=[len(refused) for refused in self._links.refused],
            key_requests=requests,
            key_last_seen=seen,
            certificates=self._certificates.facts(),
            traced={} if self._export is None else self._export.counts,
            alerts_firing=self._monitoring.alerting.firing(),
            alert_deliveries=list(self._monitoring.deliveries.counts.items()),
            connections=self._port.open,
            port_refusals=dict(self._port.refusals),
            routes=tuple(route_metrics.families(plan, self._pulls.all_at_hand(), self._unwritten)),
            rollouts=tuple(rollout_metrics.families(self._rollouts.live(), self._rollouts.results)),
        )

    def _spending(self) -> Sequence[Metric]:
        with self._spent_in_turn:  # two may scrape at once
            try:
                return tuple(self._spent.families())
            except StoreFailed:  # the names of keys are lost for now: the store has told of it
                return ()

    def _text(
        self, info: Info, reading: Reading, settings: Settings, accept: str, triton: bool
    ) -> tuple[bytes, str]:
        drift = drift_metrics.families(reading.evaluated, settings, reading.took_s)
        plan = self._plan()
        broken = self._monitoring.contracts.breaches(plan)
        contracts = contract_metrics.families(broken, settings.max_features)
        captured = capture_metrics.families(self._monitoring.capture.facts_now())
        served = {(one.name, one.version) for one in plan.held}
        known = self._monitoring.outcomes
        standings = {key: one for key, one in known.standings.found.items() if key in served}
        outcomes = outcome_metrics.families(known.seen, standings, settings.outcomes_window_s)
        info = dataclasses.replace(
            info,
            drift=drift,
            contracts=contracts,
            captured=captured,
            spent=self._spending(),
            outcomes=outcomes,
            experiments=experiment_metrics.families(self._experiments()),
            shadows=shadow_metrics.families(self._monitoring.shadows.readings()),
            llm=llm_metrics.families(plan, self._monitoring.upstreams(), dict(self._changes)),
        )
        return self._metrics.render(info, accept, triton)
