"""Inputs and outputs of what was answered, kept to be looked at and learnt from."""
