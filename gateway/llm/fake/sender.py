"""Sends one answer at the pace of its script, or breaks it where the script says so.

Pauses are timers of the event loop. Knows frames and chunks. Knows nothing of dialects.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus

from gateway.llm.fake.answers import Answer
from gateway.llm.fake.frames import Piece, with_eol
from gateway.llm.fake.records import Received, Records

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_COMMENT = b": still here\n\n"
_PING = b'event: ping\ndata: {"type": "ping"}\n\n'
_GARBAGE = b"data: {\xff\xfe this is no JSON\n\n"
_SEED = 7


class Sender:
    """Sends one answer."""

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        records: Records,
        received: Received,
        answer: Answer | None,
        answered: Callable[[str], None],
    ) -> None:
        """Takes what to send, and what to call after it, with what becomes of the connection."""
        # Fixed at start.
        self._answered = answered
        self._transport = transport
        self._loop = loop
        self._records = records
        self._received = received
        self._script = received.script
        self._answer = answer
        # Of the answer so far.
        self._pieces: Iterator[Piece] = iter(())
        self._next: Piece | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._paused = False
        self._over = False
        self._chunked = False
        self._random = random.Random(_SEED + received.number)

    def start(self) -> None:
        """Begins, or does what is done instead."""
        script, answer = self._script, self._answer
        if answer is None:
            if script.drop:
                self._finish(whole=True)
                self._transport.abort()
            return
        self._received.status = answer.status
        if script.interim:
            self._transport.write(b"HTTP/1.1 %d Wait\r\n\r\n" % script.interim)
        if answer.pieces is None:
            pace = answer.tokens / script.rate if script.rate else 0.0
            self._after(script.ttft_s + pace, self._send_whole)
            return
        self._pieces = iter(answer.pieces)
        self._due = self._loop.time() + script.ttft_s
        if script.early_head:
            self._send_head()
            self._send_pieces()
        elif script.ttft_s:
            self._timer = self._loop.call_at(self._due, self._begin_stream)
        else:
            self._begin_stream()

    def left(self) -> None:
        """The caller has closed the connection."""
        if self._over:
            return
        self._stop()
        with self._records.change() as counts:
            counts["left"] += 1
            self._received.left_at = time.monotonic()

    def pause(self) -> None:
        """The caller does not read as fast as this writes."""
        self._paused = True
        with self._records.change():
            self._received.pauses += 1

    def resume(self) -> None:
        """It has caught up."""
        self._paused = False
        if not self._over and self._timer is None and self._next is not None:
            self._send_pieces()

    def _begin_stream(self) -> None:
        self._timer = None
        self._send_head()
        self._send_pieces()

    def _send_head(self) -> None:
        self._chunked = True
        self._transport.write(self._head([("transfer-encoding", "chunked")]))

    def _send_pieces(self) -> None:
        """Sends what is due, and has itself called for what is not yet."""
        self._timer = None
        while not self._paused:
            piece = self._next or next(self._pieces, None)
            self._next = None
            if piece is None:
                self._end_body()
                return
            if piece.token and not self._token_is_due(piece):
                return
            self._write(piece)
        self._next = self._next or next(self._pieces, Piece(b""))

    def _token_is_due(self, piece: Piece) -> bool:
        script = self._script
        if script.break_at == self._received.tokens:
            self._break()
            return False
        if self._due > self._loop.time():
            self._next = piece
            self._timer = self._loop.call_at(self._due, self._send_pieces)
            return False
        self._received.tokens += 1
        self._records.counts["tokens"] += 1
        if script.rate:
            # Of the time it was due, not of now: a late timer does not slow the stream down.
            wave = 1.0 + script.jitter * self._random.uniform(-1.0, 1.0) if script.jitter else 1.0
            self._due += wave / script.rate
        return True

    def _write(self, piece: Piece) -> None:
        frame = with_eol(piece.frame, self._script.eol)
        if self._script.comments:
            ping = _PING if "/messages" in self._received.path else _COMMENT
            frame = with_eol(ping, self._script.eol) + frame
        if not frame:
            return
        step = self._script.split or len(frame)
        parts = [frame[start : start + step] for start in range(0, len(frame), step)]
        self._transport.write(b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts))

    def _end_body(self) -> None:
        if self._chunked:
            self._transport.write(b"0\r\n\r\n")
        self._finish(whole=True)
        self._answered(self._script.then)

    def _send_whole(self) -> None:
        self._timer = None
        answer, script = self._answer, self._script
        assert answer is not None
        body = answer.body
        if script.break_at >= 0 and answer.status < 300:
            self._transport.write(self._head([("content-length", str(len(body)))]))
            self._transport.write(body[: len(body) // 2])
            self._break()
            return
        if script.framing == "chunked":
            half = len(body) // 2
            self._transport.write(
                self._head([("transfer-encoding", "chunked")])
                + b"".join(
                    b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:])
                )
                + b"0\r\n\r\n"
            )
        elif script.framing == "close":
            self._transport.write(self._head([("connection", "close")]) + body)
        else:
            self._transport.write(self._head([("content-length", str(len(body)))]) + body)
        self._received.tokens = answer.tokens
        self._records.counts["tokens"] += answer.tokens
        self._finish(whole=True)
        self._answered("close" if script.framing == "close" else script.then)

    def _break(self) -> None:
        """Ends, or does not end, an answer in the middle."""
        how, answer = self._script.break_as, self._answer
        assert answer is not None
        if how == "stall":
            return
        if how == "error":
            self._write(Piece(answer.broken))
        elif how == "garbage":
            self._write(Piece(_GARBAGE))
        elif how == "half":
            self._write(Piece(b'data: {"id": "chatcmpl-fa'))
        self._finish(whole=False)
        if how == "reset":
            self._transport.abort()
        elif how in ("cut", "half"):
            self._transport.close()
        else:
            self._transport.write(b"0\r\n\r\n" if self._chunked else b"")
            self._answered("" if self._chunked else "close")

    def _finish(self, whole: bool) -> None:
        self._stop()
        answer, received = self._answer, self._received
        with self._records.change() as counts:
            received.done = whole
            counts["answers"] += 1
            if whole and answer is not None and answer.counted is not None:
                received.input, received.output = answer.counted.input, answer.counted.output
                counts["input"] += received.input
                counts["output"] += received.output

    def _stop(self) -> None:
        self._over = True
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _after(self, seconds: float, call: object) -> None:
        assert callable(call)
        if seconds > 0:
            self._timer = self._loop.call_later(seconds, call)
        else:
            call()

    def _head(self, framing: list[tuple[str, str]]) -> bytes:
        answer = self._answer
        assert answer is not None
        lines = [f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Status')}"]
        lines += [f"{name}: {value}" for name, value in (*answer.headers, *framing)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")
