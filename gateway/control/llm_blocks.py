"""Room in the arena for what is counted of language models' upstreams.

Knows candidates and blocks. Knows nothing of what is counted.
"""

from __future__ import annotations

import logging

from gateway.control.blocks import Blocks
from gateway.control.desired import Candidate
from gateway.errors import GatewayError
from gateway.llm.counting import called
from gateway.llm.settings import read

log = logging.getLogger("penstock.control")


def allocate(blocks: Blocks, candidate: Candidate) -> None:
    """Has room for a version of a language model; where there is none, it serves on uncounted."""
    for one in called(candidate.name, candidate.version, read(candidate.settings)):
        try:
            blocks.allocate_upstream(one.key)
        except GatewayError as error:
            about = (one.model, one.upstream, error)
            log.error("model '%s': upstream '%s' is not counted: %s", *about)
