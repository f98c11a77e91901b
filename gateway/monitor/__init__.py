"""Counts traffic into shared memory, which outlives a worker, and reads the counts."""
