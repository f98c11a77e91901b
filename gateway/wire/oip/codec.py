"""One deployment's way from bodies to tensors and back.

Knows a model's name, version and signature. Knows nothing of HTTP, batching or how models run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.errors import InvalidBinary, InvalidRequest
from gateway.tensors import Array, Signature
from gateway.wire.answers import VARIANT, VERSION, Written
from gateway.wire.oip import binary, elements
from gateway.wire.oip.choice import Choice, Choices
from gateway.wire.oip.fields import NO_PARAMETERS, Parameters, quoted
from gateway.wire.oip.head import Head, HeadReader, Part
from gateway.wire.oip.render import Rendered, Renderer, parameters_text
from gateway.wire.oip.spans import cut_out
from gateway.wire.oip.templates import Templates
from gateway.wire.oip.text import parse
from gateway.wire.oip.weight import light_rows, most, weight

SHORT_BODY = 4096
"""Up to here it pays to know the text around the numbers, beyond it to read the numbers faster."""


class Variant:
    """What the answers of one variant of a route say of it.

    Attributes:
        name: of the variant.
        headers: of the answer: the variant, and the version that stands behind it.
        text: of the parameters in its body.
    """

    __slots__ = ("headers", "name", "text")

    def __init__(self, name: str, version: int) -> None:
        self.name = name
        self.headers = Written.write([(VARIANT, name.encode()), (VERSION, b"%d" % version)])
        self.text = parameters_text({"variant": name})


@dataclass(slots=True)
class InferRequest:
    """A decoded request.

    Attributes:
        id: what the answer echoes; None where the client gave none.
        inputs: in the signature's order; each array is writable, aligned, C-contiguous.
        rows: leading dimension for batched signatures, else 1.
        choice: the outputs asked for.
        priority: 0 for the default level, 1 is the highest.
        timeout_us: how long it may wait; 0 is no limit.
        parameters: all that it has of them, by name: texts, numbers and booleans.
        warning: what its answer says of its values, besides the outputs; empty: nothing.
        policy: what it says to follow whatever the outputs say; empty: nothing.
        variant: of a route, that it says to come from; None: no route divided its requests.
        lot: how it got that variant, as `kernels.lots` has it; 0: not by chance.
        more: it is a part of a request, and others follow once it is answered.
    """

    id: str | None
    inputs: tuple[Array, ...]
    rows: int
    choice: Choice
    priority: int
    timeout_us: int
    parameters: Parameters
    warning: str = ""
    policy: str = ""
    variant: Variant | None = None
    lot: int = 0
    more: bool = False

    @property
    def wanted(self) -> tuple[int, ...]:
        """The outputs to compute, ascending indices into the signature's outputs."""
        return self.choice.indices


