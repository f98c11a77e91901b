"""Data contracts: what each column of a model's inputs may hold, inferred, written and checked."""
