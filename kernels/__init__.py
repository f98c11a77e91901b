"""Loops over numbers, compiled. They know numpy and numba and nothing of the gateway."""
