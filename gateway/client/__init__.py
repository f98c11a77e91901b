"""The Python client: inference on the data port, operation on the control port.

Knows what a caller may ask, and how arrays travel. Knows nothing of how any of it is served: it
speaks the Open Inference Protocol, so that `Client` works with other servers of it as well.

    with Client("http://127.0.0.1:8000") as penstock:
        answer = penstock.infer("breast_cancer", {"X": rows})
        answer["probabilities"]

What a server refuses is raised as the class of `gateway.errors` that it was refused with, and what
never came to an answer as one of `gateway.client.errors`; all are `GatewayError`s.
"""

from __future__ import annotations

from gateway.client.admin import Admin, AsyncAdmin
from gateway.client.encoding import Answer
from gateway.client.errors import BadAnswer, ConnectionLost, TimedOut, Unreachable
from gateway.client.inference import AsyncClient, Client
from gateway.client.models import Model

__all__ = [
    "Admin",
    "Answer",
    "AsyncAdmin",
    "AsyncClient",
    "BadAnswer",
    "Client",
    "ConnectionLost",
    "Model",
    "TimedOut",
    "Unreachable",
]
