"""What is watched of each answer of a language model, as tensors that profiles know.

Knows names and shapes. Knows nothing of how values come about, or of what is made of them. Each
feature is a tensor of its own, so that reports call it by its name.
"""

from __future__ import annotations

from typing import Final

from gateway.tensors import Signature, TensorSpec

ASKED: Final = ("prompt_chars", "messages", "tools", "max_output_tokens")
"""Of what was asked."""
SAID: Final = (
    *("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "answer_chars"),
    *("first_token_s", "inter_token_s", "tokens_per_s", "duration_s", "cost_usd"),
)
"""Of what came back. NaN where there is nothing to say."""

SIGNATURE: Final = Signature(
    tuple(TensorSpec(name, "FP32", (-1, 1)) for name in ASKED),
    (
        *(TensorSpec(name, "FP32", (-1, 1)) for name in SAID),
        TensorSpec("finish", "BYTES", (-1, 1)),
    ),
    batched=True,
)
