"""All scenarios by name. Each takes a Bench and returns one Result per line of the report."""

from __future__ import annotations

from collections.abc import Callable

from loadtest.bench import Bench
from loadtest.scenarios import (
    access,
    alarms,
    counting,
    evaluation,
    failing,
    faults,
    figures,
    footprint,
    joins,
    language,
    latency,
    monitoring,
    operation,
    outcomes,
    overload,
    rollouts,
    routing,
    shadows,
    spending,
    throughput,
)
from loadtest.turns import Result

Scenario = Callable[[Bench], list[Result]]

SCENARIOS: dict[str, Scenario] = {
    "single-row-json": throughput.single_row_json,
    "single-row-binary": throughput.single_row_binary,
    "rows-128": throughput.rows_128,
    "image-tensor": throughput.image_tensor,
    "heavy-model": throughput.heavy_model,
    "mixed-models": throughput.mixed_models,
    "beside-busy": latency.beside_busy,
    "large-answers": latency.large_answers,
    "open-loop": latency.open_loop,
    "idle-connections": latency.idle_connections,
    "keys-on-and-off": access.keys_on_and_off,
    "route-on-and-off": routing.route_on_and_off,
    "failing-candidate": failing.failing_candidate,
    "shadow-beside": shadows.shadow_beside,
    "monitoring-on-and-off": monitoring.monitoring_on_and_off,
    "ledger-on-and-off": outcomes.ledger_on_and_off,
    "selective-labels": outcomes.selective_labels,
    "capture-on-and-off": outcomes.capture_on_and_off,
    "joins": joins.joins,
    "figures-by-scikit-learn": figures.figures,
    "overload-heavy": overload.heavy,
    "overload-small": overload.small,
    "hang-ups": faults.hang_ups,
    "worker-kill": faults.worker_kill,
    "control-kill": faults.control_kill,
    "reload": faults.reload,
    "access-log": operation.access_log,
    "config-apply": operation.config_apply,
    "memory": footprint.memory,
    "counting": counting.counting,
    "drift-evaluation": evaluation.evaluation,
    "counting-memory": evaluation.memory,
    "alarms": alarms.alarms,
    "rollouts": rollouts.rollouts,
    "time-to-ready": footprint.time_to_ready,
    "two-workers": footprint.two_workers,
    "language-chat": language.chat,
    "language-prompts": language.prompts,
    "language-chunks": language.chunks,
    "language-latency": language.latency,
    "language-memory": language.memory,
    "language-budget": spending.budget,
    "language-equal": spending.equal,
}
