"""Every word that is laid out is counted by somebody and read by somebody."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.monitor import layout

GATEWAY = Path(layout.__file__).parents[1]
REPORT = (GATEWAY / "monitor" / "report.py").read_text()
OTHERS = "".join(
    path.read_text()
    for path in GATEWAY.rglob("*.py")
    if path.name not in {"layout.py", "report.py"}
)
# What is no word of a slot: bounds, versions, names and tables; the words of keys and of upstreams,
# which one module each both writes and reads; and those of sketches, contracts, first rows, the
# ledger and captured rows, which control reads elsewhere.
NO_WORDS = re.compile(
    r"VERSION|MODEL|WORKER|KEYS|KEY_.*|SKETCH.*|CONTRACT.*|FIRST_ROWS|LEDGER.*|CAPTURE|PAIRS"
    r"|LIMITS.*|LIMIT_ROWS|UPSTREAM.*|SENT.*|BREAKER.*|FIRST_BYTE_NS|TROUBLE|GENERATIONS"
    r"|SKIPPED_WORD|MAX_.*|.*_WORDS|.*_CODES|.*_GAUGES|.*_END|RELEASED"
)
WORDS = [
    name
    for name, value in vars(layout).items()
    if name.isupper() and isinstance(value, int) and not NO_WORDS.fullmatch(name)
]


@pytest.mark.parametrize("word", WORDS)
def test_a_word_has_a_writer_and_a_reader(word):
    used = re.compile(rf"layout\.{word}\b")
    assert used.search(REPORT)
    assert used.search(OTHERS)
