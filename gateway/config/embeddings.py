"""What makes a model of texts out of one of tokens: its tokenizer, and how its vectors are made.

Knows the words of the document. Knows nothing of tokenizers or of tensors. See docs/embeddings.md.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gateway.config.words import Name, Section

Pooling = Literal["mean", "cls", "last", "none"]


class Embeddings(Section):
    """How a model answers /v1/embeddings."""

    # Beside the model, so that what belongs to a version is found, copied and removed with it.
    tokenizer: Annotated[str, Field(min_length=1, max_length=500)] = Field(
        "tokenizer.json", description="a file in the model's folder, as `tokenizers` writes it"
    )
    ids: Name | None = Field(None, description="the input of token ids; none: by its usual names")
    mask: Name | None = Field(None, description="that tells tokens from padding; likewise")
    types: Name | None = Field(None, description="of token types, where it has one; likewise")
    output: Name | None = Field(
        None, description="that vectors are made of; none: by its usual names, or the only one"
    )
    pooling: Pooling = Field(
        "mean", description="of the tokens' vectors to one; none: the output has one per text"
    )
    normalize: bool = Field(True, description="to a length of 1")
    # Longer ones fail in most models of this kind, which have no more positions.
    max_tokens: int = Field(512, ge=1, le=1_048_576, description="read of one text")
    # Whoever asks does not learn that the end of a text was left out.
    too_long: Literal["refuse", "truncate"] = Field(
        "refuse", description="what becomes of a text of more tokens"
    )
    prefix: str = Field("", max_length=1000, description="put before each text, such as 'query: '")
