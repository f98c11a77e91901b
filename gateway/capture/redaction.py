"""Takes out of a text what names people or opens doors: addresses, numbers, keys.

Knows how such things are written. Knows nothing of where a text comes from, or of JSON. It rather
takes too much than too little, and it goes by form alone: a name, or a secret that looks like a
word, stays.

Any text is read in time linear in its length: a part that repeats never gives back what it took
(`++`), or has a bound, and starts where nothing of its kind stands before it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Final

KEY, EMAIL, ADDRESS, IBAN, CARD, PHONE = (
    *("[key]", "[email]", "[ip]"),
    *("[iban]", "[card]", "[phone]"),
)

_PRIVATE: Final = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]*+(?:-----END [A-Z ]{0,40}-----)?"
)
# What providers and services begin theirs with, this gateway's own among them.
_KNOWN: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?:sk|pk|rk|gsk|xai|psk|ptk|whsec|glpat|npm|hf|pat|shpat|dop_v1|github_pat|gh[opsur]"
    r"|xox[a-z])[-_]"
    r"(?=[A-Za-z0-9_-]{0,200}[0-9])[A-Za-z0-9_-]{12,}+"
    r"|AIza[A-Za-z0-9_-]{30,}+|(?:AKIA|ASIA)[A-Z0-9]{16}"
    r"|eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]++(?:\.[A-Za-z0-9_-]++)?)"
)
# What is said to be one: `password: hunter2`, `Authorization: Bearer x`.
_SAID: Final = re.compile(
    r"(?i)((?:(?:api|access|account|auth|private)[_ -]?key"
    r"|secret|token|password|passwd|pwd|authorization)"
    r"[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?:bearer |basic )?|(?<![a-z])bearer )"
    r"(?!\[)[^\s\"',;]{4,}+"
)
_SAYING: Final = ("key", "secret", "token", "passw", "pwd", "authorization", "bearer")
# A word as long as that, of letters and digits both, is no word.
_LONG: Final = re.compile(
    r"(?<![A-Za-z0-9_+/-])(?=[A-Za-z_+/-]*+[0-9])(?=[0-9_+/-]*+[A-Za-z])[A-Za-z0-9_+/-]{32,}+={0,2}"
)
_EMAIL: Final = re.compile(r"(?<![\w.%+'-])[\w.%+'-]++@[\w-]++(?:\.[\w-]++)+")
_V4: Final = re.compile(r"\d{1,3}(?:\.\d{1,3}){3,}+")
_V6: Final = re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
_IBAN: Final = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30}")
# Digits with what stands between those of numbers; too few are none.
_DIGITS: Final = re.compile(r"(?<!\d)[+(]{0,2}\d(?:[ ()./\u00a0\u2011\u2013-]{0,3}\d){7,}+")
_GROUPS: Final = re.compile(r"\d+")
_MIN_CARD, _MAX_CARD = 13, 19
_MAX_CARD_GROUP: Final = 6
_MIN_IBAN: Final = 11  # of the shortest, after its first four characters
# A longer run of digits is looked at no closer, and left out.
_MAX_RUN: Final = 200
_MIN_PHONE, _MAX_PHONE = 9, 15  # E.164 knows no longer ones
_MAX_PHONE_GROUPS: Final = 6


def redacted(text: str) -> str:
    """The text, with a word in brackets in the place of each thing that is taken out."""
    text = _PRIVATE.sub(KEY, text)
    text = _KNOWN.sub(KEY, text)
    lowered = text.lower()
    if any(word in lowered for word in _SAYING):
        text = _SAID.sub(rf"\g<1>{KEY}", text)
    if "@" in text:
        text = _EMAIL.sub(EMAIL, text)
    text = _judged(_IBAN, text, _iban_end, IBAN)
    text = _LONG.sub(KEY, text)
    if ":" in text:
        text = _V6.sub(_address, text)
    text = _V4.sub(_address_of_four, text)
    return _DIGITS.sub(_number, text)


def _judged(pattern: re.Pattern[str], text: str, end_of: Callable[[str], int], word: str) -> str:
    """With `word` in the place of what begins where `pattern` does, and ends where `end_of` says.

    What that says no to may begin a little later, within the same match.
    """
    pieces: list[str] = []
    done = at = 0
    while (found := pattern.search(text, at)) is not None:
        end = end_of(found[0])
        at = found.start() + (end or 2)
        if end:
            pieces += (text[done : found.start()], word)
            done = at
    return "".join(pieces) + text[done:] if pieces else text


def _iban_end(text: str) -> int:
    """How many characters of it are an IBAN, by its check digits; 0: none.

    Source: ISO 13616, check digits by ISO 7064 MOD 97-10.
    """
    head = int("".join([str(int(one, 36)) for one in text[:4]]))  # goes behind the rest: six digits
    end = rest = count = 0
    for place, one in enumerate(text[4:], 5):
        if one in " -":
            continue
        value = int(one, 36)
        rest = (rest * (100 if value > 9 else 10) + value) % 97
        count += 1
        if count >= _MIN_IBAN and (rest * 10**6 + head) % 97 == 1:
            end = place
    return end


def _address(found: re.Match[str]) -> str:
    try:
        ipaddress.IPv6Address(found[0])
    except ValueError:  # a time, say
        return found[0]
    return ADDRESS


def _address_of_four(found: re.Match[str]) -> str:
    start, parts = found.start(), found[0].split(".")
    longer = start and found.string[start - 1] in "0123456789."
    if longer or len(parts) > 4 or max(map(int, parts)) > 255:
        return found[0]
    return ADDRESS


def _number(found: re.Match[str]) -> str:
    """Of a run of digits: nothing but what is no card's and no telephone's number."""
    text = found[0]
    if len(text) > _MAX_RUN:
        return "[number]"
    places = [(one.start(), one.end()) for one in _GROUPS.finditer(text)]
    if (card := _span(text, places, _MAX_CARD, _is_card)) is not None:
        start, end = card
        # What stands beside one may be another.
        before, after = (_DIGITS.sub(_number, part) for part in (text[:start], text[end:]))
        return f"{before}{CARD}{after}"
    # Where a telephone's number ends among other digits nobody can say.
    return text if _span(text, places, _MAX_PHONE, _is_phone) is None else PHONE


def _span(
    text: str,
    places: list[tuple[int, int]],
    most: int,
    is_one: Callable[[str, list[str]], bool],
) -> tuple[int, int] | None:
    """Where the first and longest number of a kind stands, of whole groups of digits.

    Args:
        text: a run of digits.
        places: of its groups.
        most: digits of such a number.
        is_one: says whether these groups, after these signs, are one.
    """
    last = 0
    for first, (start, _) in enumerate(places):
        signs = text[last:start].lstrip(" ./-")
        groups: list[str] = []
        end = 0
        for group_start, group_end in places[first:]:
            groups.append(text[group_start:group_end])
            if sum(map(len, groups)) > most:
                break
            if is_one(signs, groups):
                end = group_end
        if end:
            return start - len(signs), end
        last = places[first][1]
    return None


def _is_card(signs: str, groups: list[str]) -> bool:
    """Source: the check digit of ISO/IEC 7812-1, annex B."""
    digits, sizes = "".join(groups), [len(one) for one in groups]
    printed = (sizes[0] == 4 and max(sizes) <= _MAX_CARD_GROUP) or len(set(sizes[:-1])) < 2
    if len(digits) < _MIN_CARD or not printed or not digits.strip("0"):
        return False
    total = 0
    for place, one in enumerate(reversed(digits)):
        value = int(one) << (place & 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _is_phone(signs: str, groups: list[str]) -> bool:
    """International, in brackets, with its leading 0, or as North America writes them."""
    sizes = [len(one) for one in groups]
    if sum(sizes) < _MIN_PHONE or len(groups) > _MAX_PHONE_GROUPS:
        return False
    american = sizes in ([3, 3, 4], [1, 3, 3, 4], [10])
    leading = groups[0].startswith("0") and sizes[0] > 1
    return american or leading or signs.startswith(("+", "("))
