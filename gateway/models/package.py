"""One model as somebody hands it over: an ONNX file, or a folder with one and what belongs to it.

Knows which files make up a model. Knows nothing of where they will be kept.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.errors import ModelRefused
from gateway.models import config_pbtxt, onnx_file
from gateway.models.config_pbtxt import ModelHints
from gateway.models.onnx_file import OnnxFile
from gateway.models.paths import inside
from gateway.names import version_of

TOKENIZER: Final = "tokenizer.json"
"""What the file is called by which a model of texts reads them, as its libraries write it."""


@dataclass(frozen=True, slots=True)
class Package:
    """A model's files, looked at.

    Attributes:
        folder: where they lie.
        name: what the model is called if nobody says otherwise.
        onnx: what the ONNX file says.
        hints: what a config.pbtxt beside it says; the plain defaults for a bare file.
        tokenizer: a file that lies there and reads texts for it; empty: none does.
    """

    folder: Path
    name: str
    onnx: OnnxFile
    hints: ModelHints
    tokenizer: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """Every file of the model, relative to `folder`."""
        more = (self.tokenizer,) if self.tokenizer else ()
        return tuple(dict.fromkeys((*self.onnx.files, *self.hints.files, *more)))


def unpack(path: Path, name: str | None = None) -> Package:
    """Looks at a model.

    Args:
        path: an ONNX file (its external data lies in the same folder), or a folder that holds
            `model.onnx` or just one other `.onnx` file, and maybe a `config.pbtxt` and a
            `tokenizer.json`.
        name: the name it is to have, which a config.pbtxt must not contradict.

    Raises:
        ModelRefused: not one model, or not one that can be served.
    """
    # Not `resolve`: the name is what the owner calls the place, whatever it is a link to.
    path = Path(os.path.abspath(path))
    if not path.exists():
        raise ModelRefused(f"{path}: no such file or folder")
    if not path.is_dir():
        found = onnx_file.inspect(path.parent, path.name)
        return Package(path.parent, path.stem, found, ModelHints())
    name = name or path.name
    hints = config_pbtxt.read(path, name)
    tokenizer = TOKENIZER if os.path.lexists(path / TOKENIZER) else ""
    if tokenizer:
        inside(path, tokenizer, "tokenizer")
    return Package(path, name, onnx_file.inspect(path, _onnx_name(path, hints)), hints, tokenizer)


def _onnx_name(folder: Path, hints: ModelHints) -> str:
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise ModelRefused(f"{folder}: cannot be read: {error.strerror}") from error
    if hints.file in names:
        return hints.file
    candidates = [name for name in names if name.endswith(".onnx")]
    if len(candidates) == 1:
        return candidates[0]
    if any(version_of(name) for name in names):
        raise ModelRefused(
            f"{folder}: wanted one version's folder, got one with several; name a version's"
            " folder, or serve the repository as it is"
        )
    raise ModelRefused(f"{folder}: wanted {hints.file} or one .onnx file, got {len(candidates)}")
