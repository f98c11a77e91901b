"""Arrays to answers: a whole batch's numbers become text once, each rider takes its rows.

Knows the form of answers. Knows nothing of requests beyond what they chose, or of batching beyond
rows that lie next to each other.

What an answer says besides its numbers depends on the choice, the rows and the shapes alone. That
is a `Form`, made once and kept on the choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import orjson

from gateway.errors import WrongOutputs
from gateway.tensors import DTYPES, Array, Signature, TensorSpec
from gateway.wire.oip.binary import strings_to_bytes
from gateway.wire.oip.choice import Choice, Wanted
from gateway.wire.oip.classification import classify
from gateway.wire.oip.fields import quoted
from gateway.wire.oip.printing import (
    PIECE_BYTES,
    Buffer,
    NotText,
    bytes_of,
    joined,
    numbers_text,
    row_texts,
    strings_text,
)

MAX_FORMS = 256
SMALL_BYTES = 16_384
Shapes = tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True, slots=True)
class Form:
    """The fixed parts of answers to one choice, for one number of rows and set of shapes.

    Attributes:
        heads: JSON before each output's rows; the first also opens the document. Empty where the
            answer has to be put together one output at a time.
        indices: the outputs, one for each head.
        tail: JSON behind the last output.
        packed: the whole JSON header where all outputs are binary and of known size, else empty.
        empty: all binary outputs hold nothing, so that the answer is plain JSON.
        large: the binary outputs are worth copying in pieces.
    """

    heads: tuple[bytes, ...]
    indices: tuple[int, ...]
    tail: bytes
    packed: bytes
    empty: bool
    large: bool = False


def parameters_text(parameters: Mapping[str, str]) -> bytes:
    """Parameters as they stand in an answer."""
    return b',"parameters":%b' % orjson.dumps(parameters)


class Renderer:
    """Makes `Rendered` runs for one deployment."""

    def __init__(self, name: str, version: str, signature: Signature) -> None:
        self.signature = signature
        names = orjson.dumps({"model_name": name, "model_version": version})
        self.opening = names[:-1]
        self.entries = tuple(
            b'{"name":%b,"datatype":"%b","shape":'
            % (orjson.dumps(spec.name), spec.datatype.encode())
            for spec in signature.outputs
        )

    def render(self, outputs: Sequence[Array | None]) -> Rendered:
        """Takes one run's outputs; text and bytes are made when the first rider needs them."""
        return Rendered(self, outputs)

    def form(self, choice: Choice, rows: int, shapes: Shapes, told: bytes = b"") -> Form:
        """The fixed parts of an answer, from the choice's memory where it has been made before.

        Args:
            choice: the outputs asked for.
            rows: of the answer.
            shapes: of the outputs' rows.
            told: parameters as they stand in the answer (`parameters_text`), or nothing.
        """
        key = (rows, shapes, told)
        form = choice.forms.get(key)
        if form is None:
            if len(choice.forms) >= MAX_FORMS:
                choice.forms.clear()
            form = choice.forms[key] = self._new_form(choice.wanted, rows, shapes, told)
        return form

    def _new_form(self, wanted: tuple[Wanted, ...], rows: int, shapes: Shapes, told: bytes) -> Form:
        opening = self.opening + told
        specs = self.signature.outputs
        indices = tuple(wish.index for wish in wanted)
        full = [self.shape(rows, shapes[index]) for index in indices]
        if any(wish.classes or specs[wish.index].datatype == "BYTES" for wish in wanted):
            return Form((), indices, b"", b"", empty=False)
        if all(wish.binary for wish in wanted):
            sizes = [
                prod(shape) * DTYPES[specs[index].datatype].itemsize
                for index, shape in zip(indices, full, strict=True)
            ]
            entries = map(self.binary_entry, indices, full, sizes)
            packed = opening + b',"outputs":[' + b",".join(entries) + b"]}"
            large = sum(sizes) > PIECE_BYTES
            return Form((), indices, b"", packed, empty=not any(sizes), large=large)
        if any(wish.binary for wish in wanted) or not all(prod(shape) for shape in full):
            return Form((), indices, b"", b"", empty=False)
        starts = [self.entry_start(i, shape) for i, shape in zip(indices, full, strict=True)]
        heads = (
            opening + b',"outputs":[' + starts[0],
            *(b"]}," + start for start in starts[1:]),
        )
        return Form(heads, indices, b"]}]}", b"", empty=False)

    def telling(
        self, answer: tuple[bytes, int | None], parameters: Mapping[str, str]
    ) -> tuple[bytes, int | None]:
        """An answer with parameters."""
        valid = {name: t.encode("utf-8", "replace").decode() for name, t in parameters.items()}
        told = parameters_text(valid)
        body, header_length = answer
        opening = self.opening
        if len(body) < SMALL_BYTES:  # copied twice in half the time of a join
            whole = opening + told + body[len(opening) :]
        else:
            whole = b"".join((opening, told, memoryview(body)[len(opening) :]))
        return whole, None if header_length is None else header_length + len(told)

    def shape(self, rows: int, trailing: tuple[int, ...] | None) -> tuple[int, ...]:
        """An answer's full shape: its own rows before the trailing axes, or the whole shape."""
        assert trailing is not None, "an output was asked for that was not computed"
        return (rows, *trailing) if self.signature.batched else trailing

    def entry_start(self, index: int, shape: tuple[int, ...]) -> bytes:
        """An output up to the first element of its `data`."""
        return b'%b%b,"data":[' % (self.entries[index], _shape_text(shape))

    def binary_entry(self, index: int, shape: tuple[int, ...], size: int) -> bytes:
        """A whole output whose elements follow behind the JSON."""
        return b'%b%b,"parameters":{"binary_data_size":%d}}' % (
            self.entries[index],
            _shape_text(shape),
            size,
        )


