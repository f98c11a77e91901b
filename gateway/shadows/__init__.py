"""Copies of what was answered: run aside by other versions, and held against the answers."""
