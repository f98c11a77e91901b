"""What is told of experiments: figures of an A/B test, of a bandit, and of one as a whole.

Knows assessments and sums, and how they are written down. Knows nothing of who asks.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from gateway.config.experiments import Bandit
from gateway.control.experiment_store import Experiment
from gateway.experiments.assessment import Assessment, Evidence
from gateway.experiments.bandits import Policy
from gateway.experiments.estimates import estimate

ALPHA: Final = 0.05  # of a bandit's arms


def of_ab_test(found: Assessment) -> dict[str, Any]:
    """Figures of an A/B test."""
    plain = asdict(found)
    plain["mismatch"]["alarm"] = found.mismatch.alarm
    del plain["verdict"]
    return plain


def of_bandit(evidence: Evidence) -> dict[str, Any]:
    """Figures of a bandit. Rows that fade count for what they still weigh."""
    arms = [
        {
            "name": name,
            "requests": int(evidence.requests[name].sum()),
            "estimate": asdict(estimate(own, ALPHA)),
        }
        for name, own in evidence.sums[0].items()
    ]
    return {"arms": arms, "others": evidence.others}


def policy_of(spec: Bandit) -> Policy:
    """How shares are to follow rewards."""
    binary = spec.rewards == "bernoulli"
    return Policy(spec.policy, binary, spec.floor, spec.epsilon, spec.measure.sign)


def line(one: Experiment) -> dict[str, Any]:
    """One experiment as `documents.ExperimentLine` has it."""
    given, stand = one.given, one.stand
    return {
        "number": one.number,
        "model": one.model,
        "kind": given.spec.kind,
        "state": stand.state,
        "why": stand.why,
        "winner": stand.winner or None,
        "takes": stand.takes or None,
        "measure": given.spec.measure.name,
        "better": "higher" if given.spec.measure.sign > 0 else "lower",
        "control": given.control,
        "versions": dict(given.versions),
        "shares": dict(stand.shares),
        "who": given.who,
        "started_at": given.at,
        "ended_at": stand.ended_at,
        "warnings": list(given.warnings),
        "events": [asdict(event) for event in stand.events],
        "experiment": given.spec.model_dump(mode="json", exclude_none=True),
        "report": stand.report,
    }
