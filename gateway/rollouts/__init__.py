"""Releases in steps: plans, judging, and what follows. Knows no clocks, no I/O and no HTTP."""
