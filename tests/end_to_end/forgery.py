"""Tokens that an identity provider never gave, and those that it gave for something else."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable

from cryptography.hazmat.primitives import serialization

from tests.end_to_end.provider import Provider


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def with_header(token: str, **header: str) -> str:
    """The same claims under another header, not signed yet."""
    return base64url(json.dumps(header).encode()) + "." + token.split(".")[1]


def signed_with_public_key(provider: Provider, role: str) -> str:
    """Algorithm confusion: the public key taken for a shared secret."""
    pem = provider.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    content = with_header(provider.token(role), alg="HS256", kid=provider.kid)
    return f"{content}.{base64url(hmac.digest(pem, content.encode(), 'sha256'))}"


def claiming_more(provider: Provider, role: str) -> str:
    """The claims of a good token changed under its signature."""
    header, _, signature = provider.token("viewer").split(".")
    return f"{header}.{provider.token(role).split('.')[1]}.{signature}"


def cut(provider: Provider, role: str) -> str:
    return provider.token(role).rpartition(".")[0] + "."


FORGED: dict[str, Callable[[Provider, Provider, str], str]] = {
    "expired": lambda provider, _, role: provider.token(role, lives_s=-1),
    "not yet good": lambda provider, _, role: provider.token(role, nbf=time.time() + 600),
    "for another audience": lambda provider, _, role: provider.token(role, aud="else"),
    "of another issuer": lambda provider, _, role: provider.token(role, iss="https://else"),
    "of no role": lambda provider, _, __: provider.token("root"),
    "signed by a stranger": lambda _, stranger, role: stranger.token(role),
    "signed with the public key": lambda provider, _, role: signed_with_public_key(provider, role),
    "without a signature": lambda provider, _, role: cut(provider, role),
    "with another's signature": lambda provider, _, role: claiming_more(provider, role),
    "with algorithm none": lambda provider, _, role: (
        with_header(provider.token(role), alg="none", kid=provider.kid) + "."
    ),
    "with a key of its own": lambda provider, _, role: (
        with_header(provider.token(role), alg="RS256", kid="../../dev/null") + ".eA"
    ),
    "of no JSON": lambda *_: "a.b.c",
    "of deep JSON": lambda *_: base64url(b"[" * 3000) + "." + base64url(b"[" * 2000) + ".eA",
}
"""By what is wrong: made with the provider, another that nobody trusts, and the role it wants."""
