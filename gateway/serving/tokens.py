"""Turns texts into the tensors of a model, a few tensors for many texts.

Knows `tokenizers`, and which of a model's inputs are ids, masks and types. Knows nothing of
requests, of batches beyond how many rows one may have, or of what becomes of the tensors.

The package is needed, and imported, only where a model is served that has a tokenizer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from gateway.config import Embeddings, ModelSettings, Padding
from gateway.errors import GatewayError, InvalidParameter, ModelRefused
from gateway.models.embedding import Places
from gateway.tensors import DTYPES, Array, Signature

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

INSTALL: Final = "pip install 'penstock[llm]'"
# A larger file is no vocabulary: the largest in use have a few tens of megabytes.
MAX_BYTES: Final = 256 << 20
# No language has words of so many: a text that has more for each of its tokens is not read to its
# end, which takes a hundred bytes a token.
CHARS_PER_TOKEN: Final = 64
# Read at once, so that what reading takes does not grow with what is sent.
CHARS_AT_ONCE: Final = 1 << 16

Gone = Callable[[], bool]
"""Whether nobody waits for it any more."""


Read = tuple[Array, Array | None]
"""Ids and types of one text."""


@dataclass(frozen=True, slots=True)
class Texts:
    """Some texts of one request, that share a run.

    Attributes:
        numbers: of each text in its request, by row.
        inputs: in the signature's order.
        tokens: read in them, without what only fills rows up.
    """

    numbers: tuple[int, ...]
    inputs: tuple[Array, ...]
    tokens: int

    @property
    def nbytes(self) -> int:
        """Of the tensors."""
        return sum(array.nbytes for array in self.inputs)


class TextReader:
    """Of one deployment. Any thread, several at a time: nothing in it changes.

    Attributes:
        size: of the vectors that its model makes.
        largest: of the ids that its tokenizer may give.
    """

    def __init__(
        self, folder: Path, said: Embeddings, places: Places, signature: Signature
    ) -> None:
        """Reads a tokenizer.

        Args:
            folder: of the model.
            said: what the document says of it.
            places: of the model's inputs.
            signature: of the model.

        Raises:
            ModelRefused: it cannot be read, or the package that reads it is not there.
        """
        self.size = places.size
        self._prefix = said.prefix
        self._places = places
        self._dtypes = [DTYPES[spec.datatype] for spec in signature.inputs]
        self._max_tokens = most_tokens(said, places.length)
        self._tokenizer = _read(folder / said.tokenizer)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._cuts = said.too_long == "truncate"
        if self._cuts:
            try:
                self._tokenizer.enable_truncation(self._max_tokens)
            except Exception as error:
                raise ModelRefused(f"embeddings.max_tokens: {error}") from error
        self.largest = max(self._tokenizer.get_vocab().values(), default=0)

    def read(self, texts: Sequence[str], max_rows: int, gone: Gone = lambda: False) -> list[Texts]:
        """Tokens of all texts, in as many parts as it takes.

        A part has no more rows than a run may have, and no text that is less than half as long as
        its longest: what fills rows up costs as much as what stands in them.

        Args:
            texts: of one request.
            max_rows: of a part.
            gone: asked while many are read; any thread.

        Raises:
            InvalidParameter: a text has too many tokens, or none.
            GatewayError: nobody waits for it any more.
        """
        read: list[Read] = []
        for some in self._portions(texts):
            if gone():
                raise GatewayError("the client left")
            for one in self._encode(some):
                self._check(len(read), len(one))
                read.append(self._kept(one))
        lengths = [len(ids) for ids, _ in read]
        return [self._part(read, numbers) for numbers in parts(lengths, max_rows)]

    def extreme(self) -> tuple[Array, ...]:
        """One row of the largest id alone."""
        length = max(1, self._places.length)
        made = [np.zeros((1, length), dtype) for dtype in self._dtypes]
        made[self._places.ids][:] = self.largest
        made[self._places.mask][:] = 1
        return tuple(made)

    def _portions(self, texts: Sequence[str]) -> Iterator[list[str]]:
        """The texts as they are read, some at once."""
        most = CHARS_PER_TOKEN * self._max_tokens
        some: list[str] = []
        chars = 0
        for number, text in enumerate(texts):
            if len(text) > most and not self._cuts:
                raise InvalidParameter(
                    f"parameter 'input[{number}]': expected {self._max_tokens} tokens at most, and"
                    f" so {most} characters, got {len(text)}"
                )
            some.append(f"{self._prefix}{text[:most]}")
            chars += len(some[-1])
            if chars >= CHARS_AT_ONCE:
                yield some
                some, chars = [], 0
        if some:
            yield some

    def _encode(self, texts: list[str]) -> list[Encoding]:
        try:
            return self._tokenizer.encode_batch_fast(texts)
        except Exception as error:
            raise InvalidParameter(
                f"parameter 'input': the model's tokenizer does not take it: {str(error)[:200]}"
            ) from error

    def _check(self, number: int, length: int) -> None:
        if not 0 < length <= self._max_tokens:
            raise InvalidParameter(
                f"parameter 'input[{number}]': expected 1 to {self._max_tokens} tokens,"
                f" got {length}"
            )

    def _kept(self, one: Encoding) -> Read:
        """What of an encoding is needed, a twentieth of it."""
        types = None if self._places.types is None else np.array(one.type_ids, np.uint32)
        return np.array(one.ids, np.uint32), types

    def _part(self, read: Sequence[Read], numbers: tuple[int, ...]) -> Texts:
        places = self._places
        length = places.length
        if length < 0:
            length = max(len(read[number][0]) for number in numbers)
        made = [np.zeros((len(numbers), length), dtype) for dtype in self._dtypes]
        tokens = 0
        for row, number in enumerate(numbers):
            ids, types = read[number]
            end = len(ids)
            tokens += end
            made[places.ids][row, :end] = ids
            made[places.mask][row, :end] = 1
            if places.types is not None:
                made[places.types][row, :end] = types
        return Texts(numbers, tuple(made), tokens)


def parts(lengths: Sequence[int], max_rows: int) -> Iterator[tuple[int, ...]]:
    """Which texts share a run: each part's numbers, ascending.

    Args:
        lengths: of each text, in tokens.
        max_rows: of a part.
    """
    longest_first = sorted(range(len(lengths)), key=lambda number: -lengths[number])
    part: list[int] = []
    for number in longest_first:
        if part and (len(part) == max_rows or 2 * lengths[number] < lengths[part[0]]):
            yield tuple(sorted(part))
            part = []
        part.append(number)
    yield tuple(sorted(part))


def most_tokens(said: Embeddings, length: int) -> int:
    """Of one text.

    Args:
        said: what the document says.
        length: of every text, as the model has it; -1: as it comes.
    """
    return said.max_tokens if length < 0 else min(said.max_tokens, length)


def padded(signature: Signature, settings: ModelSettings) -> ModelSettings:
    """Settings of a model of texts, whose requests share runs though texts differ in length.

    Raises:
        ModelRefused: the padding that the document wants would change what is answered.
    """
    said, names = settings.embeddings, {spec.name for spec in signature.inputs}
    length = signature.inputs[0].shape[1]
    if said is None or not signature.batched or length >= 0:
        return settings
    padding = settings.padding
    if padding is None:
        made = Padding(buckets=buckets(said.max_tokens))
        return settings.model_copy(update={"padding": made})
    if padding.value != 0 or (padding.inputs and set(padding.inputs) != names):
        raise ModelRefused("padding: of embeddings all inputs are padded, with a value of 0")
    return settings


def buckets(most: int) -> list[int]:
    """Lengths that texts are filled up to, each at most half as long again as the one before.

    Few enough for texts to meet one another, and close enough that not much is filled up.
    """
    found, step = [8, 16, 24], 32
    while found[-1] < most:
        found += [step, step + step // 2]
        step *= 2
    return [one for one in found if one < most] + [most]


def _read(file: Path) -> Tokenizer:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ModelRefused(
            f"embeddings.tokenizer: the package 'tokenizers' is not installed: {INSTALL}"
        ) from error
    # Else each call starts as many threads as there are cores, beside workers that have one each.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if file.stat().st_size > MAX_BYTES:
        raise ModelRefused(f"tokenizer '{file.name}': expected at most {MAX_BYTES} bytes")
    try:
        return Tokenizer.from_str(file.read_text(encoding="utf-8"))
    except Exception as error:
        raise ModelRefused(f"tokenizer '{file.name}': {str(error)[:200]}") from error
