"""Models as files: what an ONNX file says of itself, and where models lie on disk.

Knows files and formats. Knows nothing of running a model, of HTTP, or of the registry.
"""
