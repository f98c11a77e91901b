"""What joins have to know of the server that writes the ledger.

Knows the configuration, series and which worker processes live. Knows nothing of records.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gateway.config import Config
from gateway.control.ledger_store import LedgerStore
from gateway.outcomes.labels import About
from kernels.ledger import Words

_NOBODYS = -1


class LedgerServer:
    """As it is now, whenever it is asked. See `outcomes.joins.Server`.

    Attributes:
        live: tells the streams whose records may still come.
    """

    def __init__(
        self, store: LedgerStore, config: Callable[[], Config], live: Callable[[], set[str]]
    ) -> None:
        """Takes its collaborators.

        Args:
            store: has the series.
            config: what is in force.
            live: streams whose records may still come.
        """
        self._store = store
        self._config = config
        self.live = live

    def about(self, series: int) -> About:
        """What has to be known of a series."""
        for one in self._store.series():
            if one.id == series:
                config = self._config()
                numbers = config.scores_of(one.model).numbers
                return About(one.model, numbers, config.metrics_of(one.model))
        return About("", {})

    def series(self, models: frozenset[str]) -> Words:
        """The numbers of all series of some models; a number that is nobody's where there are none.

        None at all would stand for all that there are.
        """
        its = [one.id for one in self._store.series() if one.model in models]
        return np.array(its or [_NOBODYS], np.int64)

    @property
    def early_ms(self) -> int:
        """How long an outcome may wait for its record."""
        return int(self._config().ledger.early_s * 1000.0)

    @property
    def reserved_metrics(self) -> frozenset[str]:
        """Names of metrics that no other takes the place of: those that the document has."""
        return self._config().named_metrics

    @property
    def share(self) -> float:
        """Of requests, the largest that is written down for any model."""
        return self._config().largest_ledger_share

    @property
    def client_ids(self) -> bool:
        """Whether clients' ids are written down."""
        return self._config().ledger.client_ids
