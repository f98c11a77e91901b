"""Serving: where requests wait, share a run, and a model answers them."""