class Rendered:
    """One run's outputs, on their way to its riders."""

    __slots__ = (
        "_choice",
        "_form",
        "_outputs",
        "_raw",
        "_renderer",
        "_rows",
        "_shapes",
        "_texts",
        "_told",
    )

    def __init__(self, renderer: Renderer, outputs: Sequence[Array | None]) -> None:
        # Fixed at start.
        self._renderer = renderer
        self._outputs = outputs
        skip = 1 if renderer.signature.batched else 0
        self._shapes: Shapes = tuple(
            None if array is None else array.shape[skip:] for array in outputs
        )
        # Made when first needed.
        self._texts: list[list[bytes] | None] = [None] * len(outputs)
        self._raw: list[tuple[Buffer, int] | None] = [None] * len(outputs)
        # The last rider's: its neighbours mostly ask for the same.
        self._choice: Choice | None = None
        self._rows = 0
        self._form: Form | None = None
        self._told = b""

    def answer(
        self, choice: Choice, identifier: str | None, start: int, stop: int, told: bytes = b""
    ) -> tuple[bytes, int | None]:
        """One rider's body, and the length of its JSON where binary tensors follow.

        Args:
            choice: the outputs asked for.
            identifier: of the request.
            start: its first row.
            stop: behind its last one.
            told: parameters as they stand in the answer; few different ones, which are kept.
        """
        if not self._renderer.signature.batched:
            start, stop = 0, 1
        form = self._form
        if (
            form is None
            or choice is not self._choice
            or stop - start != self._rows
            or told is not self._told
        ):
            form = self._renderer.form(choice, stop - start, self._shapes, told)
            self._choice, self._rows, self._form, self._told = choice, stop - start, form, told
        if form.heads:
            return self._answer_json(form, identifier, start, stop), None
        if form.packed:
            return self._answer_packed(form, identifier, start, stop)
        return self._answer_mixed(choice, identifier, start, stop, told)

    def _answer_json(self, form: Form, identifier: str | None, start: int, stop: int) -> bytes:
        if len(form.heads) == 1 and stop - start == 1:  # mostly; and two additions beat a join
            head, index = form.heads[0], form.indices[0]
            if identifier is not None:
                head = self._with_id(head, identifier)
            return head + (self._texts[index] or self._text_rows(index))[start] + form.tail
        pieces: list[bytes] = []
        for head, index in zip(form.heads, form.indices):  # noqa: B905 (equally long by making)
            rows = self._texts[index] or self._text_rows(index)
            pieces += (head, rows[start] if stop - start == 1 else b",".join(rows[start:stop]))
        pieces.append(form.tail)
        if identifier is not None:
            pieces[0] = self._with_id(pieces[0], identifier)
        return b"".join(pieces)

    def _answer_packed(
        self, form: Form, identifier: str | None, start: int, stop: int
    ) -> tuple[bytes, int | None]:
        header = form.packed
        if identifier is not None:
            header = self._with_id(header, identifier)
        if form.empty:
            return header, None
        pieces: list[Buffer] = [header]
        pieces += [self._raw_rows(index, start, stop) for index in form.indices]
        return joined(pieces) if form.large else b"".join(pieces), len(header)

    def _answer_mixed(
        self, choice: Choice, identifier: str | None, start: int, stop: int, told: bytes
    ) -> tuple[bytes, int | None]:
        opening = self._renderer.opening + told
        if identifier is not None:
            opening = self._with_id(opening, identifier)
        texts: list[Buffer] = []
        blobs: list[Buffer] = []
        for wish in choice.wanted:
            texts.append(b"," if texts else opening + b',"outputs":[')
            self._add_entry(wish, start, stop, texts, blobs)
        texts.append(b"]}")
        if not any(map(len, blobs)):
            return joined(texts), None
        return joined(texts + blobs), sum(map(len, texts))

    def _add_entry(
        self, wish: Wanted, start: int, stop: int, texts: list[Buffer], blobs: list[Buffer]
    ) -> None:
        renderer = self._renderer
        spec = renderer.signature.outputs[wish.index]
        array = self._rows_of(wish.index, start, stop)
        opening = renderer.entries[wish.index]
        if wish.classes:
            array = classify(array, spec, wish.classes, renderer.signature.batched)
            opening = b'{"name":%b,"datatype":"BYTES","shape":' % orjson.dumps(spec.name)
        opening += _shape_text(array.shape)
        strings = wish.classes or spec.datatype == "BYTES"
        if wish.binary:
            blob = strings_to_bytes(array) if strings else bytes_of(array)
            blobs.append(blob)
            texts.append(b'%b,"parameters":{"binary_data_size":%d}}' % (opening, len(blob)))
            return
        text = _strings_text(array, spec) if strings else numbers_text(array)
        texts += (opening + b',"data":[', text, b"]}")

    def _with_id(self, text: bytes, identifier: str) -> bytes:
        """The beginning of an answer, or a whole one without numbers, with the request's id."""
        opening = self._renderer.opening
        return b'%b,"id":%b%b' % (opening, orjson.dumps(identifier), text[len(opening) :])

    def _whole(self, index: int) -> Array:
        array = self._outputs[index]
        assert array is not None, "an output was asked for that was not computed"
        return array

    def _rows_of(self, index: int, start: int, stop: int) -> Array:
        array = self._whole(index)
        return array[start:stop] if self._renderer.signature.batched else array

    def _text_rows(self, index: int) -> list[bytes]:
        array = np.ascontiguousarray(self._whole(index))
        rows = len(array) if self._renderer.signature.batched else 1
        texts = self._texts[index] = row_texts(array.reshape(rows, -1))
        return texts

    def _raw_rows(self, index: int, start: int, stop: int) -> Buffer:
        known = self._raw[index]
        if known is None:
            whole = bytes_of(self._whole(index))
            rows = len(self._whole(index)) if self._renderer.signature.batched else 1
            known = self._raw[index] = (whole, len(whole) // max(rows, 1))
        whole, stride = known
        return whole[start * stride : stop * stride]


def _strings_text(array: Array, spec: TensorSpec) -> bytes:
    try:
        return strings_text(array)
    except NotText as error:
        raise WrongOutputs(
            f"output {quoted(spec.name)}: element {error}: expected UTF-8 text for a JSON answer, "
            "got other bytes; ask for it with 'binary_data': true"
        ) from error


def _shape_text(shape: tuple[int, ...]) -> bytes:
    return orjson.dumps(shape)
