"""Who may do what on the control port, written down a second time, for tests to hold against.

It is not made of the tables of the product: a row there that says too much would agree with itself.
"""

from __future__ import annotations

READ = frozenset({"viewer", "operator", "approver", "admin"})
OPERATE = frozenset({"operator", "admin"})
APPROVE = frozenset({"approver", "admin"})
ADMINISTER = frozenset({"admin"})
EVERYBODY = frozenset({"client", "nobody"}) | READ
PERMISSIONS = {
    "read": READ,
    "operate": OPERATE,
    "approve": APPROVE,
    "administer": ADMINISTER,
    "public": EVERYBODY,
}
"""By what the document calls it."""

ALLOWED = {
    "GET /health/live": EVERYBODY,
    "GET /health/ready": EVERYBODY,
    "GET /metrics": READ,
    "GET /api/status": READ,
    "GET /api/models": READ,
    "GET /api/openapi.json": READ,
    "POST /api/reload": OPERATE,
    "POST /api/models/{model}/load": OPERATE,
    "POST /api/models/{model}/unload": OPERATE,
    "GET /api/models/{model}/versions/{version}/drift": READ,
    "GET /api/models/{model}/versions/{version}/performance": READ,
    "GET /api/models/{model}/versions/{version}/fairness": READ,
    "GET /api/models/{model}/versions/{version}/slices/worst": READ,
    "GET /api/models/{model}/versions/{version}/concept-drift": READ,
    "GET /api/models/{model}/versions/{version}/contract": READ,
    "PUT /api/models/{model}/versions/{version}/contract": OPERATE,
    "DELETE /api/models/{model}/versions/{version}/contract": OPERATE,
    "GET /api/models/{model}/versions/{version}/monitoring": READ,
    "GET /api/models/{model}/versions/{version}/monitoring/releases/{number}": READ,
    "POST /api/models/{model}/versions/{version}/monitoring/rollback": OPERATE,
    "GET /api/llm/models": READ,
    "POST /api/llm/models/{model}/close": OPERATE,
    "GET /api/llm/upstreams": READ,
    "GET /api/alerts": READ,
    "GET /api/alerts/dead-letters": READ,
    "POST /api/alerts/dead-letters/{number}/retry": OPERATE,
    "GET /api/routes": READ,
    "GET /api/routes/{model}": READ,
    "PUT /api/routes/{model}": OPERATE,
    "DELETE /api/routes/{model}": OPERATE,
    "POST /api/routes/{model}/stop": OPERATE,
    "POST /api/routes/{model}/resume": OPERATE,
    "GET /api/routes/{model}/shadows": READ,
    "GET /api/routes/{model}/shadows/{version}/rows": OPERATE,
    "GET /api/models/{model}/versions/{version}/callers": READ,
    "POST /api/models/{model}/versions/{version}/retire": OPERATE,
    "POST /api/models/{model}/versions/{version}/unretire": OPERATE,
    "GET /api/retired": READ,
    "GET /api/experiments": READ,
    "GET /api/experiments/{number}": READ,
    "POST /api/experiments/{number}/stop": OPERATE,
    "POST /api/routes/{model}/experiments": OPERATE,
    "GET /api/routes/{model}/replay": READ,
    "GET /api/rollouts": READ,
    "GET /api/rollouts/{number}": READ,
    "POST /api/routes/{model}/rollouts": OPERATE,
    "POST /api/rollouts/{number}/pause": OPERATE,
    "POST /api/rollouts/{number}/resume": OPERATE,
    "POST /api/rollouts/{number}/approve": APPROVE,
    "POST /api/rollouts/{number}/promote": OPERATE,
    "POST /api/rollouts/{number}/abort": OPERATE,
    "GET /api/outcomes": READ,
    "POST /api/outcomes": OPERATE,
    "DELETE /api/outcomes/metrics/{metric}": ADMINISTER,
    "GET /api/captures": READ,
    "POST /api/captures/flush": OPERATE,
    "POST /api/erasures": OPERATE,
    "GET /api/audit": READ,
    "GET /api/config": READ,
    "PUT /api/config": ADMINISTER,
    "GET /api/config/effective": READ,
    "GET /api/config/revisions": READ,
    "GET /api/config/revisions/{number}": READ,
    "POST /api/config/rollback": ADMINISTER,
    "GET /api/keys": ADMINISTER,
    "POST /api/keys": ADMINISTER,
    "PATCH /api/keys/{id}": ADMINISTER,
    "DELETE /api/keys/{id}": ADMINISTER,
    "GET /api/spend": READ,
    "POST /api/keys/{id}/rotate": ADMINISTER,
}
"""By operation: the roles that may; `nobody` shows no key."""

OF_A_MODEL = frozenset(
    {
        "POST /api/reload",
        "POST /api/models/{model}/load",
        "POST /api/models/{model}/unload",
        "GET /api/models/{model}/versions/{version}/drift",
        "GET /api/models/{model}/versions/{version}/performance",
        "GET /api/models/{model}/versions/{version}/fairness",
        "GET /api/models/{model}/versions/{version}/slices/worst",
        "GET /api/models/{model}/versions/{version}/concept-drift",
        "GET /api/models/{model}/versions/{version}/contract",
        "PUT /api/models/{model}/versions/{version}/contract",
        "DELETE /api/models/{model}/versions/{version}/contract",
        "GET /api/models/{model}/versions/{version}/monitoring",
        "GET /api/models/{model}/versions/{version}/monitoring/releases/{number}",
        "POST /api/models/{model}/versions/{version}/monitoring/rollback",
        "POST /api/llm/models/{model}/close",
        "GET /api/routes/{model}",
        "PUT /api/routes/{model}",
        "DELETE /api/routes/{model}",
        "POST /api/routes/{model}/stop",
        "POST /api/routes/{model}/resume",
        "GET /api/routes/{model}/shadows",
        "GET /api/routes/{model}/shadows/{version}/rows",
        "GET /api/models/{model}/versions/{version}/callers",
        "POST /api/models/{model}/versions/{version}/retire",
        "POST /api/models/{model}/versions/{version}/unretire",
        "POST /api/routes/{model}/experiments",
        "GET /api/routes/{model}/replay",
        "POST /api/routes/{model}/rollouts",
    }
)
"""What a caller that may use some models alone may use for those."""
OF_ITS_CALLER = frozenset(
    {
        "GET /api/llm/models",
        "GET /api/llm/upstreams",
        "GET /api/status",
        "GET /api/models",
        "GET /api/routes",
        "GET /api/experiments",
        "GET /api/experiments/{number}",
        "POST /api/experiments/{number}/stop",
        "GET /api/retired",
        "GET /api/openapi.json",
        "GET /api/alerts",
        "GET /api/alerts/dead-letters",
        "POST /api/outcomes",
        "GET /api/rollouts",
        "GET /api/rollouts/{number}",
        "POST /api/rollouts/{number}/pause",
        "POST /api/rollouts/{number}/resume",
        "POST /api/rollouts/{number}/approve",
        "POST /api/rollouts/{number}/promote",
        "POST /api/rollouts/{number}/abort",
    }
)
"""What tells such a caller of no other models. All else is refused it, but for what is public."""
