"""The words of `penstock doctor`: what a check looks at and what it says.

Knows nothing of any particular check.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gateway.config import Config


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        check: the thing looked at.
        state: ok, warn (it runs, worse than it could) or fail (it will not run as asked).
        found: what there is, in one line.
        advice: what to do; empty when all is well.
    """

    check: str
    state: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """What is looked at: the configuration that would be served, and the home it would use."""

    config: Config
    home: Path


def nearest(path: Path) -> Path:
    """The path itself, or the nearest folder above it that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def writable(path: Path) -> bool:
    """Whether a folder, or what would have to be made for it, can be written."""
    ground = nearest(path.absolute())
    return ground.is_dir() and os.access(ground, os.W_OK | os.X_OK)
