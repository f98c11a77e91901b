"""Which outputs a request asks for, and in which form.

Knows the `outputs` part of a request and the signature it is checked against. Knows nothing of
inputs, of arrays, or of what the outputs hold.

Equal wishes become one and the same `Choice`, so that what an answer needs can be prepared once and
kept on it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.errors import InvalidParameter, WrongOutputs
from gateway.tensors import Signature, TensorSpec
from gateway.wire.oip.fields import (
    Parameters,
    as_array,
    as_object,
    as_string,
    flag,
    parameters_of,
    quoted,
    shown,
)

if TYPE_CHECKING:
    from gateway.wire.oip.render import Form

NO_JSON = ("FP16", "BF16")
MAX_CHOICES = 512

Wish = tuple[int, bool, int]
"""What `Wanted` holds; a plain tuple is hashed faster."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One output that a request asks for.

    Attributes:
        index: its place in the signature's outputs.
        binary: as raw bytes behind the JSON rather than inside it.
        classes: as the names of this many highest values; 0: as it is.
    """

    index: int
    binary: bool = False
    classes: int = 0


class Choice:
    """An interned list of wishes, in the order of the request.

    Attributes:
        wanted: the wishes, in the order in which they are answered.
        indices: the outputs to compute, ascending.
        forms: answers' fixed parts by rows and shapes; `render` fills it.
    """

    __slots__ = ("forms", "indices", "wanted")

    def __init__(self, wanted: tuple[Wanted, ...]) -> None:
        self.wanted = wanted
        self.indices = tuple(sorted(wish.index for wish in wanted))
        self.forms: dict[Any, Form] = {}


class Choices:
    """Turns the `outputs` of requests for one signature into choices."""

    def __init__(self, name: str, signature: Signature) -> None:
        # Fixed at start.
        self._name = name
        self._specs = signature.outputs
        self._places = {spec.name: place for place, spec in enumerate(signature.outputs)}
        # Grows to its bound, then starts afresh.
        self._known: dict[tuple[Wish, ...], Choice] = {}

    def everything(self, binary: bool) -> Choice:
        """All outputs in the signature's order, for a request that names none."""
        return self._intern([(place, binary, 0) for place in range(len(self._specs))])

    def read(self, outputs: Any, binary: bool) -> Choice:
        """The choice that a request's `outputs` describe.

        Args:
            outputs: decoded JSON; None where the request has none.
            binary: the request's `binary_data_output`, which an output's `binary_data` overrides.

        Raises:
            MalformedJson: not an array of objects with names.
            WrongOutputs: unknown, given twice, or without a JSON form where JSON is asked.
            InvalidParameter: a parameter of the wrong type or range.
        """
        if outputs is None:
            return self.everything(binary)
        listed = as_array(outputs, "outputs")
        if not listed:
            return self.everything(binary)
        if len(listed) > len(self._specs):
            self._refuse_repeats(listed)
        return self._intern([self._wish(item, binary) for item in listed])

    def _wish(self, item: Any, binary: bool) -> Wish:
        output = as_object(item, "outputs: element")
        name = as_string(output.get("name"), "outputs: name")
        place = self._places.get(name)
        if place is None:
            known = ", ".join(quoted(spec.name) for spec in self._specs)
            raise WrongOutputs(
                f"unexpected inference output {quoted(name)} for model '{self._name}', "
                f"expected one of {known}"
            )
        if "parameters" not in output:
            return place, binary, 0
        where = f"output {quoted(name)}"
        parameters = parameters_of(output, where)
        if any(key.startswith("shared_memory") for key in parameters):
            raise InvalidParameter(f"{where}: shared memory is not supported")
        binary = flag(parameters, "binary_data", binary, where)
        return place, binary, _classes(parameters, self._specs[place], where)

    def _refuse_repeats(self, listed: list[Any]) -> None:
        seen = set()
        for item in listed[: len(self._specs) + 1]:
            name = self._specs[self._wish(item, binary=True)[0]].name
            if name in seen:
                raise WrongOutputs(f"output {quoted(name)} already exists in request")
            seen.add(name)

    def _intern(self, wishes: Sequence[Wish]) -> Choice:
        key = tuple(wishes)
        choice = self._known.get(key)
        if choice is None:
            wanted = tuple(itertools.starmap(Wanted, key))
            self._check(wanted)
            if len(self._known) >= MAX_CHOICES:
                self._known.clear()
            choice = self._known[key] = Choice(wanted)
        return choice

    def _check(self, wanted: tuple[Wanted, ...]) -> None:
        seen = set()
        for wish in wanted:
            spec = self._specs[wish.index]
            if wish.index in seen:
                raise WrongOutputs(f"output {quoted(spec.name)} already exists in request")
            seen.add(wish.index)
            if spec.datatype in NO_JSON and not wish.binary and not wish.classes:
                raise WrongOutputs(
                    f"output {quoted(spec.name)}: {spec.datatype} has no JSON form, "
                    "expected 'binary_data': true, got a request for JSON"
                )


def _classes(parameters: Parameters, spec: TensorSpec, where: str) -> int:
    if "classification" not in parameters:
        return 0
    classes = parameters["classification"]
    if type(classes) is not int or classes < 1:
        raise InvalidParameter(
            f"{where}: parameter 'classification': expected an integer of at least 1, "
            f"got {shown(classes)}"
        )
    if spec.datatype in ("BYTES", "BOOL"):
        raise InvalidParameter(
            f"{where}: classification needs numbers to rank, got an output of {spec.datatype}"
        )
    return classes
