"""Sets logging up for every process of a server: what a line looks like, and how it goes out.

Knows records of `logging` and the descriptor of standard error. Knows nothing of what is told.

A line is one write(2) of at most `MAX_LINE_BYTES`, so that lines of several processes that share a
pipe never mix. What a client sent may stand in a message: in text, control characters are escaped
and every further line of a traceback is indented, so that nobody can forge a line.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import select
import sys
import time
import traceback
from types import TracebackType
from typing import Any, Literal

import orjson

Format = Literal["text", "json"]
Level = Literal["info", "warning", "error"]

STDERR = 2
# Linux writes so much to a pipe in one piece or not at all.
MAX_LINE_BYTES = select.PIPE_BUF
MAX_FIELD_CHARACTERS = 256
CUT = "[...]"
_INDENT = "\n    "
# Control characters of both sets, and what else some readers take for the end of a line.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_KNOWN = frozenset(
    {*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName", "color_message"}
)
_WHOLE_NUMBERS = range(-(1 << 63), 1 << 63)


def set_up(form: Format, level: Level, process: str) -> None:
    """Has every logger write to standard error; children that are forked later do the same.

    Args:
        form: lines for people, or one JSON object a line.
        level: the least that our own loggers tell; others' tell warnings at most.
        process: what this process is called, `"supervisor"`.
    """
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, LineHandler):
            root.removeHandler(handler)
    root.addHandler(LineHandler(form, process))
    own = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(max(own, logging.WARNING))
    logging.getLogger("penstock").setLevel(own)
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught


def rename(process: str) -> None:
    """What a child is called from now on, `"worker-0"`."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LineHandler):
            handler.process = process


class LineHandler(logging.Handler):
    """Writes each record as one line. That nobody reads them any more is no reason to fail."""

    def __init__(self, form: Format, process: str, fd: int = STDERR) -> None:
        super().__init__()
        self.process = process
        self._write = _as_json if form == "json" else _as_text
        self._fd = fd

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record."""
        try:
            line = self.line(record)
        except Exception:  # a call with the wrong arguments: Python says where it stands
            self.handleError(record)
            return
        with contextlib.suppress(OSError):
            os.write(self._fd, line)

    def line(self, record: logging.LogRecord) -> bytes:
        """The bytes of a record; the traceback gives way where they are too many, then the rest."""
        message, error = record.getMessage(), _error(record)
        line = self._write(record, self.process, message, error)
        whole, kept = error, len(error)
        while len(line) > MAX_LINE_BYTES and kept:
            kept = _fewer(kept, len(line))
            error = CUT + whole[len(whole) - kept :]  # its end says what happened
            line = self._write(record, self.process, message, error)
        whole, kept = message, len(message)
        while len(line) > MAX_LINE_BYTES and kept:
            kept = _fewer(kept, len(line))
            line = self._write(record, self.process, whole[:kept] + CUT, error)
        return line


def _fewer(kept: int, size: int) -> int:
    """How many characters to try next, where so many made a line of `size` bytes."""
    return max(min(kept - 1, kept * MAX_LINE_BYTES // size - len(CUT)), 0)


def _as_json(record: logging.LogRecord, process: str, message: str, error: str) -> bytes:
    fields = {
        "at": _timestamp(record.created),
        "level": record.levelname.lower(),
        "process": process,
        "pid": record.process,
        "logger": record.name,
        "message": _valid(message),
    }
    if error:
        fields["error"] = _valid(error)
    for name, value in _extra(record).items():
        fields.setdefault(name, value)
    return orjson.dumps(fields) + b"\n"


def _as_text(record: logging.LogRecord, process: str, message: str, error: str) -> bytes:
    who = "penstock" if process == "supervisor" else f"penstock {process.replace('-', ' ')}"
    line = f"{who}: {_printable(message)}"
    extra = _extra(record)
    if extra:
        told = " ".join(f"{name}={_printable(str(value))}" for name, value in extra.items())
        line += f" ({told})"
    for part in error.split("\n") if error else ():
        line += _INDENT + _printable(part)
    return f"{line}\n".encode("utf-8", "backslashreplace")


def _timestamp(seconds: float) -> str:
    """RFC 3339, in UTC, to the millisecond."""
    whole, milliseconds = divmod(int(seconds * 1000), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{milliseconds:03d}Z"


def _error(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    return "".join(traceback.format_exception(record.exc_info[1])).rstrip("\n")


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    """What the call gave with `extra`."""
    given = record.__dict__.items()
    return {name: _field(value) for name, value in given if name not in _KNOWN}


def _field(value: Any) -> Any:
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int) and value in _WHOLE_NUMBERS:
        return int(value)
    return _valid(str(value))[:MAX_FIELD_CHARACTERS]


def _valid(text: str) -> str:
    """Without halves of surrogate pairs, which UTF-8 cannot say."""
    return text.encode("utf-8", "backslashreplace").decode()


def _printable(text: str) -> str:
    return _UNPRINTABLE.sub(lambda found: _escape(found[0]), text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    logging.getLogger("penstock").critical("ended by an error", exc_info=(kind, error, trace))
