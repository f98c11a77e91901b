"""Which origin a provider's URL means."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.llm.upstream.origins import origin_at
from gateway.llm.upstream.words import Origin, Proxy


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("https://api.openai.com/v1", Origin("https", "api.openai.com", 443), "/v1"),
        ("https://API.example/", Origin("https", "api.example", 443), ""),
        ("http://10.0.0.5:8000/v1/", Origin("http", "10.0.0.5", 8000), "/v1"),
        ("http://[::1]:8000", Origin("http", "::1", 8000), ""),
        ("https://b\u00fccher.example/a/b", Origin("https", "xn--bcher-kva.example", 443), "/a/b"),
    ],
)
def test_a_url_means_an_origin_and_a_path(url, origin, path):
    assert origin_at(url, {}) == (origin, path)


def test_what_is_said_beside_the_url_is_kept():
    environ = {"HTTPS_PROXY": "http://squid:3128", "NO_PROXY": "intern"}
    found, _ = origin_at(
        "https://api.example/v1",
        environ,
        ca_file=Path("ca.pem"),
        allow_private=True,
        max_connections=7,
    )
    assert found == Origin(
        "https", "api.example", 443, Path("ca.pem"), True, Proxy("squid", 3128), 7
    )
    assert origin_at("https://llm.intern", environ)[0].proxy is None


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host",
        "api.example/v1",
        "https://",
        "https:///v1",
        "https://user:secret@host",
        "https://host?x=y",
        "https://host#x",
        "https://host:0",
        "https://host:99999",
        "https://host:x",
        pytest.param("https://" + "\u00fc" * 70, id="label-that-is-too-long"),
    ],
)
def test_a_url_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match=r"expected|[Pp]ort") as refused:
        origin_at(url, {})
    assert "secret" not in str(refused.value)


def test_origins_that_are_equal_share_their_connections():
    first, second = (Origin("https", "api.example", 443) for _ in range(2))
    assert len({first, second, Origin("https", "api.example", 8443)}) == 2
    assert first != Origin("https", "api.example", 443, max_connections=1)
