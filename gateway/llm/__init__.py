"""Large language models behind other servers: choosing one, asking it, relaying what it says.

Knows upstreams, limits, money and time. Knows nothing of ONNX, or of how drift is judged.
"""
