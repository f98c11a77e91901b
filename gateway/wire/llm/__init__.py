"""How large language models are spoken with: dialects, their events, and what is read of both.

Knows bytes and values. Knows nothing of connections, keys, money or who answers. Everything here is
a pure function or a state machine that is fed.
"""
