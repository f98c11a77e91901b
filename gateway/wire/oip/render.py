"""Arrays to answers: a whole batch's numbers become text once, each rider takes its rows.

Knows the form of answers. Knows nothing of requests beyond what they chose, or of batching beyond
rows that lie next to each other.

What an answer says besides its numbers depends on the choice, the rows and the shapes alone. That
is a `Form`, made once and kept on the choice.
"""

from __future__ import annotations

from collections.abc import Sequence
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

MAX_FORMS = 256
Shapes = tuple[tuple[int, ...] | None, ...]
Buffer = bytes | memoryview


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
    """

    heads: tuple[bytes, ...]
    indices: tuple[int, ...]
    tail: bytes
    packed: bytes
    empty: bool


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

    def form(self, choice: Choice, rows: int, shapes: Shapes) -> Form:
        """The fixed parts of an answer, from the choice's memory where it has been made before."""
        key = (rows, shapes)
        form = choice.forms.get(key)
        if form is None:
            if len(choice.forms) >= MAX_FORMS:
                choice.forms.clear()
            form = choice.forms[key] = self._new_form(choice.wanted, rows, shapes)
        return form

    def _new_form(self, wanted: tuple[Wanted, ...], rows: int, shapes: Shapes) -> Form:
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
            packed = self.opening + b',"outputs":[' + b",".join(entries) + b"]}"
            return Form((), indices, b"", packed, empty=not any(sizes))
        if any(wish.binary for wish in wanted) or not all(prod(shape) for shape in full):
            return Form((), indices, b"", b"", empty=False)
        starts = [self.entry_start(i, shape) for i, shape in zip(indices, full, strict=True)]
        heads = (
            self.opening + b',"outputs":[' + starts[0],
            *(b"]}," + start for start in starts[1:]),
        )
        return Form(heads, indices, b"]}]}", b"", empty=False)

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

    __slots__ = ("_choice", "_form", "_outputs", "_raw", "_renderer", "_rows", "_shapes", "_texts")

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

    def answer(
        self, choice: Choice, identifier: str | None, start: int, stop: int
    ) -> tuple[bytes, int | None]:
        """One rider's body, and the length of its JSON where binary tensors follow."""
        if not self._renderer.signature.batched:
            start, stop = 0, 1
        form = self._form
        if form is None or choice is not self._choice or stop - start != self._rows:
            form = self._renderer.form(choice, stop - start, self._shapes)
            self._choice, self._rows, self._form = choice, stop - start, form
        if form.heads:
            return self._answer_json(form, identifier, start, stop), None
        if form.packed:
            return self._answer_packed(form, identifier, start, stop)
        return self._answer_mixed(choice, identifier, start, stop)

    def _answer_json(self, form: Form, identifier: str | None, start: int, stop: int) -> bytes:
        pieces: list[bytes] = []
        for head, index in zip(form.heads, form.indices):  # noqa: B905 (equally long by making)
            rows = self._texts[index] or self._text_rows(index)
            pieces += (head, rows[start] if stop - start == 1 else b",".join(rows[start:stop]))
        pieces.append(form.tail)
        body = b"".join(pieces)
        return body if identifier is None else self._with_id(body, identifier)

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
        return b"".join(pieces), len(header)

    def _answer_mixed(
        self, choice: Choice, identifier: str | None, start: int, stop: int
    ) -> tuple[bytes, int | None]:
        blobs: list[Buffer] = []
        entries = [self._entry(wish, start, stop, blobs) for wish in choice.wanted]
        header = self._renderer.opening + b',"outputs":[' + b",".join(entries) + b"]}"
        if identifier is not None:
            header = self._with_id(header, identifier)
        if not any(len(blob) for blob in blobs):
            return header, None
        return b"".join([header, *blobs]), len(header)

    def _entry(self, wish: Wanted, start: int, stop: int, blobs: list[Buffer]) -> bytes:
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
            blob = strings_to_bytes(array) if strings else _bytes_of(array)
            blobs.append(blob)
            return b'%b,"parameters":{"binary_data_size":%d}}' % (opening, len(blob))
        text = _string_text(array, spec) if strings else _numbers_text(array)
        return b'%b,"data":[%b]}' % (opening, text)

    def _with_id(self, document: bytes, identifier: str) -> bytes:
        opening = self._renderer.opening
        return b'%b,"id":%b%b' % (opening, orjson.dumps(identifier), document[len(opening) :])

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
        # Numbers hold no brackets, so that rows fall apart exactly where one ends and one begins.
        texts = _json_numbers(array.reshape(rows, -1))[2:-2].split(b"],[")
        self._texts[index] = texts
        return texts

    def _raw_rows(self, index: int, start: int, stop: int) -> Buffer:
        known = self._raw[index]
        if known is None:
            whole = _bytes_of(self._whole(index))
            rows = len(self._whole(index)) if self._renderer.signature.batched else 1
            known = self._raw[index] = (whole, len(whole) // max(rows, 1))
        whole, stride = known
        return whole[start * stride : stop * stride]


def _shape_text(shape: tuple[int, ...]) -> bytes:
    return orjson.dumps(shape)


def _json_numbers(table: Array) -> bytes:
    """Numbers as JSON, floats as their shortest text, what is not finite as its bare token."""
    text = orjson.dumps(table, option=orjson.OPT_SERIALIZE_NUMPY)
    # orjson writes null for what is not finite, and no other number contains it.
    if b"null" not in text:
        return text
    tokens = [_token(value) for value in table[~np.isfinite(table)].tolist()]
    pieces = text.split(b"null")
    woven = [pieces[0]]
    for token, piece in zip(tokens, pieces[1:], strict=True):
        woven += (token, piece)
    return b"".join(woven)


def _token(value: float) -> bytes:
    if value != value:
        return b"NaN"
    return b"Infinity" if value > 0 else b"-Infinity"


def _numbers_text(array: Array) -> bytes:
    return _json_numbers(np.ascontiguousarray(array).reshape(1, -1))[2:-2]


def _string_text(array: Array, spec: TensorSpec) -> bytes:
    texts = []
    for place, element in enumerate(array.ravel().tolist()):
        try:
            texts.append(element.decode())
        except UnicodeDecodeError as error:
            raise WrongOutputs(
                f"output {quoted(spec.name)}: element {place}: expected UTF-8 text for a JSON "
                "answer, got other bytes; ask for it with 'binary_data': true"
            ) from error
    return orjson.dumps(texts)[1:-1]


def _bytes_of(array: Array) -> Buffer:
    # A view with a zero in its shape cannot be cast to bytes.
    if not array.size:
        return b""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
