"""Decides what should be running, and shows what is: one process, no inference traffic."""
