"""Which variant is better, and how its share follows from that. Knows no clocks, I/O or models."""
