"""The endpoint of a route with variants: finds the variant of a request and passes it on.

Knows which deployment stands behind each variant. Knows nothing of how variants are chosen
(`routing` does), or of how a request is decoded, queued and answered (`inference` does).

Where headers tell, the variant is found before anything is decoded; where parameters do, the main
variant's deployment decodes and hands over what it has read.

With a request goes how it got its variant (`kernels.lots`): what was answered is written down with
the chance that it had, by which a ledger says what other shares would have come to.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.catalogue import Catalogue, Served
from gateway.errors import GatewayError
from gateway.exchange import Header
from gateway.inference import Arm
from gateway.plan import Split
from gateway.routing.assign import InTurn
from gateway.routing.table import ASKED, Choice, Table
from gateway.serving.deployment import Deployment
from gateway.wire.oip.codec import InferRequest
from kernels.lots import lot

log = logging.getLogger("penstock.worker")


@dataclass(frozen=True, slots=True)
class Arms:
    """What stands behind the variants of a route in this worker.

    Attributes:
        by_name: every variant has one; where its version does not serve here, that of the main one.
        main: stands for the route.
        unlike: variants that cannot take what the main one decodes, whose signature is another.
        chances: of a request that asks for none, to be answered by what stands behind a variant.
    """

    by_name: Mapping[str, Arm]
    main: Arm
    unlike: frozenset[str]
    chances: Mapping[str, float]


def arms_of(split: Split, versions: Mapping[int, Served], main: int) -> Arms:
    """What stands behind each variant.

    Args:
        split: with the variants.
        versions: that serve here, by number; one of a variant at least.
        main: the version that stands for the route; where it does not serve here, the first does.
    """
    here = [one for one in split.variants if one.version in versions]
    first = next((one for one in here if one.version == main), here[0])
    arms = {one.name: _arm(one.name, versions[one.version]) for one in here}
    like = versions[first.version].deployment
    unlike = {one.name for one in here if not _alike(versions[one.version].deployment, like)}
    lacking = {one.name: arms[first.name] for one in split.variants if one not in here}
    by_name = arms | lacking
    return Arms(by_name, arms[first.name], frozenset(unlike), _chances(split, by_name))


def _chances(split: Split, by_name: Mapping[str, Arm]) -> dict[str, float]:
    total = sum(one.weight for one in split.variants)
    return {
        name: sum(one.weight for one in split.variants if by_name[one.name] is arm) / total
        for name, arm in by_name.items()
    }


def _arm(name: str, served: Served) -> Arm:
    return Arm(name, served.held.name, served.held.version, served.endpoint)


def _alike(one: Deployment, other: Deployment) -> bool:
    """Whether what one decodes the other can run."""
    rows = one.settings.max_batch_size, other.settings.max_batch_size
    return one.signature == other.signature and rows[0] == rows[1]


NoteArm = Callable[[Any, Arm], None]
"""Takes an exchange and who answers it, before it is answered."""


class RoutedEndpoint:
    """POST .../infer of one route, by a path that names no version."""

    __slots__ = (
        "_arms",
        "_by_choice",
        "_by_header",
        "_chances",
        "_main",
        "_note",
        "_table",
        "_unlike",
    )

    def __init__(self, table: Table, arms: Arms, note: NoteArm | None = None) -> None:
        """Takes a route.

        Args:
            table: chooses.
            arms: what stands behind its variants.
            note: is told of each request who answers it; None: nobody wants to know.
        """
        self._note = note
        self._table = table
        self._arms = arms.by_name
        self._main = arms.main
        self._unlike = arms.unlike
        self._chances = arms.chances
        self._by_choice: dict[Choice, Arm] = {}
        self._by_header = table.by_header

    def __call__(self, exchange: Any) -> None:
        """Takes a request that has wholly arrived; it is answered once, now or later.

        Args:
            exchange: of one of the carriers, which keep the head that it came with. What a head
                chooses is kept on it for the requests that repeat it.
        """
        kept = exchange.head.arm
        if kept is not None and kept[0] is self:
            arm = kept[1]
        else:
            table = self._table
            try:
                choice = table.by_headers(exchange.headers) if self._by_header else None
            except GatewayError as error:
                self._tell(exchange, self._main)
                self._main.endpoint.turn_away(exchange, error)
                return
            if choice is not None:
                arm = self._by_choice.get(choice) or self._first(choice)
                exchange.head.arm = (self, arm)
            elif table.by_parameter:
                self._main.endpoint(exchange, None, self._by_parameters)
                return
            else:
                choice = table.in_turn()
                arm = self._by_choice.get(choice) or self._first(choice)
        if self._note is not None:
            self._note(exchange, arm)
        arm.enter(exchange, arm)

    def choose(self, headers: Sequence[Header], parameters: Mapping[str, Any]) -> Arm:
        """Who answers a request that any variant could take.

        Args:
            headers: of the request.
            parameters: that it has, by name.

        Raises:
            InvalidParameter: it asks for a variant that there is not.
        """
        table = self._table
        choice = table.by_headers(headers) if self._by_header else None
        if choice is None and table.by_parameter:
            choice = table.by_parameters(parameters)
        if choice is None:
            choice = table.in_turn()
        return self._by_choice.get(choice) or self._first(choice)

    def _by_parameters(self, exchange: Any, request: InferRequest | None) -> Arm:
        try:
            arm = self._main if request is None else self._of(request)
        except GatewayError:
            self._tell(exchange, self._main)
            raise
        self._tell(exchange, arm)
        return arm

    def _tell(self, exchange: Any, arm: Arm) -> None:
        if self._note is not None:
            self._note(exchange, arm)

    def _of(self, request: InferRequest) -> Arm:
        choice = self._table.by_parameters(request.parameters)
        if choice is None:
            choice = self._table.in_turn()
        if self._unlike:
            # One of them would have to decode anew, by another signature than the sender was told.
            # Where the main one stands in for it, no chance is told: it is not that of headers.
            name, _ = choice
            return self._main if name in self._unlike else self._arms[name]
        return self._by_choice.get(choice) or self._first(choice)

    def _first(self, choice: Choice) -> Arm:
        """Of what was not chosen before; there are as many as variants times units."""
        name, how = choice
        arm, chance = self._arms[name], self._chances[name]
        if how != ASKED and chance > 0.0:
            arm = arm.by_lot(lot(chance, how))
        self._by_choice[choice] = arm
        return arm


class RoutedEndpoints:
    """All routes with variants of one worker, through its plans."""

    def __init__(self, start: int) -> None:
        """`start`: where turns begin; workers that begin together begin apart."""
        self._start = start
        # They go on through plans, so that shares are exact however often weights change.
        self._turns: dict[str, InTurn] = {}

    def follow(self, catalogue: Catalogue, note: NoteArm | None) -> dict[str, RoutedEndpoint]:
        """What takes the requests of each route, by its name, as they are divided now.

        Args:
            catalogue: what serves here, and how a plan divides it.
            note: as `RoutedEndpoint` takes it.
        """
        before, self._turns = self._turns, {}
        found = {}
        for name, split, versions in catalogue.divided():
            turns = self._turns[name] = before.get(name) or InTurn(self._start)
            main = catalogue.standing(name)
            arms = arms_of(split, versions, main)
            for unlike in sorted(arms.unlike):
                log.warning(
                    "route '%s': variant '%s' takes other inputs than version %d: by parameters it"
                    " gets no requests",
                    *(name, unlike, main),
                )
            found[name] = RoutedEndpoint(Table(name, split, turns), arms, note)
        return found
