"""Chooses the session that a batch runs on: the whole graph's, or one of a few that make less.

Knows which outputs are asked for, and has sessions built for those that leave work out. Knows
nothing of files or of how a session is built. Lives on the event loop; building happens on a thread
of its own, and until a session is there, or if it never comes, the whole one answers.

What a pruned run takes is told to no cost model: the fitted lines stay those of the whole, which
they bound. So a batch that turns out to need all outputs is never let onto the event loop, or past
a deadline, by what cheaper runs took before it; a pruned one is estimated too dear, if anything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from gateway.errors import GatewayError
from gateway.serving.pruned import Builder, Pruned
from gateway.serving.threads import Executor
from gateway.serving.turn import Scheduler

log = logging.getLogger("penstock.serving")

# Clients choose what they ask for: of more sets than these nobody finds out whether they would
# leave work out.
MAX_ASKED = 64


class OutputSets:
    """The pruned sessions of one deployment.

    Args:
        name: the model's, for messages.
        outputs: names of all that it has.
        most: how many sessions may stand beside the whole one.
        builder: builds them.
        scheduler: the event loop.
        executor: where they are built; closed by `close`.
        mark: gets +1 before one is built and -1 after: like a run it may die natively.
        built: told of every attempt that ends before `stop`, and whether there is a session for it.
    """

    def __init__(
        self,
        name: str,
        outputs: Sequence[str],
        most: int,
        builder: Builder,
        scheduler: Scheduler,
        executor: Executor,
        mark: Callable[[int], None] | None = None,
        built: Callable[[bool], None] | None = None,
    ) -> None:
        # Fixed at start.
        self._name = name
        self._outputs = outputs
        self._builder = builder
        self._scheduler = scheduler
        self._executor = executor
        self._mark = mark
        self._built = built
        # Changed by every set that is new.
        self._builds_left = most
        self._asked: set[tuple[int, ...]] = set()
        self._building = False
        self._ready: list[Pruned] = []
        self._complained = False
        # What a build came to, from its thread's end until the event loop takes it.
        self._outcome: Pruned | Exception | None = None
        # Set once.
        self._stopped = False

    def choose(self, wanted: tuple[int, ...]) -> Pruned | None:
        """The smallest session that makes these outputs; None: the whole one.

        Args:
            wanted: indices of outputs, ascending.
        """
        if len(wanted) == len(self._outputs):
            return None
        if self._builds_left and not self._building and wanted not in self._asked:
            self._ask(wanted)
        for session in self._ready:
            if session.outputs.issuperset(wanted):
                return session
        return None

    def stop(self) -> None:
        """Has no more sessions built; one that is not finished by now will not be used."""
        self._stopped = True
        self._builds_left = 0

    def close(self) -> None:
        """After `stop`: waits for the one being built and lets go of all. Blocks: off the loop."""
        self._executor.close()
        for session in self._ready:
            session.close()
        # The event loop takes nothing after `stop`.
        if isinstance(self._outcome, Pruned):
            self._outcome.close()

    def _ask(self, wanted: tuple[int, ...]) -> None:
        if len(self._asked) >= MAX_ASKED:
            return
        self._asked.add(wanted)
        self._building = True
        self._note(1)
        try:
            self._executor.submit(self._build, wanted)
        except RuntimeError as error:  # no thread could be started
            self._building = False
            self._note(-1)
            self._failed(wanted, error)

    def _build(self, wanted: tuple[int, ...]) -> None:
        """On a thread."""
        try:
            self._outcome = self._builder.build(wanted)
        except Exception as error:
            self._outcome = error
        self._scheduler.call_soon_threadsafe(self._finished, wanted)

    def _finished(self, wanted: tuple[int, ...]) -> None:
        self._building = False
        self._note(-1)
        if self._stopped:
            return
        outcome, self._outcome = self._outcome, None
        if isinstance(outcome, Exception):
            self._failed(wanted, outcome)
        elif outcome is not None:
            self._builds_left -= 1
            self._ready.append(outcome)
            self._ready.sort(key=lambda session: len(session.outputs))
            self._tell(True)

    def _failed(self, wanted: tuple[int, ...], error: Exception) -> None:
        self._tell(False)
        if not self._complained:
            self._complained = True
            why = str(error) if isinstance(error, GatewayError) else type(error).__name__
            names = ", ".join(f"'{self._outputs[index]}'" for index in wanted)
            log.warning("model '%s': no session for %s alone: %s", self._name, names, why)

    def _note(self, change: int) -> None:
        if self._mark is not None:
            self._mark(change)

    def _tell(self, success: bool) -> None:
        if self._built is not None:
            self._built(success)
