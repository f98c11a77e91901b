"""A model that gives one vector for each text: pooled from those of its tokens, and normalised.

Knows arrays and a runtime. Knows nothing of tokenizers or of requests. Pooling runs where the model
does, so that what waits, is counted, watched and answered is one small tensor.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gateway.config import Embeddings
from gateway.models.embedding import Places
from gateway.serving.runtime import Runtime
from gateway.tensors import Array, Signature

# Below it a vector has no direction, and stays as it is.
_SHORTEST = np.float32(1e-12)


class Pooled:
    """A runtime around another; see `Runtime`."""

    def __init__(
        self, runtime: Runtime, places: Places, signature: Signature, said: Embeddings
    ) -> None:
        """Takes what runs the model.

        Args:
            runtime: of the model as its file has it.
            places: of its tensors.
            signature: to serve by, with the one output.
            said: how vectors are made.
        """
        self.signature = signature
        self.device = runtime.device
        self.threads = runtime.threads
        self._runtime = runtime
        self._mask = places.mask
        self._wanted = (places.output,)
        self._pooling = said.pooling
        self._normalize = said.normalize

    def run(self, inputs: Sequence[Array], wanted: Sequence[int]) -> list[Array]:
        """See `Runtime.run`; there is one output to want."""
        (output,) = self._runtime.run(inputs, self._wanted)
        vectors = pooled(output, inputs[self._mask], self._pooling)
        return [normalized(vectors) if self._normalize else vectors for _ in wanted]

    def close(self) -> None:
        """See `Runtime.close`."""
        self._runtime.close()


def pooled(output: Array, mask: Array, pooling: str) -> Array:
    """One vector for each text.

    Args:
        output: (texts, tokens, size), or (texts, size) where nothing is to be pooled.
        mask: (texts, tokens), 0 where a token only fills a text up.
        pooling: `mean` of the tokens, `cls` the first place, `last` the last token, or `none`.

    Returns:
        (texts, size) of FP32.
    """
    output = output.astype(np.float32, copy=False)
    if pooling == "none":
        return np.ascontiguousarray(output)
    if pooling == "cls":
        return np.ascontiguousarray(output[:, 0])
    if pooling == "last":
        behind = np.argmax(mask[:, ::-1] != 0, axis=1)
        last: Array = output[np.arange(len(output)), mask.shape[1] - 1 - behind]
        return last
    weights = (mask != 0).astype(np.float32)
    sums: Array = np.matmul(weights[:, None, :], output)[:, 0]
    # A text without any token has a sum of nothing.
    sums /= np.maximum(weights.sum(axis=1, keepdims=True), np.float32(1.0))
    return sums


def normalized(vectors: Array) -> Array:
    """Each row scaled to a length of 1; what is shorter than `_SHORTEST` is divided by that.

    So it is where models are trained: a row of nothing stays nothing.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Array = vectors / np.maximum(lengths, _SHORTEST)
    return scaled
