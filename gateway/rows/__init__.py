"""Rows of a file as the inputs of a model."""
