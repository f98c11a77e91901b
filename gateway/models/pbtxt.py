"""Protocol Buffers' text format, read into plain values with the lines they stand on.

Knows the format's tokens and nesting. Knows nothing of which fields mean something. Bounded in
size, depth and number of fields; strict: what it does not understand is a fault with its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.errors import ModelRefused

MAX_TEXT_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_FIELDS = 100_000


@dataclass(frozen=True, slots=True)
class Word:
    """A bare word: an enum's value, `true`, `inf`."""

    text: str


Scalar = str | int | float | Word


@dataclass(slots=True)
class Message:
    """One message: every value of every field, in order, each with its line."""

    line: int
    fields: dict[str, list[tuple[int, Scalar | Message]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


_TOKENS = re.compile(
    r"""(?P<space>[ \t\r\f\v]+ | \#[^\n]*)
      | (?P<newline>\n)
      | (?P<string>"(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*')
      | (?P<number>-?\s*(?:0[xX][0-9a-fA-F]+ | (?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)[fF]?(?![\w.]))
      | (?P<word>-?[A-Za-z_]\w*)
      | (?P<mark>[{}<>\[\]:;,])
    """,
    re.VERBOSE | re.ASCII,
)
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\'\"?])|([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})"
    r"|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.?))",
    re.DOTALL,
)
_PLAIN = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_CLOSING = {"{": "}", "<": ">"}


def parse(text: str, source: str) -> Message:
    """Reads a document.

    Raises:
        ModelRefused: too large, too deep, or not the text format; names `source` and the line.
    """
    if len(text) > MAX_TEXT_BYTES:
        raise ModelRefused(f"{source}: wanted at most {MAX_TEXT_BYTES} characters, got {len(text)}")
    return _Parser(text, source).message(1, "", 0)


class _Parser:
    """Walks the tokens once, nested as deep as the messages are, which `MAX_DEPTH` bounds."""

    def __init__(self, text: str, source: str) -> None:
        self._source = source
        self._tokens = self._split(text)
        self._token = next(self._tokens)
        self._left = MAX_FIELDS

    def message(self, line: int, closing: str, depth: int) -> Message:
        """Reads fields up to `closing`, or to the end of the text where there is none."""
        if depth > MAX_DEPTH:
            raise ModelRefused(f"{self._source}: line {line}: nested deeper than {MAX_DEPTH}")
        found = Message(line)
        while not (closing and self._taken(closing)):
            if self._token.kind == "end":
                if closing:
                    raise self._fault(f"{closing!r} for the message opened in line {line}")
                break
            self._field(found, depth)
        return found

    def _field(self, message: Message, depth: int) -> None:
        name = self._token.text
        if self._token.kind != "word" or name.startswith("-"):
            raise self._fault("a field name")
        self._advance()
        colon = self._taken(":")
        values = message.fields.setdefault(name, [])
        if not self._taken("["):
            values.append(self._value(name, colon, depth))
        elif not self._taken("]"):
            values.append(self._value(name, colon, depth))
            while not self._taken("]"):
                if not self._taken(","):
                    raise self._fault("',' or ']'")
                values.append(self._value(name, colon, depth))
        if not self._taken(","):
            self._taken(";")

    def _value(self, name: str, colon: bool, depth: int) -> tuple[int, Scalar | Message]:
        self._left -= 1
        if self._left < 0:
            raise ModelRefused(f"{self._source}: more than {MAX_FIELDS} values")
        line = self._token.line
        for opening, closing in _CLOSING.items():
            if self._taken(opening):
                return line, self.message(line, closing, depth + 1)
        if not colon:  # only messages may stand without one
            raise self._fault(f"':' or '{{' after {name!r}")
        return line, self._scalar(name)

    def _scalar(self, name: str) -> Scalar:
        token = self._token
        if token.kind == "string":
            return self._string()
        if token.kind == "number":
            self._advance()
            return self._number(token)
        if token.kind == "word":
            self._advance()
            return Word(token.text)
        raise self._fault(f"a value of {name!r}")

    def _string(self) -> str:
        pieces: list[bytes] = []
        while self._token.kind == "string":  # neighbouring strings are one
            pieces.append(self._unescape(self._token))
            self._advance()
        try:
            return b"".join(pieces).decode()
        except UnicodeDecodeError as error:
            raise self._fault("UTF-8 text before this") from error

    def _unescape(self, token: _Token) -> bytes:
        def plain(match: re.Match[str]) -> str:
            simple, octal, hexa, short, long, wrong = match.groups()
            if wrong is not None:
                raise ModelRefused(
                    f"{self._source}: line {token.line}: no such escape in a string: {match[0]!r}"
                )
            if short or long:
                code = int(short or long, 16)
                if code > 0x10FFFF:
                    raise ModelRefused(
                        f"{self._source}: line {token.line}: no character {match[0]}"
                    )
                return chr(code).encode(errors="surrogatepass").decode("latin-1")
            if simple:
                return chr(_PLAIN.get(simple, ord(simple)))
            return chr(int(octal, 8) & 0xFF if octal else int(hexa, 16))

        body = token.text[1:-1].encode(errors="surrogatepass").decode("latin-1")
        return _ESCAPE.sub(plain, body).encode("latin-1")

    def _number(self, token: _Token) -> int | float:
        text = "".join(token.text.split())
        digits = text.lstrip("-")
        if digits[:2].lower() == "0x":
            return int(text, 16)
        if digits.isdigit():
            if len(digits) > 20:
                raise ModelRefused(f"{self._source}: line {token.line}: number out of range")
            octal = len(digits) > 1 and digits[0] == "0"
            if octal and not set(digits) <= set("01234567"):
                raise ModelRefused(f"{self._source}: line {token.line}: no octal number: {text}")
            return int(text, 8 if octal else 10)
        return float(text.rstrip("fF"))

    def _taken(self, mark: str) -> bool:
        if self._token.kind == "mark" and self._token.text == mark:
            self._advance()
            return True
        return False

    def _advance(self) -> None:
        self._token = next(self._tokens)

    def _fault(self, wanted: str) -> ModelRefused:
        got = "the end" if self._token.kind == "end" else repr(self._token.text[:40])
        return ModelRefused(f"{self._source}: line {self._token.line}: wanted {wanted}, got {got}")

    def _split(self, text: str) -> Iterator[_Token]:
        line, position = 1, 0
        while position < len(text):
            match = _TOKENS.match(text, position)
            if match is None:
                shown = text[position : position + 20].splitlines()[0]
                raise ModelRefused(f"{self._source}: line {line}: cannot be read: {shown!r}")
            kind = match.lastgroup or ""
            if kind == "newline":
                line += 1
            elif kind != "space":
                yield _Token(kind, match[0], line)
                line += match[0].count("\n")
            position = match.end()
        while True:
            yield _Token("end", "", line)
