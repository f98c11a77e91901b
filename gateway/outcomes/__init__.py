"""What was predicted, what came of it, and how right that makes a model.

Knows files of records, addresses and sums. Knows nothing of HTTP, of arenas, or of who asks.
"""
