"""What names people or opens doors is taken out of texts, and all else stays."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.capture.redaction import redacted

SIZE = 300_000
KEYS = [
    *("sk-proj-abcdEFGH1234ijkl5678", "sk-ant-api03-Zx9_-q8w7e6r5t4", "psk_0123456789abcdefABCDEF"),
    *("AKIAIOSFODNN7EXAMPLE", "AIzaSyA-1234567890abcdefghijklmnopqrs"),
    *("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "xoxb-1234567890-abcdefghij"),
    *("hf_AbCdEf0123456789xyz", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("write to anna.b+x@example.co.uk!", "write to [email]!", id="email"),
        pytest.param("josé@bücher.example", "[email]", id="email-beyond-ascii"),
        pytest.param("call +49 (0) 171 1234567.", "call [phone].", id="phone-abroad"),
        pytest.param("(555) 123-4567, 555-123-4567", "[phone], [phone]", id="phone-american"),
        pytest.param("0171/1234567, 01 23 45 67 89", "[phone], [phone]", id="phone-local"),
        pytest.param("pay 4111 1111 1111 1111 now", "pay [card] now", id="card"),
        pytest.param("1 4111-1111-1111-1111 2", "1 [card] 2", id="card-among-digits"),
        pytest.param("nr378282246310005x", "nr[card]x", id="card-amid-letters"),
        pytest.param("DE89 3704 0044 0532 0130 00 it is", "[iban] it is", id="iban"),
        pytest.param("AB12 gb82west12345698765432", "AB12 [iban]", id="iban-after-another-word"),
        pytest.param("from 10.0.0.255, or 2001:db8::1", "from [ip], or [ip]", id="addresses"),
        pytest.param("password: hunter2, ok", "password: [key], ok", id="a-password"),
        pytest.param('{"api_key": "x9y8z7"}', '{"api_key": "[key]"}', id="a-key-in-json"),
        pytest.param("Authorization: Bearer abc.def", "Authorization: Bearer [key]", id="bearer"),
        *(pytest.param(f"it is {key}.", "it is [key].", id=key[:6]) for key in KEYS),
        pytest.param(
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nx",
            "[key]\nx",
            id="private-key",
        ),
    ],
)
def test_what_names_somebody_or_opens_a_door_is_taken_out(text, told):
    assert redacted(text) == told


@pytest.mark.parametrize(
    "text",
    [
        "On 2026-11-26 at 15:00:30 we sold 12345678 of them for 1,234,567.89.",
        "the token economy and its secret garden; a bearer of news, risk-free-2day-things",
        "version 1.2.3, the year 999.1.1.1, 0.25 0.125 0.5, 3.14159265358979",
        "a@b, @handle, DE89 and AB12CD34EF",
        "Grüße aus Köln, 你好, привет",
    ],
)
def test_all_else_stays(text):
    assert redacted(text) == text


pieces = st.sampled_from(
    [
        *"a1+(@.:-_ /=",
        "sk-",
        "4111 ",
        "DE89 3704 0044 0532 0130 00",
        "[key]",
        "a@b.cd",
        "::",
        "0171",
    ]
)


@given(st.one_of(st.text(max_size=60), st.lists(pieces, max_size=25).map("".join)))
def test_any_text_is_read_and_comes_to_rest(text):
    once = redacted(text)
    assert redacted(redacted(once)) == redacted(once)


HOSTILE = {
    "one-word": "a",
    "at-signs": "a@",
    "domains": "a@a.",
    "digits": "1",
    "spaced-digits": "1 ",
    "no-cards": "4111 ",
    "no-ibans": "AB12 ",
    "longer-no-ibans": "AB12CD34",
    "colons": "abcd:",
    "addresses": "1.1.1.1",
    "short-addresses": "::1 ",
    "private": "-----BEGIN PRIVATE KEY-----",
    "half-private": "-----BEGIN ",
    "keys": "sk-",
    "keys-without-end": "sk-a1",
    "tokens": "eyJaaaaaaaaa.",
    "words-before-keys": "a_b_token=",
    "api-keys": "api_key_",
    "dashes": "-",
    "slashes": "a/1-",
    "brackets": "1(",
    "blanks": "password  ",
    "quotes": "a'",
}


@pytest.mark.parametrize("part", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_text_takes_out_of_proportion_long(part):
    def seconds(text: str) -> float:
        began = time.thread_time()
        redacted(text)
        return time.thread_time() - began

    prose = "The quick brown fox jumps over the lazy dog. "
    # A pattern that looks back at what it read takes some ten thousand times as long, not ten.
    assert seconds(part * (SIZE // len(part))) < 100 * seconds(prose * (SIZE // len(prose)))
