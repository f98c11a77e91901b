"""Arrays to the body of an inference request, and the body of an answer to arrays.

Knows the protocol's two forms, binary and JSON, and what NumPy calls each datatype. Knows nothing
of HTTP or of which models there are: everything here is a function of its arguments.

Arrays go as they are: one of float64 for a model of FP32 is refused by the server, not rounded
here. Only lists, which have no datatype of their own, take the model's; and where a value would
change by that, it is refused here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from gateway.client.errors import BadAnswer
from gateway.errors import InvalidRequest, InvalidTensor, WrongInputs
from gateway.tensors import DTYPES, Array, TensorSpec
from gateway.wire.oip.binary import array_of, strings_to_bytes
from gateway.wire.oip.printing import numbers_text
from gateway.wire.oip.text import parse

HEADER_LENGTH = "inference-header-content-length"
_DATATYPES = {
    dtype: name for name, dtype in DTYPES.items() if name not in ("BF16", "BYTES")
}  # BF16 is held in a dtype that is UINT16's, too
_LISTS = (list, tuple, str, bytes, bool, int, float)


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input, ready to travel: a C-contiguous little-endian array, BYTES as objects of bytes."""

    name: str
    datatype: str
    array: Array


@dataclass(frozen=True, slots=True)
class Payload:
    """A request's body and the headers that describe it."""

    body: bytes = b""
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Answer(Mapping[str, Array]):
    """The outputs of one inference, by name: `answer["label"]`, `dict(answer)`.

    BYTES outputs are arrays of `bytes` objects; BF16, which NumPy lacks, is widened to float32.

    Attributes:
        outputs: name to array.
        model: that answered.
        version: of the model, as a string; empty where the server names none.
        request_id: the gateway's own name for the request, under which outcomes are reported.
        id: the caller's, as it was sent.
        hold_out: the policy to follow whatever the outputs say, where the request was held out;
            empty: it was not.
    """

    outputs: Mapping[str, Array]
    model: str
    version: str
    request_id: str
    id: str | None
    hold_out: str = ""

    def __getitem__(self, name: str) -> Array:
        return self.outputs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.outputs)

    def __len__(self) -> int:
        return len(self.outputs)


# ---- values to tensors --------------------------------------------------------------------------


def needs_specs(inputs: Any) -> bool:
    """Whether the model's own inputs must be known to say what `inputs` are."""
    return not isinstance(inputs, Mapping) or any(isinstance(v, _LISTS) for v in inputs.values())


def tensors(inputs: Any, model: str, specs: Sequence[TensorSpec] = ()) -> list[Tensor]:
    """What a caller gave, as tensors.

    Args:
        inputs: name to array or (nested) list; or one of these for a model with one input.
        model: for messages.
        specs: the model's inputs, where `needs_specs` says so.

    Raises:
        WrongInputs: an input that the model does not have, or several where one was given.
        InvalidTensor: a value that has no datatype, or would change in the model's.
    """
    if not isinstance(inputs, Mapping):
        if len(specs) != 1:
            names = ", ".join(spec.name for spec in specs)
            raise WrongInputs(f"model '{model}': expected inputs {names} by name, got one value")
        inputs = {specs[0].name: inputs}
    by_name = {spec.name: spec for spec in specs}
    return [_tensor(name, value, model, by_name) for name, value in inputs.items()]


def _tensor(name: str, value: Any, model: str, specs: Mapping[str, TensorSpec]) -> Tensor:
    if not isinstance(value, _LISTS):
        return _of_array(name, np.asarray(value))
    spec = specs.get(name)
    if spec is None:
        raise WrongInputs(f"model '{model}': expected inputs {', '.join(specs)}, got '{name}'")
    return of_list(name, value, spec.datatype)


def _of_array(name: str, array: Array) -> Tensor:
    if array.dtype.kind in "OSUT":
        return Tensor(name, "BYTES", _strings(name, array))
    if array.dtype.name == "bfloat16":  # of ml_dtypes
        return Tensor(name, "BF16", np.asarray(array, order="C").view(np.uint16))
    little = array.dtype.newbyteorder("<")
    datatype = _DATATYPES.get(little)
    if datatype is None:
        raise InvalidTensor(
            f"input '{name}': expected numbers, booleans or strings, got an array of {array.dtype}"
        )
    return Tensor(name, datatype, np.asarray(array, little, order="C"))


def of_list(name: str, value: Any, datatype: str) -> Tensor:
    """A list, or one value, in a model's datatype.

    Raises:
        InvalidTensor: ragged, of another kind (a text for a number, a fraction for an integer), or
            out of the datatype's range.
    """
    if datatype == "BYTES":
        return Tensor(name, datatype, _strings(name, np.array(value, object)))
    dtype = np.dtype(np.float32) if datatype == "BF16" else DTYPES[datatype]
    try:
        given = np.asarray(value)
        if given.size and not np.can_cast(given.dtype, dtype, "same_kind"):
            raise ValueError(f"{given.dtype} is not {datatype}")
        # Again from the list: unlike a cast of integers, this refuses what is out of range.
        with np.errstate(over="ignore"):
            array: Array = np.array(value, dtype)
        if dtype.kind == "f" and not np.array_equal(np.isfinite(array), np.isfinite(given)):
            raise ValueError(f"a value is too large for {datatype}")
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidTensor(f"input '{name}': expected values of {datatype}: {error}") from error
    return Tensor(name, datatype, _rounded(array) if datatype == "BF16" else array)


