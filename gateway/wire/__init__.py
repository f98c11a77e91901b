"""Bytes to values and back, and the connections they travel on."""
