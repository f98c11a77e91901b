"""What is read from a head, and the heads that are written: without a socket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Limits
from gateway.errors import ConfigInvalid, MalformedHttp, QueueFull, Retired
from gateway.wire import answers
from gateway.wire.forwarded import TrustedProxies
from gateway.wire.head import read_echo, read_head, without_upgrade

HOST = (b"host", b"test")


def read(*headers, target=b"/", method=b"POST", version="1.1", keep_alive=True):
    return read_head(method, target, version, keep_alive, (HOST, *headers), Limits())


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/a", b"/a", b""),
        (b"/a?b=c?d", b"/a", b"b=c?d"),
        (b"/a%2Fb?%20", b"/a%2Fb", b"%20"),
        (b"/a?b#c", b"/a", b"b"),
        (b"//a/b", b"//a/b", b""),
        (b"http://host/a?b", b"/a", b"b"),
        (b"http://host", b"/", b""),
    ],
)
def test_a_target_is_a_raw_path_and_a_raw_query(target, path, query):
    head = read(target=target)
    assert (head.path, head.query) == (path, query)


def test_the_star_is_for_options():
    assert read(target=b"*", method=b"OPTIONS").path == b"*"
    with pytest.raises(MalformedHttp):
        read(target=b"*")


def test_the_first_of_several_values_is_found():
    head = read((b"a", b"1"), (b"b", b"2"), (b"a", b"3"))
    assert [head.first(name) for name in (b"a", b"b", b"c")] == [b"1", b"2", None]


def test_framing_and_expectation():
    assert read((b"content-length", b"12")).length == 12
    assert read((b"transfer-encoding", b"chunked")).length is None
    assert read((b"expect", b"100-Continue")).expects_continue
    assert not read((b"expect", b"100-continue"), version="1.0").expects_continue


def test_only_a_plain_head_gets_the_shortest_answer():
    assert read().plain
    assert not read(keep_alive=False).plain
    assert not read(version="1.0").plain
    assert not read((b"x-request-id", b"a")).plain


@given(st.binary(max_size=300))
def test_what_is_echoed_cannot_leave_its_line(value):
    echo = read_echo(value)
    assert echo is None or (len(echo) <= 256 and all(0x20 <= byte < 0x7F for byte in echo))


def test_an_offer_to_upgrade_is_taken_out_and_the_rest_kept():
    headers = [
        HOST,
        (b"connection", b"Upgrade, HTTP2-Settings, keep-alive"),
        (b"upgrade", b"h2c"),
        (b"http2-settings", b"AAAA"),
        (b"content-length", b"3"),
    ]
    assert without_upgrade(b"POST", b"/a", "1.1", headers) == (
        b"POST /a HTTP/1.1\r\nhost: test\r\nconnection: keep-alive\r\ncontent-length: 3\r\n\r\n"
    )
    assert without_upgrade(b"GET", b"/", "1.0", [(b"connection", b"upgrade")]) == (
        b"GET / HTTP/1.0\r\n\r\n"
    )


def test_an_answers_head():
    assert answers.head(204, 0, b"id", content_type=None) == (
        b"HTTP/1.1 204 No Content\r\npenstock-request-id: id\r\n\r\n"
    )
    assert answers.head(599, 2, b"id", echo=b"mine", close=True) == (
        b"HTTP/1.1 599 \r\ncontent-type: application/json\r\ncontent-length: 2\r\n"
        b"penstock-request-id: id\r\nx-request-id: mine\r\nconnection: close\r\n\r\n"
    )


@pytest.mark.parametrize(
    "header", [(b"a b", b"c"), (b"", b"c"), (b"a", b"b\r\nc: d"), (b"a", b"\0")]
)
def test_a_header_that_is_none_is_not_written(header):
    with pytest.raises(ValueError, match="not a legal header"):
        answers.head(200, 0, b"id", headers=[header])


def test_an_errors_body_is_json_whatever_its_message_holds():
    assert answers.error_body('a "b" \ud800 \x00') == b'{"error":"a \\"b\\" ? \\u0000"}'


def test_an_errors_headers_carry_its_code_and_when_to_try_again():
    assert answers.error_headers(QueueFull("full")) == (
        (b"penstock-error-code", b"queue_full"),
        (b"retry-after", b"1"),
    )
    assert answers.error_headers(MalformedHttp("bad")) == (
        (b"penstock-error-code", b"malformed_http"),
    )
    gone = Retired("gone")
    assert answers.error_headers(gone) == ((answers.ERROR_CODE, b"retired"),)
    gone.successor_path = "/v2/models/m/versions/2"
    link = (b"link", b'</v2/models/m/versions/2>; rel="successor-version"')
    assert answers.error_headers(gone)[1] == link


def test_a_place_that_is_none_is_a_fault_with_its_path():
    with pytest.raises(ConfigInvalid, match=r"server.trusted_proxies\[1\].*'nowhere'"):
        TrustedProxies(["10.0.0.1", "nowhere"])


def test_ipv4_in_ipv6_is_ipv4():
    trusted = TrustedProxies(["10.0.0.0/8"])
    assert trusted.client("::ffff:10.0.0.1", [(b"x-forwarded-for", b"1.2.3.4")]) == "1.2.3.4"


def test_a_chain_of_trusted_proxies_is_followed_to_its_beginning():
    trusted = TrustedProxies(["10.0.0.0/8"])
    headers = [(b"x-forwarded-for", b"10.0.0.3"), (b"x-forwarded-for", b"10.0.0.2")]
    assert trusted.client("10.0.0.1", headers) == "10.0.0.3"


def test_headers_that_are_written_once_stand_as_any_others_do():
    headers = answers.Written.write([(b"x-a", b"1"), (b"x-b", b"two")])
    assert answers.lines_of(headers) == b"x-a: 1\r\nx-b: two\r\n"
    assert answers.head(200, 0, b"id", headers=headers) == answers.head(
        200, 0, b"id", headers=list(headers)
    )
    assert answers.lines_of([(b"x-a", b"1")]) is None
    assert answers.lines_of(()) == b""
    with pytest.raises(ValueError, match="not a legal header"):
        answers.Written.write([(b"x-a", b"1\r\nx-b: 2")])
