"""Puts load on servers and says how they bore it: generator, baselines, scenarios, report.

Knows HTTP from the outside and the processes it started. Knows nothing of how the gateway works
inside; nothing in the gateway imports it.
"""
