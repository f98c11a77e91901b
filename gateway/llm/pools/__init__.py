"""Which upstream answers, and what becomes of a request that failed: orders, breakers, retries.

Knows weights, prices, times that it is told, and how providers word their errors. Knows nothing of
connections, of requests' contents, or of clocks: `now` is an argument, and chance has a seed.
"""

from gateway.llm.pools.attempts import Again, Attempts, Fallback, GiveUp
from gateway.llm.pools.member import Health, Outcome
from gateway.llm.pools.pool import Picked, Pool
from gateway.llm.pools.troubles import Failure, Trouble

__all__ = [
    "Again",
    "Attempts",
    "Failure",
    "Fallback",
    "GiveUp",
    "Health",
    "Outcome",
    "Picked",
    "Pool",
    "Trouble",
]
