"""Which of two versions is right where they disagree, by the outcomes that are known.

Knows labels and outcomes. Knows nothing of where either comes from.

Rows of which both say the same tell nothing of which is better, whatever came of them: McNemar's
test looks at the others alone. Of these, if neither is better, each is right half the time.

Source: McNemar (1947); as an e-value, `sides`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.rollouts.sides import log10_e


@dataclass(frozen=True, slots=True)
class Discordance:
    """Rows that two versions class differently and whose outcome is known.

    Attributes:
        answered: of these, rows where the version that answered was right.
        shadow: where the shadow was.
        neither: where neither was, of more than two classes.
    """

    answered: int = 0
    shadow: int = 0
    neither: int = 0

    @property
    def known(self) -> int:
        """All of them."""
        return self.answered + self.shadow + self.neither

    @property
    def log10_e(self) -> float:
        """Evidence that one of them is right more often; 1.3 is 20 to 1, at whatever time."""
        return log10_e(self.shadow, self.answered)


def discordance(rows: Iterable[tuple[int, int, float | None]]) -> Discordance:
    """What came of rows.

    Args:
        rows: what was answered, what the shadow says, and the outcome, where that is known.
    """
    answered = shadow = neither = 0
    for was, now, outcome in rows:
        if outcome is not None and was != now:
            answered += was == outcome
            shadow += now == outcome
            neither += outcome not in (was, now)
    return Discordance(answered, shadow, neither)
