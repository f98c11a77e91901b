"""Answers requests for embeddings with models of our own: texts in, vectors out."""
