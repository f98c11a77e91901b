"""Alarms: from figures to what is told of them.

Knows rules, readings and a time that is handed in. Knows nothing of where figures come from, of
clocks, of storage or of HTTP.

Reading order: `readings`, `alarms`, `notices`, `shapes`, `signatures`.
"""
