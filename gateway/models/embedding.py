"""Which tensors of a model its tokens go into, and which its vectors are made of.

Knows signatures, and what the document says of them. Knows nothing of what a tokenizer's file
holds, or of how vectors are made.

A model that makes embeddings is served with one output, `embedding`: whoever looks at what it
takes and gives, be it a client, a profile or a shadow, sees what is answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.config import Embeddings
from gateway.errors import ModelRefused
from gateway.models.paths import inside
from gateway.tensors import TensorSpec

if TYPE_CHECKING:
    from gateway.models.onnx_file import OnnxFile

NAME: Final = "embedding"
# As exports of the usual libraries call them, likeliest first.
_IDS: Final = ("input_ids", "ids", "tokens")
_MASK: Final = ("attention_mask", "mask", "input_mask")
_TYPES: Final = ("token_type_ids", "segment_ids", "type_ids")
_PER_TEXT: Final = ("sentence_embedding", "text_embeds", "embedding", "embeddings")
_PER_TOKEN: Final = ("last_hidden_state", "token_embeddings", "hidden_states")


@dataclass(frozen=True, slots=True)
class Places:
    """Where a model's tensors are, in the order of its inputs and outputs.

    Attributes:
        ids, mask, types: inputs; types: None where it has none.
        output: what vectors are made of.
        length: of every text in tokens; -1: as it comes.
        size: of a vector.
    """

    ids: int
    mask: int
    types: int | None
    output: int
    length: int
    size: int

    @property
    def inputs(self) -> tuple[int, ...]:
        """All of them."""
        return tuple(one for one in (self.ids, self.mask, self.types) if one is not None)


def places_of(
    inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], said: Embeddings
) -> Places:
    """Finds the tensors of a model that makes embeddings.

    Args:
        inputs: all that it takes.
        outputs: all that it gives.
        said: what the document says of them.

    Raises:
        ModelRefused: one is not there, or is none of this kind.
    """
    ids = _find(inputs, "ids", said.ids, _IDS)
    mask = _find(inputs, "mask", said.mask, _MASK)
    types = None
    if said.types is not None or any(spec.name in _TYPES for spec in inputs):
        types = _find(inputs, "types", said.types, _TYPES)
    known = {ids, mask, types}
    for place, spec in enumerate(inputs):
        if place not in known:
            raise ModelRefused(
                f"embeddings: input '{spec.name}': expected token ids, their mask and their types"
            )
        if spec.datatype not in ("INT64", "INT32") or len(spec.shape) != 2:
            raise ModelRefused(
                f"embeddings: input '{spec.name}': expected INT64 or INT32 of shape [-1, -1],"
                f" got {spec.datatype} of {list(spec.shape)}"
            )
        if spec.shape != inputs[ids].shape or spec.shape[0] not in (-1, 1):
            raise ModelRefused(
                f"embeddings: input '{spec.name}': expected one shape of all, of one row or any"
                f" number, got {list(spec.shape)}"
            )
    wanted = 2 if said.pooling == "none" else 3
    usual = _PER_TEXT if said.pooling == "none" else _PER_TOKEN
    output = _find(outputs, "output", said.output, usual)
    spec = outputs[output]
    if spec.datatype not in ("FP32", "FP16", "FP64") or len(spec.shape) != wanted:
        raise ModelRefused(
            f"embeddings: output '{spec.name}': pooling '{said.pooling}' wants FP32, FP16 or FP64"
            f" with {wanted} dimensions, got {spec.datatype} of {list(spec.shape)}"
        )
    if spec.shape[-1] < 1:
        raise ModelRefused(
            f"embeddings: output '{spec.name}': expected a last dimension that is known, got"
            f" {list(spec.shape)}; a config.pbtxt can say it"
        )
    return Places(ids, mask, types, output, inputs[ids].shape[1], spec.shape[-1])


def output_of(places: Places, outputs: Sequence[TensorSpec]) -> TensorSpec:
    """The one output that such a model is served with."""
    rows = outputs[places.output].shape[0]
    return TensorSpec(NAME, "FP32", (rows, places.size))


def files_of(onnx: OnnxFile, said: Embeddings | None) -> tuple[str, ...]:
    """Every file that a version is made of, relative to its folder: with its tokenizer, if any.

    Raises:
        ModelRefused: the tokenizer does not lie beside the model.
    """
    if said is None:
        return onnx.files
    inside(onnx.folder, said.tokenizer, "tokenizer")
    return (*onnx.files, said.tokenizer)


def _find(specs: Sequence[TensorSpec], what: str, said: str | None, usual: Sequence[str]) -> int:
    names = [spec.name for spec in specs]
    wanted = usual if said is None else (said,)
    for name in wanted:
        if name in names:
            return names.index(name)
    if said is None and what == "output" and len(names) == 1:
        return 0
    raise ModelRefused(
        f"embeddings.{what}: expected {' or '.join(wanted)}, the model has {', '.join(names)}"
    )