class Codec:
    """Decodes requests for one deployment and writes their answers.

    Attributes:
        signature: what requests are checked against.
    """

    def __init__(
        self,
        name: str,
        version: str,
        signature: Signature,
        max_body_bytes: int,
        max_batch_size: int,
    ) -> None:
        """Prepares what every request needs.

        Args:
            name: of the model, as answers and messages give it.
            version: of the model; answers give it as a string.
            signature: what requests are checked against.
            max_body_bytes: largest tensor that JSON may expand to.
            max_batch_size: most rows in a request for a batched signature; 0: any number.
        """
        # Fixed at start.
        self._name = name
        self.signature = signature
        self._choices = Choices(name, signature)
        self._heads = HeadReader(name, signature, self._choices, max_body_bytes, max_batch_size)
        self._renderer = Renderer(name, version, signature)
        # Grows to its bound.
        self._templates = Templates()

    def decode(self, body: bytes, header_length: int | None) -> InferRequest:
        """Reads one request.

        Args:
            body: the whole body, inflated.
            header_length: bytes of JSON at its start, where the client says so; None: all of it;
                0: none, the body is the single input.

        Raises:
            InvalidRequest: one of its subclasses, by what is wrong.
        """
        if header_length is None:
            if len(body) > SHORT_BODY:
                return self._decode_cut(body) or self._decode_json(body)
            known = self._templates.read(body)
            if known is None:
                return self._decode_json(body)
            head, identifier, array = known
            return _request(head, identifier, (array,))
        if header_length == 0:
            return self._decode_raw(body)
        return self._decode_binary(body, header_length)

    def request(self, inputs: tuple[Array, ...], rows: int, parameters: Parameters) -> InferRequest:
        """A request for all outputs, as bytes, of tensors that nobody sent.

        Args:
            inputs: in the signature's order, and such as it has.
            rows: leading dimension of these.
            parameters: that it has, by name.
        """
        everything = self._choices.everything(binary=True)
        return InferRequest(None, inputs, rows, everything, 0, 0, parameters)

    def render(self, outputs: Sequence[Array | None]) -> Rendered:
        """Takes the outputs of one run, in the signature's order; None where nobody asked."""
        return self._renderer.render(outputs)

    def answer(
        self, rendered: Rendered, request: InferRequest, start: int, stop: int
    ) -> tuple[bytes, int | None]:
        """Writes one request's answer.

        Args:
            rendered: the run that it rode in.
            request: what was asked.
            start: its first row in the run; ignored where the signature is not batched.
            stop: behind its last row; ignored likewise.

        Returns:
            The body, and the length of its JSON where binary tensors follow (None: all is JSON).

        Raises:
            WrongOutputs: JSON was asked of a BYTES output whose elements are not UTF-8.
        """
        variant = request.variant
        if not request.warning and not request.policy:
            said = b"" if variant is None else variant.text
            return rendered.answer(request.choice, request.id, start, stop, said)
        answer = rendered.answer(request.choice, request.id, start, stop)
        told = {
            "variant": "" if variant is None else variant.name,
            "contract_violations": request.warning,
            "hold_out": request.policy,
        }
        return self._renderer.telling(answer, {name: text for name, text in told.items() if text})

    def light_rows(self, limit: int) -> int:
        """The most rows whose answers weigh at most `limit` (see `weight`) whatever is asked."""
        return light_rows(self.signature, limit)

    def weighs_over(
        self, limit: int, outputs: Sequence[Array | None], requests: Iterable[InferRequest]
    ) -> bool:
        """Whether writing these requests' answers from one run's outputs passes the limit."""
        batched = self.signature.batched
        return (
            most(outputs, batched) > limit
            and weight(outputs, {request.choice for request in requests}, batched) > limit
        )

    def _decode_cut(self, body: bytes) -> InferRequest | None:
        """Reads a body whose large tensors are plain numbers; None: only the long way can tell."""
        text, spans = cut_out(body)
        if not spans:
            return None
        try:
            head = self._heads.read(parse(text))
            inputs: list[Array | None] = [None] * len(head.parts)
            for part in head.parts:
                span = spans.pop(part.data, None) if type(part.data) is str else None
                inputs[part.place] = _from_json(part) if span is None else span.read(body, part)
        except InvalidRequest:
            return None  # what is wrong is said by the long way, which sees the whole
        arrays = tuple(array for array in inputs if array is not None)
        return None if spans or len(arrays) < len(inputs) else _request(head, head.id, arrays)

    def _decode_json(self, body: bytes) -> InferRequest:
        head = self._heads.read(parse(body))
        request = self._filled(head, head.id, body, len(body))
        if len(body) <= SHORT_BODY:
            self._templates.learn(body, head)
        return request

    def _decode_binary(self, body: bytes, header_length: int) -> InferRequest:
        known = self._templates.read_packed(body, header_length)
        if known is not None:
            head, identifier, inputs = known
            if inputs is None:
                return self._filled(head, identifier, body, header_length)
            return _request(head, identifier, inputs)
        text = body[:header_length]
        head = self._heads.read(parse(text))
        request = self._filled(head, head.id, body, header_length)
        self._templates.learn_head(text, head)
        return request

    def _decode_raw(self, body: bytes) -> InferRequest:
        array = binary.raw_request(body, self._name, self.signature)
        everything = self._choices.everything(binary=True)
        return InferRequest(None, (array,), 1, everything, 0, 0, NO_PARAMETERS)

    def _filled(self, head: Head, identifier: str | None, body: bytes, at: int) -> InferRequest:
        parts = head.parts
        inputs: list[Array | None] = [None] * len(parts)
        for part in parts:
            spec = part.spec
            if part.size is None:
                inputs[part.place] = _from_json(part)
                continue
            if part.size > len(body) - at:
                raise InvalidBinary(
                    f"unexpected end of body for input {quoted(spec.name)}: expecting "
                    f"{part.size - (len(body) - at)} additional bytes, got {len(body) - at} "
                    f"of {part.size}"
                )
            inputs[part.place] = binary.array_of(
                body, at, part.size, spec.name, spec.datatype, part.shape
            )
            at += part.size
        if at != len(body):
            raise InvalidBinary(
                f"unexpected additional input data: expected a body of {at} bytes, got {len(body)}"
            )
        return _request(head, identifier, tuple(array for array in inputs if array is not None))


def _request(head: Head, identifier: str | None, inputs: tuple[Array, ...]) -> InferRequest:
    _, _, rows, choice, priority, timeout_us, parameters = head  # sooner than look-ups by name
    return InferRequest(identifier, inputs, rows, choice, priority, timeout_us, parameters)


def _from_json(part: Part) -> Array:
    spec = part.spec
    return elements.array_of(part.data, spec.name, spec.datatype, part.shape, part.elements)
