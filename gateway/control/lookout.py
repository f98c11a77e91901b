"""Finds out what should run, and whether anything has changed since that was last found out.

Knows that the store counts its changes. Knows nothing of sources or of what follows from them.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.control.desired import Desired
from gateway.control.memory import Memory

Gather = Callable[[Memory, str | None], Desired]


class Lookout:
    """Every method blocks: control calls them on threads."""

    def __init__(self, generation: Callable[[], int], gather: Gather) -> None:
        """Takes its collaborators.

        Args:
            generation: grows with every change of the store.
            gather: looks at every source, or at those of one model.
        """
        self._generation = generation
        self._gather = gather
        self._seen = -1  # what the generation was before the last look

    def gather(self, known: Memory, only: str | None = None) -> Desired:
        """What should run now; called once at a time.

        A look at one model, `only`, leaves changes of the others to the next.
        """
        if only is not None:
            return self._gather(known, only)
        # Noted before the sources are read: a change that comes meanwhile is worth another look,
        # but whoever asks meanwhile need not start one for what this one will see.
        self._seen = self._generation()
        try:
            return self._gather(known, None)
        except BaseException:
            self._seen = -1
            raise

    def is_behind(self) -> bool:
        """Whether the store has changed since, so that it is time for another look."""
        return self._generation() != self._seen
