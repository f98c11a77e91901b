"""A provider that is none: it answers as OpenAI and Anthropic do, as it is told, on loopback.

Tests, benchmarks and the demo ask it instead of one that costs money. It shares no code with the
gateway's own reading of these dialects, so that a mistake in one does not hide the same in the
other. Knows nothing of the gateway.
"""
