"""Room in the arena for what is counted of language models' upstreams, and of embeddings made here.

Knows candidates and blocks. Knows nothing of what is counted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from gateway.control.blocks import Blocks
from gateway.control.desired import Candidate
from gateway.errors import GatewayError
from gateway.llm.counting import called
from gateway.llm.counting_here import called_here
from gateway.llm.settings import read
from gateway.monitor.upstreams import Called
from gateway.plan import LLM

log = logging.getLogger("penstock.control")


def allocate(blocks: Blocks, candidate: Candidate) -> None:
    """Has room for such a version; where there is none, it serves on uncounted."""
    for one in _called(candidate):
        try:
            blocks.allocate_upstream(one.key)
        except GatewayError as error:
            about = (one.model, one.upstream, error)
            log.error("model '%s': upstream '%s' is not counted: %s", *about)


def _called(candidate: Candidate) -> Iterator[Called]:
    if candidate.kind == LLM:
        yield from called(candidate.name, candidate.version, read(candidate.settings))
    elif candidate.settings.get("embeddings") is not None:
        yield called_here(candidate.name, candidate.version)
