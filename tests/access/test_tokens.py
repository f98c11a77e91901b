"""Tokens: only what the provider signed, for us, now, and for one role."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gateway.access.principal import NO_ROW
from gateway.access.tokens import MAX_REMEMBERED, TokenVerifier, read_jwks
from gateway.config import Jwt
from gateway.errors import ConfigInvalid

ISSUER, AUDIENCE = "https://login.example.com/", "penstock"
RULES = Jwt(issuer=ISSUER, audience=AUDIENCE, jwks_file="unused.json")


@pytest.fixture(scope="module")
def rsa_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def ec_key():
    return ec.generate_private_key(ec.SECP256R1())


def public(key, kid, **more):
    names = jwt.algorithms
    write = (names.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else names.ECAlgorithm).to_jwk
    return {**write(key.public_key(), as_dict=True), "kid": kid, **more}


@pytest.fixture
def document(rsa_key, ec_key):
    return {"keys": [public(rsa_key, "r"), public(ec_key, "e")]}


@pytest.fixture
def verifier(document):
    made = TokenVerifier(RULES)
    made.replace(read_jwks(json.dumps(document).encode()))
    return made


@pytest.fixture
def now():
    import time

    return time.time()


@pytest.fixture
def claims(now):
    return {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "role": "client", "exp": now + 600}


def token(claims, key, kid: str | None = "r", algorithm="RS256", **header):
    headers = header if kid is None else {"kid": kid, **header}
    return jwt.encode(claims, key, algorithm, headers).encode()


def packed(*parts):
    return b".".join(
        base64.urlsafe_b64encode(
            part if isinstance(part, bytes) else json.dumps(part).encode()
        ).rstrip(b"=")
        for part in parts
    )


def test_a_good_token_names_a_principal(verifier, claims, rsa_key, ec_key, now):
    models = claims | {"models": ["m"]}
    for good in (token(models, rsa_key), token(models, ec_key, "e", "ES256")):
        found = verifier.find(good, now)
        assert (found.id, found.name, found.role) == (0, "ann", "client")
        assert found.models == {"m"}
        assert found.until == claims["exp"]


def test_a_repeated_token_is_the_same_principal_until_it_expires(verifier, claims, rsa_key, now):
    good = token(claims, rsa_key)
    first = verifier.find(good, now)
    assert verifier.find(good, now) is first
    assert verifier.find(good, claims["exp"]) is None
    assert verifier.find(good, now) is not first


def test_new_keys_forget_what_the_old_ones_verified(verifier, claims, rsa_key, ec_key, now):
    good = token(claims, rsa_key)
    first = verifier.find(good, now)
    verifier.replace({"e": public(ec_key, "e")})
    assert first.until == 0.0
    assert verifier.find(good, now) is None


def test_what_is_remembered_is_bounded(verifier, claims, ec_key, now):
    tokens = [
        token(claims | {"jti": str(n)}, ec_key, "e", "ES256") for n in range(MAX_REMEMBERED + 3)
    ]
    first = [verifier.find(one, now) for one in tokens]
    assert all(first)
    assert verifier.find(tokens[-1], now) is first[-1]
    assert verifier.find(tokens[0], now) is not first[0]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"exp": -1}, id="expired"),
        pytest.param({"exp": None}, id="no-exp"),
        pytest.param({"nbf": 600}, id="not-yet"),
        pytest.param({"iat": 600}, id="from-the-future"),
        pytest.param({"iss": "https://login.example.com"}, id="another-issuer"),
        pytest.param({"iss": None}, id="no-issuer"),
        pytest.param({"aud": "else"}, id="another-audience"),
        pytest.param({"aud": None}, id="no-audience"),
        pytest.param({"role": None}, id="no-role"),
        pytest.param({"role": "root"}, id="unknown-role"),
        pytest.param({"role": "client admin"}, id="two-roles"),
        pytest.param({"role": ["viewer", "admin"]}, id="two-roles-in-a-list"),
        pytest.param({"role": {"admin": True}}, id="role-of-another-kind"),
        pytest.param({"models": {"m": 1}}, id="models-of-another-kind"),
        pytest.param({"exp": "soon"}, id="exp-of-another-kind"),
    ],
)
def test_claims_that_do_not_hold_make_no_principal(verifier, claims, rsa_key, now, change):
    for name, value in change.items():
        if value is None:
            del claims[name]
        elif isinstance(value, int):
            claims[name] = now + value
        else:
            claims[name] = value
    try:
        faulty = token(claims, rsa_key)
    except TypeError:  # PyJWT itself will not write some of them
        header = {"alg": "RS256", "kid": "r", "typ": "JWT"}
        unsigned = packed(header, claims)
        faulty = (
            unsigned
            + b"."
            + packed(jwt.algorithms.get_default_algorithms()["RS256"].sign(unsigned, rsa_key))
        )
    assert verifier.find(faulty, now) is None


def test_no_algorithm_but_those_that_a_key_is_for(verifier, claims, rsa_key, ec_key, now, document):
    pem = rsa_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    def hs256(secret, kid="r"):
        signed = packed({"alg": "HS256", "kid": kid}, claims)
        return signed + b"." + packed(hmac.digest(secret, signed, hashlib.sha256))

    modulus = document["keys"][0]["n"].encode()
    faulty = {
        "none": packed({"alg": "none", "kid": "r"}, claims, b""),
        "None": packed({"alg": "None", "kid": "r"}, claims, b""),
        "no algorithm": packed({"kid": "r"}, claims, b"x"),
        "the public key as a secret": hs256(pem),
        "the modulus as a secret": hs256(modulus),
        "an empty secret": hs256(b""),
        "another of the same key": token(claims, rsa_key, algorithm="PS256"),
        "a longer hash": token(claims, rsa_key, algorithm="RS512"),
        "the other key's": token(claims, ec_key, "r", "ES256"),
    }
    assert [name for name, one in faulty.items() if verifier.find(one, now) is not None] == []


def test_no_signature_but_the_providers(verifier, claims, rsa_key, now):
    good = token(claims, rsa_key)
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    header, body, signature = good.split(b".")
    admin = packed(claims | {"role": "admin"})
    own = jwt.algorithms.RSAAlgorithm.to_jwk(stranger.public_key(), as_dict=True)
    faulty = [
        token(claims, stranger),
        token(claims, stranger, jwk=own),
        token(claims, stranger, jku="http://127.0.0.1:1/keys", x5u="http://127.0.0.1:1/keys"),
        token(claims, rsa_key, kid=None),  # which of the two?
        token(claims, rsa_key, kid="unknown"),
        token(claims, rsa_key, kid="../../dev/null"),
        token(claims, rsa_key, crit=["exp"]),
        header + b"." + admin + b"." + signature,
        header + b"." + body + b".",
        header + b"." + body + b"." + signature[:-2],
        b"..",
        b"a.b.c",
        packed(b"[" * 3000, claims, b"x"),
        packed({"alg": ["RS256"], "kid": {}}, claims, b"x"),
    ]
    assert [verifier.find(one, now) for one in faulty] == [None] * len(faulty)
    assert verifier.find(good, now) is not None


def test_one_key_needs_no_name(claims, rsa_key, now):
    verifier = TokenVerifier(RULES)
    verifier.replace(read_jwks(json.dumps({"keys": [public(rsa_key, "r")]}).encode()))
    assert verifier.find(token(claims, rsa_key, kid=None), now) is not None


def test_a_role_may_stand_deep_inside(claims, rsa_key, now):
    rules = RULES.model_copy(update={"role_claim": "realm_access.roles"})
    verifier = TokenVerifier(rules)
    verifier.replace({"r": public(rsa_key, "r")})
    nested = claims | {"realm_access": {"roles": ["offline_access", "operator"]}}
    found = verifier.find(token(nested, rsa_key), now)
    assert found is not None
    assert found.role == "operator"
    assert verifier.find(token(claims, rsa_key), now) is None


def test_only_public_parts_of_public_keys_are_kept(rsa_key):
    private = jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key, as_dict=True) | {"kid": "r"}
    [kept] = read_jwks(json.dumps({"keys": [private]}).encode()).values()
    assert not {"d", "p", "q", "dp", "dq", "qi"} & set(kept)


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{}", id="no-keys"),
        pytest.param(b'{"keys": []}', id="none"),
        pytest.param(b'{"keys": [1]}', id="no-object"),
        pytest.param(b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', id="shared-secret"),
        pytest.param(b'{"keys": [{"kty": "RSA", "n": "x"}]}', id="half-a-key"),
        pytest.param(b"[" * 100_000, id="deep"),
    ],
)
def test_what_must_not_verify_anything_is_no_key_set(document):
    with pytest.raises(ConfigInvalid, match="JWKS") as refused:
        read_jwks(document)
    assert "c2VjcmV0" not in str(refused.value)


def test_short_keys_are_refused():
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    with pytest.raises(ConfigInvalid, match="2048 bits"):
        read_jwks(json.dumps({"keys": [public(short, "r")]}).encode())


def teamed(document, **rules):
    verifier = TokenVerifier(RULES.model_copy(update=rules))
    verifier.replace(read_jwks(json.dumps(document).encode()))
    return verifier


@pytest.mark.parametrize(
    ("groups", "rows"),
    [
        pytest.param(["staff", "web", "vpn"], (4,), id="one-among-groups-of-all-kinds"),
        pytest.param("ops web web", (5, 4), id="each-of-several-once"),
        pytest.param(["staff"], (9,), id="none-of-them"),
        pytest.param([], (9,), id="empty"),
        pytest.param(None, (9,), id="null"),
    ],
)
def test_a_token_counts_against_the_teams_that_it_names(
    document, claims, rsa_key, now, groups, rows
):
    verifier = teamed(document, team_claim="realm.groups", team="others")
    verifier.replace_teams({"web": 4, "ops": 5, "others": 9})
    good = token(claims | {"realm": {"groups": groups}}, rsa_key)
    assert verifier.find(good, now).rows == rows
    assert [verifier.limit_name(row) for row in (4, 9, 1)] == ["web", "others", ""]


def test_a_token_without_the_claim_counts_against_the_team_of_all_others_if_there_is_one(
    document, claims, rsa_key, now
):
    good = token(claims, rsa_key)
    for rules, rows in (
        ({"team_claim": "groups", "team": "others"}, (9,)),
        ({"team": "others"}, (9,)),
        ({"team_claim": "groups"}, ()),
        ({}, ()),
    ):
        verifier = teamed(document, **rules)
        verifier.replace_teams({"web": 4, "others": 9})
        assert verifier.find(good, now).rows == rows
        assert verifier.has_teams == bool(rules)


@pytest.mark.parametrize("groups", [7, {"web": True}, ["web", 7], ["a", "b", "c", "d", "e"]])
def test_teams_that_are_too_many_or_no_words_make_no_good_token(
    document, claims, rsa_key, now, groups
):
    verifier = teamed(document, team_claim="groups", team="others")
    verifier.replace_teams({name: n for n, name in enumerate(("others", *"abcde", "web"))})
    assert verifier.find(token(claims | {"groups": groups}, rsa_key), now) is None


def test_before_teams_are_known_nobody_can_say_what_a_token_counts_against(
    document, claims, rsa_key, now
):
    verifier = teamed(document, team_claim="groups")
    good = token(claims | {"groups": ["web"]}, rsa_key)
    early = verifier.find(good, now)
    assert early.rows == (NO_ROW,)
    verifier.replace_teams({"web": 4, "ops": 5})
    assert early.until == 0.0
    assert verifier.find(good, now).rows == (4,)
    verifier.change_teams({"web": 6}, ["ops"])
    assert verifier.find(good, now).rows == (6,)
    assert verifier.limit_name(5) == ""
