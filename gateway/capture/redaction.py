"""Takes out of a text what names people or opens doors: addresses, numbers, keys.

Knows how such things are written. Knows nothing of where a text comes from, or of JSON. It rather
takes too much than too little, and it goes by form alone: a name, or a secret that looks like a
word, stays.

Any text is read in time linear in its length: what matches is stepped over whole (and judged
afterwards), and what does not is given up after a bounded number of characters, or begins only
where nothing of its kind stands before it. No pattern sees more than `_PIECE` characters at once: a
search holds the interpreter, and everybody else in this process waits for it.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Final

from gateway.capture.numbers import Span, accounts, cards, phones

KEY, EMAIL, ADDRESS, IBAN, CARD, PHONE = (
    *("[key]", "[email]", "[ip]"),
    *("[iban]", "[card]", "[phone]"),
)
MAX_TEXT: Final = 1_000_000
"""Characters of a text that are read; the rest is left out."""
_PIECE: Final = 16_384
# What begins in a piece is found whole if it ends so far behind it.
_OVERLAP: Final = 1024

# One character for one, so that places stay: digits, signs and blanks of any script as ASCII's.
_PLAIN: Final = (
    {
        code: str(unicodedata.digit(chr(code)))
        for code in range(0x80, 0x20000)  # none lies behind it
        if chr(code).isdecimal()
    }
    | {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
    | dict.fromkeys([0xA0, 0xAD, *range(0x2000, 0x200E), 0x202F, 0x205F, 0x2060, 0x3000], " ")
    | dict.fromkeys([*range(0x2010, 0x2016), 0x2212], "-")
    | dict.fromkeys(map(ord, "\u2018\u2019"), "'")
    | dict.fromkeys(map(ord, "\u201c\u201d"), '"')
    | {ord("\u017f"): "s", ord("\u212a"): "k", ord("\u2192"): ">"}
)

_PRIVATE: Final = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10}-----")
_PRIVATE_END: Final = re.compile(r"-----END [A-Z0-9 ]{0,60}-----")
# What providers and services begin theirs with, this gateway's own among them. The first group
# needs a digit: `sk-learn_pipeline` is none.
_KNOWN: Final = re.compile(
    r"((?<![A-Za-z0-9])(?:sk|pk|rk|gsk|xai|psk|ptk|whsec|glpat|npm|hf|pat|shpat|dop_v1|github_pat"
    r"|gh[opsur]|xox[a-z])[-_][A-Za-z0-9_-]{12,}+"
    r"|eyJ[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]++){0,4}+)"
    r"|(?<![A-Za-z0-9])(?:AIza[A-Za-z0-9_-]{30,}+|(?:AKIA|ASIA)[A-Z0-9]{16}"
    r"|(?:SG|ya29)\.[A-Za-z0-9_-]{16,}+(?:\.[A-Za-z0-9_-]++)?)"
)
_SECRET_NAME: Final = (
    r"(?:(?:api|access|account|auth|private|secret|encryption|signing)[_ -]?key"
    r"|secret(?!ar)|token(?![a-z])|pass(?:word|wort|wd|phrase|code)|pwd|credentials?"
    r"|authorization|kennwort|mot de passe|contrase\u00f1a)"
)
# Of fields, beside these: words that say too little within a text.
_NAMED: Final = re.compile(
    rf"(?i){_SECRET_NAME}|\A(?:pass|pin|cvv|cvc|otp|ssn|auth|bearer|(?:set-)?cookie)\Z"
)
_VALUE: Final = (
    r"(?:\"[^\"\n]{1,256}+[^\s\"]*+|'[^'\n]{1,256}+[^\s']*+|`[^`\n]{1,256}+[^\s`]*+"
    r"|\\{1,8}+[\"'][^\"\\\n]{1,256}+[^\s\"\\]*+"
    r"|(?:[^\s\"'`,;<]|[,;](?=[^\s\"'])){3,}+)"
)
# What is said to be one: `password: hunter2`, `**Token:** x`, `Authorization: Digest x`.
_SAID: Final = re.compile(
    rf"(?i)({_SECRET_NAME}\d?[\"'*`\\]{{0,4}}+\s{{0,4}}+(?::=|={{1,3}}+>?|:|-?>)"
    r"[*_]{0,2}+\s{0,8}+)"
    r"(?:(?<=[\s:=])(?:digest|hawk|aws4-hmac-sha256)[ \t]{1,8}+[^\r\n]{3,1024}+"
    r"|([\"'\\]{0,4}+(?:bearer|basic|token|apikey|negotiate)[ \t]{1,8}+)?"
    rf"({_VALUE}))"
    rf"|(?<![A-Za-z])bearer[ \t]{{1,8}}+({_VALUE})"
)
# A text without any of them is not searched for names.
_SAYING: Final = (
    *("key", "secret", "token", "pass", "pwd", "credential", "authorization", "bearer"),
    *("kennwort", "contrase"),
)
_QUOTES: Final = "\\\"'`"
_IN_URL: Final = re.compile(r"://[^\s/@:]{0,128}+:([^\s/@]{1,256}+)@")
# A word as long as that, of letters and digits both, is no word.
_LONG: Final = re.compile(r"(?<![A-Za-z0-9_+/-])[A-Za-z0-9_+/-]{32,}+={0,2}")
_DIGIT, _LETTER = re.compile("[0-9]"), re.compile("[A-Za-z]")
_EMAIL: Final = re.compile(r"(?<![\w.%+'-])[\w.%+'-]++@[\w-]++(?:\.[\w-]++)++")
_EMAIL_IN_URL: Final = re.compile(r"(?<![\w.%+'-])(?:[\w.+'-]|%(?!40))++%40[\w-]++(?:\.[\w-]++)++")
_V4: Final = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3,}+(?!\d)")
_V6: Final = re.compile(r"(?:(?<![\w:])|(?<=[G-Zg-z_]:))[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]++(?![\w])")
_MAX_V6: Final = 45
_WORD_END: Final = re.compile(r"[^\s\"'`,;<\\]*+")


def redacted(text: str) -> str:
    """The text, with a word in brackets in the place of each thing that is taken out.

    Of what is longer than `MAX_TEXT` the rest is left out, and a last word says how much.
    """
    told: list[str] = []
    done = 0
    for start, end, word in _merged(_spans(text[: MAX_TEXT + _OVERLAP])):
        if start < MAX_TEXT:
            told += (text[done:start], word)
            done = end
    told.append(text[done:MAX_TEXT])
    left_out = len(text) - max(MAX_TEXT, done)
    return "".join(told) + (f" [{left_out} characters left out]" if left_out > 0 else "")


def says_a_secret(name: str) -> bool:
    """Whether what stands under such a name is one: `db_password`, `apiKey`."""
    return _NAMED.search(name[:_PIECE].translate(_PLAIN)) is not None


def _spans(text: str) -> list[tuple[int, int, int]]:
    """What is taken out: where it begins and ends, and which of `FINDERS` says so."""
    places = range(0, len(text), _PIECE)
    plain = "".join([text[at : at + _PIECE].translate(_PLAIN) for at in places])
    found = [(*span, 0) for span in _private(plain)]
    for at in places:
        end = min(at + _PIECE + _OVERLAP, len(plain))
        for rank, (find, _) in enumerate(FINDERS):
            for start, stop in find(plain, at, end):
                # It may go on behind what was seen.
                rest = _WORD_END.match(plain, stop) if stop == end else None
                found.append((start, rest.end() if rest else stop, rank))
    return found


def _merged(spans: list[tuple[int, int, int]]) -> Iterator[tuple[int, int, str]]:
    """In order, none within another: of what overlaps the first finder names the whole."""
    spans.sort()
    start = end = rank = 0
    for one_start, one_end, one_rank in spans:
        if one_start < end:
            end, rank = max(end, one_end), min(rank, one_rank)
            continue
        if end:
            yield start, end, FINDERS[rank][1]
        start, end, rank = one_start, one_end, one_rank
    if end:
        yield start, end, FINDERS[rank][1]


# ---- finders: between two places of a plain text -------------------------------------------------


def _private(plain: str) -> Iterator[Span]:
    """Blocks of private keys, whole; one that is cut off goes to the end."""
    at = 0
    while (found := _PRIVATE.search(plain, at)) is not None:
        ended = _PRIVATE_END.search(plain, found.end())
        at = ended.end() if ended else len(plain)
        yield found.start(), at


def _known(plain: str, at: int, end: int) -> Iterator[Span]:
    for found in _KNOWN.finditer(plain, at, end):
        if found[1] is None or _DIGIT.search(plain, *found.span()):
            yield found.span()


def _said(plain: str, at: int, end: int) -> Iterator[Span]:
    lowered = plain[at:end].lower()
    if not any(word in lowered for word in _SAYING):
        return
    for found in _SAID.finditer(plain, at, end):
        start = max(found.end(1), found.end(2), found.start(3), found.start(4))
        stop = found.end()
        while start < stop and plain[start] in _QUOTES:
            start += 1
        if start < stop:
            yield start, stop


def _in_url(plain: str, at: int, end: int) -> Iterator[Span]:
    for found in _IN_URL.finditer(plain, at, end):
        yield found.span(1)


def _long(plain: str, at: int, end: int) -> Iterator[Span]:
    for found in _LONG.finditer(plain, at, end):
        if _DIGIT.search(plain, *found.span()) and _LETTER.search(plain, *found.span()):
            yield found.span()


def _emails(plain: str, at: int, end: int) -> Iterator[Span]:
    for sign, pattern in (("@", _EMAIL), ("%40", _EMAIL_IN_URL)):
        if plain.find(sign, at, end) >= 0:
            for found in pattern.finditer(plain, at, end):
                yield found.span()


def _addresses(plain: str, at: int, end: int) -> Iterator[Span]:
    for found in _V4.finditer(plain, at, end):
        parts = found[0].split(".")
        if len(parts) == 4 and max(map(int, parts)) < 256:
            yield found.span()
    if plain.count(":", at, end) < 2:
        return
    for found in _V6.finditer(plain, at, end):
        if found.end() - found.start() <= _MAX_V6:
            for text in (found[0], found[0].rstrip(":.")):  # the end of a sentence
                if _is_v6(text):
                    yield found.start(), found.start() + len(text)
                    break


def _is_v6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:  # a time, say
        return False
    return text != "::"


FINDERS: Final[tuple[tuple[Callable[[str, int, int], Iterator[Span]], str], ...]] = (
    *((_known, KEY), (_said, KEY), (_in_url, KEY), (accounts, IBAN), (_long, KEY)),
    *((_emails, EMAIL), (_addresses, ADDRESS), (cards, CARD), (phones, PHONE)),
)
"""Each with the word for what it finds; what two of them find is the first's."""
