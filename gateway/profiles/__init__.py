"""Reference profiles: what a model's inputs and outputs looked like when all was well."""
