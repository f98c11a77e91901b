"""Finds the variant that answers a request of one route.

Knows what a route heeds: a header or a parameter by which requests are known, another where they
may say which variant they want, and whose turn it is where they say neither. Knows nothing of
loaded models, or of HTTP beyond names and values of headers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

from gateway.errors import InvalidParameter
from gateway.plan import Split
from gateway.routing.assign import ByKey, InTurn
from kernels.lots import UNITS

# Keys whose variants are remembered: callers come back, and a look costs a tenth of a draw. Longer
# ones are drawn each time, so that what they hold stays below two megabytes.
MAX_KNOWN = 16_384
MAX_KNOWN_BYTES = 64

Headers = Sequence[tuple[bytes, bytes]]

Choice = tuple[str, int]
"""A variant, and how it was chosen: ASKED or IN_TURN, or the unit (`kernels.lots`) of the key."""
ASKED, IN_TURN = -1, 0


class Table:
    """One route. Used on a worker's event loop."""

    def __init__(self, route: str, split: Split, turns: InTurn) -> None:
        """Takes a route.

        Args:
            route: its name.
            split: its variants, and what it heeds.
            turns: of the route; they go on through changes of it.
        """
        self._route = route
        self._sticky_header = split.sticky_header.encode()
        self._sticky_parameter = split.sticky_parameter
        self._override_header = split.override_header.encode()
        self._override_parameter = split.override_parameter
        weights = {one.name: one.weight for one in split.variants}
        self._names = list(weights)
        # A variant may be asked for by its version, too.
        self._called = {str(one.version): one.name for one in split.variants}
        self._called |= {name: name for name in weights}
        # One that was pulled may still be asked for: who does is not to blame.
        self._called |= split.instead
        self._by_key = ByKey(route, weights)
        self._known: dict[bytes, Choice] = {}
        self._turns = turns
        turns.divide(weights)
        self.by_parameter = bool(self._sticky_parameter or self._override_parameter)
        self.by_header = bool(self._sticky_header or self._override_header)

    def by_headers(self, headers: Headers) -> Choice | None:
        """What a request's headers choose; None where they leave it open.

        Raises:
            InvalidParameter: they ask for a variant that the route does not have.
        """
        key = None
        for name, value in headers:
            if name == self._override_header:
                return self._wanted(f"header '{name.decode()}'", value.decode("latin-1").strip())
            if name == self._sticky_header and key is None:
                key = value
        return None if key is None else self.of_key(key)

    def by_parameters(self, parameters: Mapping[str, Any]) -> Choice | None:
        """As `by_headers`, by the parameters of a request. A number is the key that its text is.

        Raises:
            InvalidParameter: they ask for a variant that the route does not have.
        """
        if self._override_parameter:
            wanted = parameters.get(self._override_parameter)
            if wanted is not None:
                return self._wanted(f"parameter '{self._override_parameter}'", str(wanted))
        if self._sticky_parameter:
            key = parameters.get(self._sticky_parameter)
            if key is not None:
                return self.of_key(str(key).encode("utf-8", "surrogatepass"))
        return None

    def of_key(self, key: bytes) -> Choice:
        """What a key belongs to, the same in every worker and on every host."""
        known = self._known
        found = known.get(key)
        if found is None:
            found = self._by_key.of(key), 1 + crc32(key) % UNITS
            if len(key) <= MAX_KNOWN_BYTES:
                if len(known) >= MAX_KNOWN:
                    known.clear()
                known[key] = found
        return found

    def in_turn(self) -> Choice:
        """The variant whose turn it is."""
        return self._turns.next(), IN_TURN

    def _wanted(self, where: str, text: str) -> Choice:
        found = self._called.get(text)
        if found is None:
            raise InvalidParameter(
                f"{where}: expected a variant of '{self._route}' ({', '.join(self._names)}) or its"
                f" version, got '{text[:80]}'"
            )
        return found, ASKED
