"""A server that answers as it is told, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """None as its status hangs up without an answer; `after` is set before it is given."""

    status: int | None = 200
    body: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    after: threading.Event | None = None


@dataclass
class Asked:
    line: str
    headers: Mapping[str, str]
    body: bytes
    connection: Any


@dataclass
class Upstream:
    url: str
    asked: list[Asked] = field(default_factory=list)


@contextmanager
def upstream(replies: Sequence[Reply]) -> Iterator[Upstream]:
    """A server on a free port; once its replies are used up it repeats the last."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            here.asked.append(
                Asked(f"{self.command} {self.path}", headers, body, self.client_address)
            )
            reply = replies[min(len(here.asked), len(replies)) - 1]
            if reply.after is not None:
                reply.after.wait(30)
            if reply.status is None:
                self.close_connection = True
                return
            self._answer(reply)

        do_GET = do_POST  # noqa: N815  # the base class' name for it

        def _answer(self, reply: Reply) -> None:
            given = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status or 200)
            for name, value in {**reply.headers, "content-length": str(len(given))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(given)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        here = Upstream(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield here
        finally:
            server.shutdown()
            thread.join()
