"""Penstock: a model-serving and monitoring gateway."""

__version__ = "0.1.0"
