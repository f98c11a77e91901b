"""What a server says of a model: its name, versions, inputs and outputs.

Knows the metadata document. Knows nothing of how it is fetched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.client.errors import BadAnswer
from gateway.tensors import TensorSpec


@dataclass(frozen=True, slots=True)
class Model:
    """A model as its server describes it.

    Attributes:
        name: of the model.
        versions: that serve, as strings.
        inputs, outputs: in the model's order; a shape's -1 is any length, and its first axis
            usually counts rows.
    """

    name: str
    versions: tuple[str, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def model_of(document: Any) -> Model:
    """Reads a metadata document.

    Raises:
        BadAnswer: it is none.
    """
    try:
        properties = document.get("properties", {})
        return Model(
            name=document["name"],
            versions=tuple(document.get("versions", ())),
            inputs=tuple(_spec(one, properties) for one in document["inputs"]),
            outputs=tuple(_spec(one, properties) for one in document["outputs"]),
        )
    except (KeyError, TypeError, AttributeError, orjson.JSONDecodeError) as error:
        raise BadAnswer(f"not a model's metadata: {error!r}") from error


def _spec(one: Mapping[str, Any], properties: Mapping[str, str]) -> TensorSpec:
    labels = orjson.loads(properties.get(f"{one['name']}.labels", "[]"))
    return TensorSpec(one["name"], one["datatype"], tuple(one["shape"]), tuple(labels))
