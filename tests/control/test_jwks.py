"""Control follows an identity provider's keys, and keeps the last while there are no others."""

from __future__ import annotations

import http.server
import json
import threading
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.access.tokens import TokenVerifier
from gateway.config import Jwt
from gateway.control.jwks import Jwks
from gateway.errors import ConfigInvalid, ControlUnavailable

pytestmark = pytest.mark.anyio

ALWAYS = {"fetch_s": 0.0, "retry_s": 0.0}
"""Every look is due."""


class Provider:
    """An identity provider on loopback that says what it is told to."""

    def __init__(self):
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(provider.status)
                self.send_header("content-length", str(len(provider.body)))
                self.end_headers()
                self.wfile.write(provider.body)

            def log_message(self, *_):
                pass

        self.status = 200
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"
        self.turn_over("first")

    def turn_over(self, kid):
        self.kid, self.key = kid, ec.generate_private_key(ec.SECP256R1())
        public = jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        self.body = json.dumps({"keys": [{**public, "kid": kid}]}).encode()

    def token(self):
        claims = {"iss": "i", "aud": "a", "role": "client", "exp": time.time() + 60}
        return jwt.encode(claims, self.key, "ES256", {"kid": self.kid}).encode()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def provider():
    made = Provider()
    yield made
    made.stop()


def follower(url, home, note=lambda *_: None, **times):
    where = Jwt(issuer="i", audience="a", jwks_url=url)
    verifier = TokenVerifier(where, lambda: jwks.ask())
    jwks = Jwks(where, verifier, None, home / "jwks.json", note, **times)
    return jwks, verifier


async def test_new_keys_take_the_place_of_old_ones(provider, tmp_path):
    jwks, verifier = follower(provider.url, tmp_path, **ALWAYS)
    await jwks.look()
    old = provider.token()
    assert verifier.find(old, time.time())
    provider.turn_over("second")
    await jwks.look()
    assert verifier.find(old, time.time()) is None
    assert verifier.find(provider.token(), time.time())


async def test_the_last_keys_stand_while_the_provider_says_nonsense(provider, tmp_path):
    jwks, verifier = follower(provider.url, tmp_path, **ALWAYS)
    await jwks.look()
    good = provider.token()
    for status, body in ((500, b""), (302, b""), (200, b"<html>"), (200, b" " * (2 << 20))):
        provider.status, provider.body = status, body
        with pytest.raises((ControlUnavailable, ConfigInvalid)):
            await jwks.look()
        assert verifier.find(good, time.time())


async def test_a_successor_starts_from_the_last_keys(provider, tmp_path):
    first, _ = follower(provider.url, tmp_path, **ALWAYS)
    await first.look()
    provider.status = 503
    second, verifier = follower(provider.url, tmp_path, **ALWAYS)
    with pytest.raises(ControlUnavailable):
        await second.look()
    assert verifier.find(provider.token(), time.time())


async def test_the_last_keys_are_written_whole_or_not_at_all(provider, tmp_path):
    jwks, _ = follower(provider.url, tmp_path, **ALWAYS)
    kept = tmp_path / "jwks.json"
    await jwks.look()
    first = kept.stat().st_ino
    provider.turn_over("second")
    await jwks.look()
    assert [one["kid"] for one in json.loads(kept.read_bytes())["keys"]] == ["second"]
    assert kept.stat().st_ino != first  # replaced, never half written
    assert list(tmp_path.iterdir()) == [kept]


async def test_a_token_of_a_key_that_is_not_here_has_the_provider_asked_again(provider, tmp_path):
    jwks, verifier = follower(provider.url, tmp_path, asked_s=0.0)
    await jwks.look()
    provider.turn_over("second")
    await jwks.look()  # is not due
    assert verifier.find(provider.token(), time.time()) is None
    await jwks.look()
    assert verifier.find(provider.token(), time.time())


async def test_a_provider_that_is_asked_for_has_its_rest(provider, tmp_path):
    jwks, verifier = follower(provider.url, tmp_path, asked_s=60.0)
    await jwks.look()
    provider.turn_over("second")
    for _ in range(100):
        assert verifier.find(provider.token(), time.time()) is None
        await jwks.look()


async def test_who_may_sign_is_told_whenever_it_changes(provider, tmp_path, caplog):
    told = []

    def note(*change):
        told.append(change)

    jwks, _ = follower(provider.url, tmp_path, note, **ALWAYS)
    for _ in range(2):
        await jwks.look()
    provider.turn_over("first")  # another key of the same name
    await jwks.look()
    successor, _ = follower(provider.url, tmp_path, note, **ALWAYS)
    await successor.look()
    provider.turn_over("second")
    await successor.look()
    assert [(what, about) for what, about, _, _ in told] == [("jwks change", provider.url)] * 3
    kids = [(list(before["keys"]), list(after["keys"])) for _, _, before, after in told]
    assert kids == [([], ["first"]), (["first"], ["first"]), (["first"], ["second"])]
    assert told[1][2] != told[1][3]
    assert caplog.text.count("access.jwt: keys that sign tokens") == 3


async def test_it_is_not_asked_before_it_is_due(provider, tmp_path):
    jwks, verifier = follower(provider.url, tmp_path)
    await jwks.look()
    provider.turn_over("second")
    await jwks.look()
    assert verifier.find(provider.token(), time.time()) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example.com/keys",
        "ftp://x",
        "http://127.0.0.1.evil.com/",
        "http://localhost:80@evil.com/",
        "https://user:password@login.example.com/",
        "file:///x",
    ],
)
def test_keys_are_fetched_only_where_nobody_can_change_them_on_the_way(url):
    with pytest.raises(ValueError, match="jwks_url"):
        Jwt(issuer="i", audience="a", jwks_url=url)


@pytest.mark.parametrize("url", ["https://login.example.com:8443/a/b", "http://[::1]:80/keys"])
def test_other_places_are_fine(url):
    assert Jwt(issuer="i", audience="a", jwks_url=url).jwks_url == url


def test_keys_come_from_one_place():
    for places in ({}, {"jwks_url": "https://x/", "jwks_file": "x"}):
        with pytest.raises(ValueError, match="either jwks_file or jwks_url"):
            Jwt.model_validate({"issuer": "i", "audience": "a", **places})
