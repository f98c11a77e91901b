"""An identity provider for tests: it signs tokens, and publishes the key to verify them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa


class Provider:
    """An identity provider: a private key, and the file with the public one."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "jwks.json"
        self.turn_over("first")

    def as_config(self) -> str:
        """What `access.jwt` says of it."""
        return f'{{issuer: "https://login", audience: penstock, jwks_file: "{self.file}"}}'

    def turn_over(self, kid: str) -> None:
        """Signs with a new key from now on, and publishes that one alone."""
        self.kid = kid
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        draft = self.file.with_suffix(".new")
        draft.write_text(json.dumps({"keys": [{**public, "kid": kid, "use": "sig"}]}))
        draft.replace(self.file)

    def token(self, role: str, lives_s: float = 600.0, **claims: Any) -> str:
        about: dict[str, Any] = {
            "iss": "https://login",
            "aud": "penstock",
            "sub": "ann",
            "role": role,
        }
        about |= {"exp": time.time() + lives_s, **claims}
        return jwt.encode(about, self.key, "RS256", {"kid": self.kid})
