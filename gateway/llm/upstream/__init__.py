"""Connections to providers: HTTP/1.1 requests go out over kept-alive ones, answers come in pieces.

Knows sockets, TLS, DNS, HTTP's framing and time. Knows nothing of what bodies say, of which
upstream to ask, or of asking another one: one request goes to one origin, and ends once.
"""
