"""Whatever is told goes out as one line that nobody can forge, and telling it ends nothing."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from gateway.logs import MAX_LINE_BYTES, LineHandler


def record(message, *args, of=logging.WARNING, **more):
    made = logging.LogRecord("penstock.worker", of, __file__, 1, message, args, None)
    made.__dict__.update(more)
    return made


def failed(error: BaseException) -> tuple[type[BaseException], BaseException, None]:
    return type(error), error, None


def as_text(*args, process="worker-0", **more):
    return LineHandler("text", process).line(record(*args, **more)).decode()


def as_json(*args, **more):
    line = LineHandler("json", "worker-0").line(record(*args, **more))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return json.loads(line)


@pytest.mark.parametrize(
    ("process", "prefix"),
    [
        ("supervisor", "penstock: "),
        ("control", "penstock control: "),
        ("worker-12", "penstock worker 12: "),
    ],
)
def test_a_line_of_text_begins_with_who_says_it(process, prefix):
    assert as_text("ready in %d s", 3, process=process) == f"{prefix}ready in 3 s\n"


def test_a_line_of_json_says_when_who_and_what():
    told = as_json("model '%s' left", "m", of=logging.ERROR)
    at = datetime.fromisoformat(told.pop("at"))
    assert abs((datetime.now(UTC) - at).total_seconds()) < 60
    assert told == {
        "level": "error",
        "process": "worker-0",
        "pid": os.getpid(),
        "logger": "penstock.worker",
        "message": "model 'm' left",
    }


def test_a_time_is_rfc_3339_in_utc_to_the_millisecond():
    assert as_json("x", created=1700000000.0625)["at"] == "2023-11-14T22:13:20.062Z"


HOSTILE = [
    pytest.param("a\nb", "a\\nb", id="newline"),
    pytest.param("a\r\nb", "a\\r\\nb", id="crlf"),
    pytest.param("a\x1b[2Jb", "a\\x1b[2Jb", id="escape"),
    pytest.param("a\x00\x7f\x9bb", "a\\x00\\x7f\\x9bb", id="other-controls"),
    pytest.param("a\u2028b\u2029\x85", "a\\u2028b\\u2029\\x85", id="unicode-line-ends"),
    pytest.param("a\ud800b", "a\\ud800b", id="half-a-surrogate"),
    pytest.param("gr\u00fc\u00dfe", "gr\u00fc\u00dfe", id="letters"),
]


@pytest.mark.parametrize(("sent", "told"), HOSTILE)
def test_what_a_client_sent_cannot_begin_a_line_of_text(sent, told):
    assert as_text("model '%s'", sent) == f"penstock worker 0: model '{told}'\n"


@pytest.mark.parametrize("sent", [param.values[0] for param in HOSTILE])
def test_what_a_client_sent_is_one_field_of_json(sent):
    told = as_json("model '%s'", sent, name="mine", model=sent)
    kept = sent.encode("utf-8", "backslashreplace").decode()
    assert (told["message"], told["model"]) == (f"model '{kept}'", kept)


def test_lines_of_a_traceback_are_indented_in_text():
    error = failed(ValueError("no\npenstock control: forged\x1b"))
    first, *rest = as_text("it failed", exc_info=error).splitlines()
    assert first == "penstock worker 0: it failed"
    assert rest == ["    ValueError: no", "    penstock control: forged\\x1b"]


def test_a_traceback_is_one_field_of_json():
    told = as_json("it failed", exc_info=failed(ValueError("no\nmore")))
    assert told["error"] == "ValueError: no\nmore"


EXTRA = {
    "request_id": "h-0-1-2a",
    "rows": 3,
    "share": 0.5,
    "huge": 1 << 80,
    "raw": b"\n",
    "no": None,
}


def test_extra_fields_stand_in_both():
    told = as_json("x", **EXTRA)
    expected = EXTRA | {"huge": str(1 << 80), "raw": "b'\\n'"}
    assert {name: told[name] for name in EXTRA} == expected
    assert as_text("x", request_id="a\nb", rows=3).endswith("x (request_id=a\\nb rows=3)\n")


def test_extra_fields_change_none_of_the_others():
    assert as_json("x", level="mine", at="never", pid=0)["level"] == "warning"


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    ("message", "error"),
    [
        pytest.param("m" * 10_000, "", id="message"),
        pytest.param("short", "e" * 10_000 + " the end", id="traceback"),
        pytest.param("m" * 10_000, "e" * 10_000 + " the end", id="both"),
        pytest.param("\x01\u00fc" * 5_000, "", id="what-grows-when-escaped"),
    ],
)
def test_a_line_fits_into_one_piece_of_a_pipe(form, message, error):
    info = failed(ValueError(error)) if error else None
    line = LineHandler(form, "control").line(record("%s", message, exc_info=info))
    assert len(line) <= MAX_LINE_BYTES
    assert len(line) > MAX_LINE_BYTES / 8
    if message == "short":
        assert b"the end" in line


def test_a_record_is_one_write():
    # A datagram socket keeps the bounds of writes.
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        handler = LineHandler("text", "control", theirs.fileno())
        for number in range(3):
            handler.emit(record("it failed", exc_info=failed(ValueError(f"{number}\nmore"))))
        for number in range(3):
            assert f"ValueError: {number}\n" in ours.recv(65_536).decode()


def test_a_reader_that_left_ends_nothing():
    read, write = os.pipe()
    os.close(read)
    LineHandler("text", "control", write).emit(record("x"))
    os.close(write)


SCRIPT = """
import logging, sys, warnings
from gateway import logs
logs.set_up("json", sys.argv[1], "supervisor")
logs.set_up("json", sys.argv[1], "supervisor")
logs.rename("control")
log = logging.getLogger("penstock.control")
log.info("a"), log.warning("b"), log.error("c")
logging.getLogger("others").info("d")
warnings.warn("old", stacklevel=1)
raise ValueError("unforeseen")
"""


@pytest.mark.parametrize(
    ("level", "messages"),
    [("info", ["a", "b", "c"]), ("warning", ["b", "c"]), ("error", ["c"])],
)
def test_a_process_tells_all_that_it_has_to_tell_in_json(level, messages):
    command = [sys.executable, "-c", SCRIPT, level]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    told = [json.loads(line) for line in run.stderr.splitlines()]
    warned = [line for line in told if line["logger"] == "py.warnings"]
    assert len(warned) == (level != "error")
    assert {line["process"] for line in told} == {"control"}
    *own, last = [line for line in told if line not in warned]
    assert [line["message"] for line in own] == messages
    assert (last["level"], last["error"].splitlines()[-1]) == ("critical", "ValueError: unforeseen")
