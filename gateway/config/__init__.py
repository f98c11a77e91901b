"""The configuration document: what may be set, its defaults, and every fault with its path.

Knows the shape of the document. Knows nothing of files named on the command line beyond reading
one, of processes, or of models that exist. `document` is the whole; the other rooms are its parts.
"""

from __future__ import annotations

from gateway.config.capture import Capture, ModelCapture
from gateway.config.concept import Concept
from gateway.config.document import (
    FIXED_SECTIONS,
    Config,
    Given,
    load,
    override,
    parse,
    read_text,
    scalar,
)
from gateway.config.embeddings import Embeddings
from gateway.config.models import (
    OBSERVE,
    REJECT,
    WARN,
    ModelConfig,
    ModelSettings,
    Padding,
    Policy,
    Scores,
)
from gateway.config.monitoring import (
    COLUMN_FIGURES,
    CONCEPT_FIGURES,
    DATASET_FIGURES,
    DEFAULT_RULES,
    PERFORMANCE_FIGURES,
    AlertRule,
    Alerts,
    AlertSink,
    Ledger,
    Metrics,
    Monitoring,
)
from gateway.config.operation import Drain, Limits, Log, Repository, Tracing
from gateway.config.ports import Access, CertifiedCaller, Control, Jwt, Server, Tls, is_loopback
from gateway.config.routes import Failing, Overrides, Route, Shadow, Sticky, Variant
from gateway.config.words import Section

__all__ = [
    "COLUMN_FIGURES",
    "CONCEPT_FIGURES",
    "DATASET_FIGURES",
    "DEFAULT_RULES",
    "FIXED_SECTIONS",
    "OBSERVE",
    "PERFORMANCE_FIGURES",
    "REJECT",
    "WARN",
    "Access",
    "AlertRule",
    "AlertSink",
    "Alerts",
    "Capture",
    "CertifiedCaller",
    "Concept",
    "Config",
    "Control",
    "Drain",
    "Embeddings",
    "Failing",
    "Given",
    "Jwt",
    "Ledger",
    "Limits",
    "Log",
    "Metrics",
    "ModelCapture",
    "ModelConfig",
    "ModelSettings",
    "Monitoring",
    "Overrides",
    "Padding",
    "Policy",
    "Repository",
    "Route",
    "Scores",
    "Section",
    "Server",
    "Shadow",
    "Sticky",
    "Tls",
    "Tracing",
    "Variant",
    "is_loopback",
    "load",
    "override",
    "parse",
    "read_text",
    "scalar",
]
