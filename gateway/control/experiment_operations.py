"""What can be asked of experiments through the control port: list, show, start, stop, replay.

Knows parameters and answers. Knows nothing of how experiments are carried out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from gateway.access.roles import Permission
from gateway.config.experiments import Measure
from gateway.control.experiment_documents import (
    EndWanted,
    ExperimentLine,
    ExperimentList,
    ExperimentPath,
    ExperimentWanted,
    ReplayQuery,
    ReplayReport,
)
from gateway.control.experiment_readings import Readings
from gateway.control.experiment_reports import line
from gateway.control.experiment_store import Experiment
from gateway.control.experiments import Experiments
from gateway.control.operations import Asked, Operation
from gateway.control.outcome_operations import read_window
from gateway.control.route_documents import RoutePath
from gateway.control.splits import Aliases, Wanted, targets
from gateway.errors import (
    ArenaFull,
    ConfigInvalid,
    Conflict,
    InvalidParameter,
    ModelNotFound,
    NotFound,
    StoreFailed,
)


def operations(
    experiments: Experiments,
    readings: Readings,
    route: Callable[[str], Wanted],
    aliases: Callable[[str], Aliases],
) -> tuple[Operation, ...]:
    """The table.

    Args:
        experiments: carries them out.
        readings: what the ledger says.
        route: what is wanted of a model's requests.
        aliases: of a model.
    """

    async def list_experiments(asked: Asked) -> Any:
        some = await experiments.newest()
        return {"experiments": [line(one) for one in some if asked.may_see(one.model)]}

    async def show_experiment(asked: Asked) -> Any:
        return line(_visible(asked, await experiments.get(asked.path.number)))

    async def start_experiment(asked: Asked) -> Any:
        spec = asked.body.experiment
        return line(await experiments.start(asked.actor, asked.path.model, spec))

    async def stop_experiment(asked: Asked) -> Any:
        number, wanted = asked.path.number, asked.body
        _visible(asked, await experiments.get(number))
        return line(await experiments.stop(asked.actor, number, wanted.why, wanted.winner or ""))

    async def replay_route(asked: Asked) -> Any:
        model, query = asked.path.model, asked.query
        versions = _variants(model, route(model), aliases(model))
        policy = _policy(model, versions, query.shares)
        window_s = read_window(query.window)
        found = await readings.replay(model, versions, _measure(query), policy, window_s)
        return asdict(found)

    changes = (ConfigInvalid, StoreFailed, ArenaFull, Conflict, InvalidParameter)
    return (
        Operation(
            "GET",
            "/api/experiments",
            list_experiments,
            "Experiments, the newest first",
            Permission.READ,
            scope="caller",
            answer=ExperimentList,
            bulky=True,
            errors=(StoreFailed,),
        ),
        Operation(
            "GET",
            "/api/experiments/{number}",
            show_experiment,
            "One experiment, with figures of now",
            Permission.READ,
            scope="caller",
            answer=ExperimentLine,
            path_parameters=ExperimentPath,
            errors=(NotFound, StoreFailed),
        ),
        Operation(
            "POST",
            "/api/experiments/{number}/stop",
            stop_experiment,
            "End an experiment",
            Permission.OPERATE,
            scope="caller",
            answer=ExperimentLine,
            path_parameters=ExperimentPath,
            body=EndWanted,
            errors=(*changes, NotFound),
        ),
        Operation(
            "POST",
            "/api/routes/{model}/experiments",
            start_experiment,
            "Compare variants of a route, or have their shares follow what they are worth",
            Permission.OPERATE,
            scope="model",
            answer=ExperimentLine,
            path_parameters=RoutePath,
            body=ExperimentWanted,
            errors=(*changes, ModelNotFound),
        ),
        Operation(
            "GET",
            "/api/routes/{model}/replay",
            replay_route,
            "What other shares would have come to, by what was left to chance",
            Permission.READ,
            scope="model",
            answer=ReplayReport,
            path_parameters=RoutePath,
            query=ReplayQuery,
            errors=(Conflict, InvalidParameter, NotFound, StoreFailed),
        ),
    )


def _visible(asked: Asked, one: Experiment) -> Experiment:
    """The experiment; whoever may not know of its model is told as if there were none."""
    if not asked.may_see(one.model):
        raise NotFound(f"there is no experiment {one.number}")
    return one


def _variants(model: str, wanted: Wanted, aliases: Aliases) -> dict[str, int]:
    """The version of each variant of a route.

    Raises:
        Conflict: there is no route.
    """
    if wanted.route is None:
        raise Conflict(f"model '{model}' has no route")
    found = targets(wanted.route, aliases)
    return {name: version for name, version in found.items() if version is not None}


def _measure(query: ReplayQuery) -> Measure:
    """What rows are judged by.

    Raises:
        InvalidParameter: neither a figure nor a metric is named, or both are.
    """
    if (query.figure is None) == (query.metric is None):
        given = "neither" if query.metric is None else "both"
        raise InvalidParameter(f"expected `figure` or `metric`, got {given}")
    return Measure(
        figure=query.figure, metric=query.metric, absent=query.absent, wait_s=query.wait_s
    )


def _policy(model: str, versions: Mapping[str, int], text: str) -> dict[str, float]:
    """Shares that add up to 1, of `a=1,b=3`.

    Raises:
        InvalidParameter: it is none, or the route has no such variant.
    """
    if not text:
        raise InvalidParameter("expected `shares` of variants, such as a=1,b=3, got none")
    found: dict[str, float] = {}
    for part in text.split(","):
        name, equals, share = part.strip().partition("=")
        if name not in versions:
            told = ", ".join(versions)
            raise InvalidParameter(
                f"shares: route '{model}' has no variant '{name}'; it has: {told}"
            )
        try:
            found[name] = float(share) if equals else 1.0
        except ValueError:
            found[name] = -1.0
    total = sum(found.values())
    if not (min(found.values()) >= 0.0 and 0.0 < total < math.inf):
        raise InvalidParameter(f"shares: expected numbers of which some are above 0, got '{text}'")
    return {name: share / total for name, share in found.items()}
