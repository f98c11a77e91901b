"""The JSON part of an inference request, checked against a signature, before any array is built.

Knows what a request may say and what the model takes. Knows nothing of tensors' elements: a `Part`
says where they are and how many there must be.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

from gateway.errors import (
    BatchTooLarge,
    BodyTooLarge,
    InvalidParameter,
    InvalidTensor,
    MalformedJson,
    WrongInputs,
)
from gateway.tensors import DTYPES, Signature, TensorSpec
from gateway.wire.oip.choice import NO_JSON, Choice, Choices
from gateway.wire.oip.fields import (
    NO_PARAMETERS,
    Parameters,
    as_array,
    as_object,
    as_string,
    dims,
    flag,
    parameters_of,
    quoted,
    shown,
    unsigned,
)

MAX_SIZE = (1 << 63) - 1


class Part(NamedTuple):
    """One input as a request announces it.

    Attributes:
        place: its place in the signature's inputs.
        spec: what the model declares.
        shape: what the request gives; it fits `spec.shape`.
        elements: how many, the product of `shape`.
        size: bytes in the binary part of the body; None: the elements are in `data`.
        data: decoded JSON, None where binary.
    """

    place: int
    spec: TensorSpec
    shape: tuple[int, ...]
    elements: int
    size: int | None
    data: Any


class Head(NamedTuple):
    """Everything that a request says besides its tensors' elements.

    Attributes:
        id: what to echo; None where the client gave none.
        parts: the inputs in the order of the request, which is the order of their binary parts.
        rows: leading dimension for batched signatures, else 1.
        choice: what to answer with.
        priority: 0 for the default level, 1 is the highest.
        timeout_us: how long the request may wait; 0 is no limit.
        parameters: of the request, all that it gave.
    """

    id: str | None
    parts: tuple[Part, ...]
    rows: int
    choice: Choice
    priority: int
    timeout_us: int
    parameters: Parameters = NO_PARAMETERS


class HeadReader:
    """Reads requests' heads for one deployment."""

    def __init__(
        self, name: str, signature: Signature, choices: Choices, max_body_bytes: int, max_rows: int
    ) -> None:
        self._name = name
        self._signature = signature
        self._choices = choices
        self._max_bytes = max_body_bytes
        self._max_rows = max_rows
        self._places = {spec.name: place for place, spec in enumerate(signature.inputs)}

    def read(self, document: Any) -> Head:
        """Checks a decoded request.

        Raises:
            InvalidRequest: one of its subclasses, by what is wrong.
        """
        request = as_object(document, "request")
        identifier = request.get("id")
        if identifier is not None or "id" in request:
            identifier = as_string(identifier, "id")
        parameters = parameters_of(request, "request")
        priority = timeout_us = 0
        binary = False
        if parameters:
            refuse_reserved(parameters)
            priority = unsigned(parameters, "priority", 0, "request")
            timeout_us = unsigned(parameters, "timeout", 0, "request")
            binary = flag(parameters, "binary_data_output", False, "request")
        if "inputs" not in request:
            raise MalformedJson("request: expected an array 'inputs', got none")
        parts = self._parts(as_array(request["inputs"], "inputs"))
        return Head(
            identifier,
            parts,
            self._rows(parts),
            self._choices.read(request.get("outputs"), binary),
            priority,
            timeout_us,
            parameters,
        )

    def _parts(self, inputs: list[Any]) -> tuple[Part, ...]:
        specs = self._signature.inputs
        if len(inputs) != len(specs):
            self._refuse_count(inputs)
        parts: list[Part] = []
        seen = set()
        for item in inputs:
            part = self._part(as_object(item, "inputs: element"))
            if part.place in seen:
                raise WrongInputs(f"input {quoted(part.spec.name)} already exists in request")
            seen.add(part.place)
            parts.append(part)
        return tuple(parts)

    def _part(self, tensor: dict[str, Any]) -> Part:
        name = as_string(tensor.get("name"), "inputs: name")
        place = self._places.get(name)
        if place is None:
            known = ", ".join(quoted(spec.name) for spec in self._signature.inputs)
            raise WrongInputs(
                f"unexpected inference input {quoted(name)} for model '{self._name}', "
                f"expected {known}"
            )
        spec = self._signature.inputs[place]
        datatype = tensor.get("datatype")
        if datatype != spec.datatype:
            datatype = as_string(datatype, f"input {quoted(name)}: datatype")
            raise InvalidTensor(
                f"inference input {quoted(name)} data-type is {quoted(datatype)}, "
                f"but model '{self._name}' expects '{spec.datatype}'"
            )
        shape = self._shape(spec, tensor.get("shape"))
        size, data = self._source(spec, tensor)
        if size is None and spec.datatype in NO_JSON:
            raise InvalidTensor(
                f"input {quoted(name)}: {datatype} has no JSON form, "
                "expected 'binary_data_size' and binary data, got 'data'"
            )
        return Part(place, spec, shape, prod(shape), size, data)

    def _shape(self, spec: TensorSpec, value: Any) -> tuple[int, ...]:
        if type(value) is not list:
            raise MalformedJson(
                f"input {quoted(spec.name)}: shape: expected an array, got {shown(value)}"
            )
        if len(value) != len(spec.shape):
            self._refuse_shape(spec, value)
        for dim in value:
            if type(dim) is not int or dim < 0:
                raise InvalidTensor(
                    f"input {quoted(spec.name)}: unable to parse 'shape': expected unsigned "
                    f"integers, got {shown(dim)} in {dims(value)}"
                )
        shape = tuple(value)
        if shape != spec.shape:
            # Sizes first: a shape that overflows is told so whatever else is wrong with it.
            self._check_size(spec, shape)
            for dim, wanted in zip(shape, spec.shape, strict=True):
                if dim != wanted and wanted != -1:
                    self._refuse_shape(spec, shape)
            if self._signature.batched:
                self._check_rows(spec, shape)
        return shape

    def _check_size(self, spec: TensorSpec, shape: tuple[int, ...]) -> None:
        # A zero makes the product nothing, but NumPy multiplies what stands beside it all the same.
        beside = prod(max(dim, 1) for dim in shape)
        if beside > MAX_SIZE:
            raise InvalidTensor(
                f"input {quoted(spec.name)}: shape {dims(shape)} causes total element count to "
                f"exceed maximum size of {MAX_SIZE}"
            )
        # An array of BYTES holds a pointer for each; the elements are bounded by the body's own.
        itemsize = DTYPES[spec.datatype].itemsize
        if beside * itemsize > MAX_SIZE:
            raise InvalidTensor(
                f"byte size overflow for input {quoted(spec.name)}: expected at most {MAX_SIZE}, "
                f"got {dims(shape)} of {spec.datatype}"
            )
        size = prod(shape) * itemsize
        if size > self._max_bytes and spec.datatype != "BYTES":
            raise BodyTooLarge(
                f"input {quoted(spec.name)}: shape {dims(shape)} holds {size} bytes, "
                f"expected at most {self._max_bytes} (limits.max_body_bytes)"
            )

    def _check_rows(self, spec: TensorSpec, shape: tuple[int, ...]) -> None:
        if not shape or shape[0] < 1:
            self._refuse_shape(spec, shape)
        if shape[0] > self._max_rows > 0:
            raise BatchTooLarge(
                f"inference request batch-size must be <= {self._max_rows} "
                f"for '{self._name}', got {shape[0]}"
            )

    def _source(self, spec: TensorSpec, tensor: dict[str, Any]) -> tuple[int | None, Any]:
        if "parameters" in tensor:
            where = f"input {quoted(spec.name)}"
            parameters = parameters_of(tensor, where)
            if any(key.startswith("shared_memory") for key in parameters):
                raise InvalidParameter(f"{where}: shared memory is not supported")
            if "binary_data_size" in parameters:
                if "data" in tensor:
                    raise InvalidTensor(
                        f"{where}: expected exactly one of 'data' and 'binary_data_size', got both"
                    )
                return unsigned(parameters, "binary_data_size", 0, where), None
        if "data" not in tensor:
            raise InvalidTensor(
                f"input {quoted(spec.name)}: expected exactly one of 'data' and "
                "'binary_data_size', got neither"
            )
        return None, tensor["data"]

    def _rows(self, parts: tuple[Part, ...]) -> int:
        if not self._signature.batched or not parts:
            return 1
        first = parts[0]
        for part in parts:
            if part.shape[0] != first.shape[0]:
                raise InvalidTensor(
                    f"input {quoted(part.spec.name)} batch size does not match other inputs for "
                    f"'{self._name}': expected {first.shape[0]} rows as in "
                    f"{quoted(first.spec.name)}, got {part.shape[0]}"
                )
        return first.shape[0]

    def _refuse_shape(self, spec: TensorSpec, shape: Sequence[Any]) -> None:
        raise InvalidTensor(
            f"unexpected shape for input {quoted(spec.name)} of model '{self._name}': "
            f"expected {dims(spec.shape)}, got {dims(shape)}"
        )

    def _refuse_count(self, inputs: list[Any]) -> None:
        wanted = len(self._signature.inputs)
        seen = set()
        for item in inputs[: wanted + 1]:
            name = as_string(as_object(item, "inputs: element").get("name"), "inputs: name")
            if name in seen:
                raise WrongInputs(f"input {quoted(name)} already exists in request")
            seen.add(name)
        missing = [quoted(spec.name) for spec in self._signature.inputs if spec.name not in seen]
        lack = f", missing {', '.join(missing)}" if missing else ""
        raise WrongInputs(
            f"expected {wanted} inputs but got {len(inputs)} inputs for model '{self._name}'{lack}"
        )


def refuse_reserved(parameters: Parameters) -> None:
    """Refuses request parameters that are kept for servers, or ask for what is not done here."""
    for name, value in parameters.items():
        if name.startswith("triton_"):
            raise InvalidParameter(
                f"request: parameter {quoted(name)}: names starting with 'triton_' are reserved"
            )
        if name == "headers":
            raise InvalidParameter("request: parameter 'headers' is reserved")
        # 0 and "" mean "no sequence" in the protocol, so a client may always send them.
        if name in ("sequence_id", "sequence_start", "sequence_end") and value not in (0, ""):
            raise InvalidParameter(f"request: parameter '{name}': sequences are not supported")
