"""A receiver of webhooks for tests: takes what is POSTed, and answers as it is told to."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "open sesame"


@dataclass(frozen=True)
class Post:
    path: str
    headers: dict[str, str]
    body: bytes
    answered: int

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def signed(self) -> bool:
        """Whether the signature is what whoever knows the secret computes."""
        about = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}."
        mac = hmac.new(SECRET.encode(), about.encode() + self.body, hashlib.sha256)
        wanted = "v1," + base64.b64encode(mac.digest()).decode()
        return hmac.compare_digest(self.headers["webhook-signature"], wanted)


class Receiver:
    """Keeps every POST.

    Attributes:
        url: where it listens.
        answers: statuses of the next answers; 204 once they are used up.
    """

    def __init__(self) -> None:
        self.url = ""
        self.posts: list[Post] = []
        self.answers: deque[int] = deque()

    @property
    def taken(self) -> list[Post]:
        return [post for post in self.posts if post.answered == 204]


@contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status = receiver.answers.popleft() if receiver.answers else 204
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.posts.append(Post(self.path, headers, body, status))
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(20)
