"""Where numbers of accounts, cards and telephones stand in a text.

Knows how they are written and checked. Knows nothing of what becomes of them. Texts are `plain`, as
`redaction` has them. From where one may begin only so much is read: time grows with length alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

Span = tuple[int, int]

_GAP: Final = r"[ \t()./-]"
_REGISTRY: Final = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 "
    "DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 "
    "IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 "
    "MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 "
    "SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"
)
"""Characters of an account's number, by country. Source: SWIFT, IBAN registry."""
_LENGTHS: Final = {one[:2]: int(one[2:]) for one in _REGISTRY.split()}
_ACCOUNTS: Final = {
    length: re.compile(rf"[A-Za-z]{{2}}\d\d(?:[ \t.-]{{0,2}}[A-Za-z0-9]){{{length - 4}}}")
    for length in set(_LENGTHS.values())
}
_ACCOUNT_HEAD: Final = re.compile(
    r"(?:(?<![A-Za-z0-9])|(?<=IBAN))[A-Za-z]{2}\d\d(?=[ \t.-]{0,2}[A-Za-z0-9])"
)
_BLANKS: Final = str.maketrans("", "", " \t()./-")
_AS_DIGITS: Final = {ord(one): str(int(one, 36)) for one in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}

# Payment cards begin with 2 to 6, and are printed whole, or in groups of three digits or more.
_CARD_HEAD: Final = re.compile(r"(?<!\d)[2-6]\d{2,}+")
_CARD_GROUP: Final = re.compile(_GAP + r"{1,3}(\d{2,7})(?!\d)")
_MIN_CARD, _MAX_CARD = 13, 19
_MAX_CARD_GROUP: Final = 6
_DOUBLED: Final = str.maketrans("0123456789", "0246813579")  # and the digits of that added

# International, in brackets, with its leading 0, or as North America writes them. E.164 knows no
# more than 15 digits. Behind a decimal point there is a fraction.
_PHONE: Final = re.compile(
    r"(?<!\d)(?:"
    rf"\+\(?\d(?:{_GAP}{{0,3}}\d){{6,14}}"
    rf"|\(\+?\d{{1,5}}\){_GAP}{{0,3}}\d(?:{_GAP}{{0,3}}\d){{5,12}}"
    r"|(?<!\d[.,])(?:"
    rf"0\d(?:{_GAP}{{0,3}}\d){{7,13}}"
    rf"|(?:1{_GAP}{{1,3}})?\d{{3}}{_GAP}{{1,3}}\d{{3}}{_GAP}{{1,3}}\d{{4}}"
    r"|\d{10}))(?!\d)"
)


def accounts(plain: str, at: int, end: int) -> Iterator[Span]:
    """Where international numbers of accounts stand.

    Source: ISO 13616, check digits by ISO 7064 MOD 97-10.
    """
    for head in _ACCOUNT_HEAD.finditer(plain, at, end):
        length = _LENGTHS.get(head[0][:2].upper())
        found = length and _ACCOUNTS[length].match(plain, head.start(), end)
        if found:
            text = found[0].translate(_BLANKS).upper()
            if int((text[4:] + text[:4]).translate(_AS_DIGITS)) % 97 == 1:
                yield found.span()


def cards(plain: str, at: int, end: int) -> Iterator[Span]:
    """Where numbers of payment cards stand."""
    done = at
    for head in _CARD_HEAD.finditer(plain, at, end):
        if head.start() >= done and (card_end := _card_end(plain, head, end)):
            done = card_end
            yield head.start(), done


def phones(plain: str, at: int, end: int) -> Iterator[Span]:
    """Where numbers of telephones stand."""
    for found in _PHONE.finditer(plain, at, end):
        yield found.span()


def _card_end(plain: str, head: re.Match[str], end: int) -> int:
    """Where the longest card's number ends that begins there; 0: none does."""
    digits, place, found = head[0], head.end(), 0
    sizes = [len(digits)]
    if _MAX_CARD_GROUP < sizes[0] < _MIN_CARD or sizes[0] > _MAX_CARD:
        return 0
    while True:
        if len(digits) >= _MIN_CARD and _printed(sizes) and _checks(digits):
            found = place
        group = _CARD_GROUP.match(plain, place, end)
        if group is None or len(digits) + len(group[1]) > _MAX_CARD:
            return found
        digits, place = digits + group[1], group.end()
        sizes.append(len(group[1]))


def _printed(sizes: list[int]) -> bool:
    """In groups as cards have them: of four and up to six, or alike but the last."""
    return (sizes[0] == 4 and max(sizes) <= _MAX_CARD_GROUP) or len(set(sizes[:-1])) < 2


def _checks(digits: str) -> bool:
    """Source: the check digit of ISO/IEC 7812-1, annex B."""
    each = digits[::-2] + digits[-2::-2].translate(_DOUBLED)
    return (sum(each.encode()) - len(each) * ord("0")) % 10 == 0