def _strings(name: str, array: Array) -> Array:
    elements = np.empty(array.size, object)
    for place, element in enumerate(array.ravel().tolist()):
        if not isinstance(element, str | bytes):
            raise InvalidTensor(
                f"input '{name}': expected strings or bytes, got {type(element).__name__}"
            )
        elements[place] = element.encode() if isinstance(element, str) else element
    return elements.reshape(array.shape)


def _rounded(array: Array) -> Array:
    """float32 to the bits of the nearest BF16, ties to even."""
    bits = array.view(np.uint32)
    nearest = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    # Adding to a NaN's bits could make an infinity of it.
    return np.where(np.isnan(array), 0x7FC0, nearest).astype(np.uint16)


# ---- requests -----------------------------------------------------------------------------------


def encode(
    inputs: Sequence[Tensor],
    *,
    outputs: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
    id: str | None = None,
    timeout_us: int | None = None,
    json: bool = False,
) -> Payload:
    """The body of an inference request.

    Args:
        inputs: in any order.
        outputs: asked for; none: all.
        parameters: of the request, beside those that follow from the other arguments.
        id: echoed by the answer.
        timeout_us: how long the request may wait on the server.
        json: tensors as JSON both ways, rather than as bytes.

    Raises:
        InvalidTensor: a tensor that has no JSON form.
    """
    given: dict[str, Any] = {} if timeout_us is None else {"timeout": timeout_us}
    if not json and not outputs:
        given["binary_data_output"] = True
    head: dict[str, Any] = {} if id is None else {"id": id}
    if parameters or given:
        head["parameters"] = given | dict(parameters or {})
    blobs = [] if json else [_blob(tensor) for tensor in inputs]
    head["inputs"] = [
        _described(tensor) | ({"data": _data(tensor)} if json else _sized(blobs[place]))
        for place, tensor in enumerate(inputs)
    ]
    if outputs:
        head["outputs"] = [
            {"name": name, "parameters": {"binary_data": not json}} for name in outputs
        ]
    text = orjson.dumps(head)
    if json:
        return Payload(text, {"content-type": "application/json"})
    headers = {"content-type": "application/octet-stream", HEADER_LENGTH: str(len(text))}
    return Payload(b"".join((text, *blobs)), headers)


def _described(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "shape": tensor.array.shape, "datatype": tensor.datatype}


def _sized(blob: bytes) -> dict[str, Any]:
    return {"parameters": {"binary_data_size": len(blob)}}


def _blob(tensor: Tensor) -> bytes:
    return strings_to_bytes(tensor.array) if tensor.datatype == "BYTES" else tensor.array.tobytes()


def _data(tensor: Tensor) -> Any:
    if tensor.datatype == "BYTES":
        try:
            return [element.decode() for element in tensor.array.ravel().tolist()]
        except UnicodeDecodeError as error:
            raise InvalidTensor(
                f"input '{tensor.name}': expected UTF-8 for JSON, got other bytes; send it binary"
            ) from error
    if tensor.datatype in ("FP16", "BF16"):
        raise InvalidTensor(
            f"input '{tensor.name}': {tensor.datatype} has no JSON form; send it binary"
        )
    return orjson.Fragment(b"[%b]" % numbers_text(tensor.array))


# ---- answers ------------------------------------------------------------------------------------


def decode(body: bytes, headers: Mapping[str, str]) -> Answer:
    """Reads the answer to an inference request.

    Raises:
        BadAnswer: it is not what the protocol allows.
    """
    try:
        length = int(headers.get(HEADER_LENGTH, len(body)))
        document = parse(body[:length])
        outputs = dict(_outputs(document["outputs"], body, length))
        return Answer(
            outputs=outputs,
            model=document["model_name"],
            version=document.get("model_version", ""),
            request_id=headers.get("penstock-request-id", ""),
            id=document.get("id"),
            hold_out=headers.get("penstock-hold-out", ""),
        )
    except (InvalidRequest, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadAnswer(f"not an answer to an inference request: {error!r}") from error


def _outputs(
    described: Sequence[Mapping[str, Any]], body: bytes, at: int
) -> Iterator[tuple[str, Array]]:
    for output in described:
        name, datatype, shape = output["name"], output["datatype"], tuple(output["shape"])
        size = output.get("parameters", {}).get("binary_data_size")
        if size is None:
            array = _from_json(output.get("data", []), datatype, shape)
        else:
            array = array_of(body, at, size, name, datatype, shape)
            at += size
        yield name, _widened(array) if datatype == "BF16" else array


def _from_json(data: Any, datatype: str, shape: tuple[int, ...]) -> Array:
    if datatype == "BYTES":
        return _strings("data", np.array(data, object)).reshape(shape)
    return np.array(data, DTYPES[datatype]).reshape(shape)


def _widened(bits: Array) -> Array:
    return (bits.astype(np.uint32) << 16).view(np.float32)
