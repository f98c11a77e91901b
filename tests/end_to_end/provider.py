"""An identity provider for tests: it signs tokens, and publishes the key to verify them."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
        return f'{{issuer: "https://login", audience: penstock, {self.place}}}'

    @property
    def place(self) -> str:
        """Where its keys are."""
        return f'jwks_file: "{self.file}"'

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


class OnlineProvider(Provider):
    """One that is asked for its key over HTTP.

    Attributes:
        asked: how often it was.
    """

    def __init__(self, folder: Path) -> None:
        self.asked = 0
        self.url = ""
        super().__init__(folder)

    @property
    def place(self) -> str:
        return f'jwks_url: "{self.url}"'

    @contextmanager
    def online(self) -> Iterator[OnlineProvider]:
        """Answers on loopback until the block is left."""
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked += 1
                body = provider.file.read_bytes()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            self.url = f"http://127.0.0.1:{server.server_port}/keys"
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()
