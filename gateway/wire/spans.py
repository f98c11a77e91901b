"""Notes the requests that are part of sampled traces, for whoever exports them.

Knows which traces are kept, and what is noted of a request. Knows nothing of OpenTelemetry or of
connections. What one turn of the event loop answers is handed on together.
"""

from __future__ import annotations

import asyncio
import functools
import random
import time
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

from gateway.config import Tracing
from gateway.exchange import Model
from gateway.spans import Generation, TracedRequest
from gateway.wire.access_log import MAX_NAME, MAX_PATH, Answered, cut, model_in
from gateway.wire.trace import Trace

# So many usually fit into one packet of the channel that they leave by.
MAX_TOGETHER = 64
_LOW_BITS = 64


def _nothing(happened: Any, now: float) -> list[Generation]:
    """Where there are no language models."""
    return []


class SpanLog:
    """Notes answered requests; see the module."""

    def __init__(
        self,
        rules: Tracing,
        send: Callable[[list[TracedRequest]], bool],
        dropped: Callable[[int], None],
        loop: asyncio.AbstractEventLoop,
        draw: Callable[[int], int] = random.getrandbits,
        generations: Callable[[Any, float], list[Generation]] = _nothing,
    ) -> None:
        """Has noted nothing yet.

        Args:
            rules: which traces are kept.
            send: hands requests on; False: there was no room.
            dropped: is told how many found no room.
            loop: the worker's.
            draw: so many random bits.
            generations: tells of what happened to a request to a language model, and by now.
        """
        self._follows = rules.follow_caller
        # By the low half of a trace's id, as OpenTelemetry does: whoever keeps the same share keeps
        # the same traces.
        self._bound = round(rules.sample * (1 << _LOW_BITS))
        self._send = send
        self._dropped = dropped
        self._loop = loop
        self._draw = draw
        self._generations = generations
        # until replaced
        self._targets: dict[bytes, tuple[str, str, str]] = {}
        # for one turn of the loop
        self._noted: list[TracedRequest] = []
        # What happened to some of them: it is over by the end of the turn that answers.
        self._happened: list[tuple[TracedRequest, object, float]] = []

    def know(self, models: Mapping[bytes, Model | None]) -> None:
        """The paths that requests are POSTed to, and which model answers there.

        None: a route chooses, and the request says which it was.
        """
        self._targets = {
            path: _target(path, model) for path, model in models.items() if model is not None
        }

    def begin(self) -> Trace:
        """A trace that begins here with a request, and goes on to others before that is noted."""
        low = self._draw(_LOW_BITS) or 1
        trace_id = b"%016x%016x" % (self._draw(_LOW_BITS), low)
        return Trace(trace_id, b"%016x" % self._new_span(), low < self._bound)

    def note(self, status: int, sent: int, request: Answered, more: bool = True) -> None:
        """Notes a request that is answered, if its trace is kept; `more` is the access log's."""
        trace = request.trace or getattr(getattr(request, "generation", None), "trace", None)
        if trace is None:
            low = self._draw(_LOW_BITS)
            if low >= self._bound:
                return
            ids = f"{self._draw(_LOW_BITS):016x}{low or 1:016x}", f"{self._new_span():016x}", ""
        elif self._keeps(trace):
            ids = trace.trace_id.decode(), trace.span_id.decode(), trace.parent_id.decode()
        else:
            return
        if not self._noted:
            self._loop.call_soon(self.flush)
        self._noted.append(self._facts(status, sent, request, ids))

    def flush(self) -> None:
        """Hands on what there is."""
        happened, self._happened = self._happened, []
        for request, one, now in happened:
            request["generations"] = self._generations(one, now)
        noted, self._noted = self._noted, []
        for first in range(0, len(noted), MAX_TOGETHER):
            together = noted[first : first + MAX_TOGETHER]
            if not self._send(together):
                self._dropped(len(together))

    def _keeps(self, trace: Trace) -> bool:
        if self._follows and trace.parent_id:
            return trace.sampled
        return int(trace.trace_id[_LOW_BITS // 4 :], 16) < self._bound

    def _new_span(self) -> int:
        return self._draw(_LOW_BITS) or 1

    def _facts(
        self, status: int, sent: int, request: Answered, ids: tuple[str, str, str]
    ) -> TracedRequest:
        now = perf_counter()
        trace_id, span_id, parent_id = ids
        target = self._targets.get(request.path) if request.method == b"POST" else None
        if target is None:
            target = _target(request.path, getattr(request, "model", None))
        path, model, version = target
        moments = request.arrived, *(getattr(request, "phases", None) or ())
        key = getattr(request, "key", None)
        facts: TracedRequest = {
            "trace_id": trace_id,
            "span_id": span_id,
            "parent_id": parent_id,
            "method": request.method.decode("ascii", "backslashreplace"),
            "path": path,
            "client": _plain(request.client),
            "request_id": request.request_id.decode(),
            "status": status,
            "code": getattr(request, "code", None),
            "received": request.received,
            "sent": sent,
            "model": model,
            "version": version,
            "key": None if key is None else _plain(key),
            "ended_ns": time.time_ns(),
            "ages_ns": [int((now - moment) * 1e9) for moment in moments],
        }
        happened = getattr(request, "generation", None)
        if happened is not None:
            self._happened.append((facts, happened, now))
        return facts


def _target(path: bytes, model: Model | None) -> tuple[str, str, str]:
    """Path, model and version as they are told."""
    shown = cut(path.decode("ascii", "backslashreplace"), MAX_PATH)
    name, version = model or model_in(shown)
    return shown, cut(name, MAX_NAME), version


@functools.lru_cache(maxsize=1024)
def _plain(text: str) -> str:
    """Fit for JSON, whatever a client wrote."""
    return cut(text.encode("utf-8", "backslashreplace").decode(), MAX_NAME)
