"""A client that has not asked for the usage of its stream gets whole events, and no usage."""

from __future__ import annotations

from time import process_time
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.llm.relay import Spoken
from gateway.llm.streamed import Streamed
from gateway.wire.llm.words import Dialect
from tests.llm.journey_rig import Opened

ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}],"model":"m"}\n\n'
WORD = b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}],"model":"m"}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\n'
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
STREAM = ROLE + USAGE + WORD + WORD + STOP + USAGE + DONE
SHOWN = ROLE + WORD + WORD + STOP + DONE
ENDS = [
    pytest.param(b"\n", id="lf"),
    pytest.param(b"\r\n", id="crlf"),
    pytest.param(b"\r", id="cr"),
]


def streamed() -> tuple[Streamed, Opened]:
    spoken = Spoken(Dialect.CHAT, Dialect.CHAT, None, hides_usage=True)
    client: Any = Opened(SimpleNamespace(gone=False))
    return Streamed(spoken, lambda: client, 1 << 30), client


@pytest.mark.parametrize("end", ENDS)
def test_however_a_stream_is_cut_its_client_gets_the_same_events(end):
    data = STREAM.replace(b"\n", end)
    for cut in range(1, len(data)):
        stream, client = streamed()
        stream.data(data[:cut])
        stream.data(data[cut:])
        stream.end()
        assert client.data == SHOWN, cut


@pytest.mark.parametrize("end", ENDS)
def test_each_event_is_passed_on_as_it_comes(end):
    stream, client = streamed()
    for count in range(1, 4):
        stream.data(WORD.replace(b"\n", end))
        assert client.data.replace(end, b"\n") == count * WORD


NULLS = {
    "at-the-end": WORD.replace(b"}\n\n", b',"usage":null}\n\n'),
    "in-the-middle": WORD.replace(b',"model"', b',"usage":null,"model"'),
    "with-blanks": WORD.replace(b"}\n\n", b', "usage": null}\n\n'),
    "twice": WORD.replace(b',"model"', b',"usage":null,"model"').replace(
        b"}\n\n", b',"usage":null}\n\n'
    ),
}


@pytest.mark.parametrize("event", NULLS.values(), ids=NULLS)
def test_a_null_usage_is_cut_out_of_events_one_by_one_or_together(event):
    stream, client = streamed()
    for read in (ROLE, event, event + event, event + USAGE + event, USAGE):
        stream.data(read)
    assert client.data == ROLE + 5 * WORD


def test_words_about_usage_are_the_answers():
    said = WORD.replace(b"hi", b'say \\",\\"usage\\":null}')
    stream, client = streamed()
    for _ in range(2):
        stream.data(said)
    assert client.data == 2 * said


def test_a_large_event_is_searched_once():
    def took(size: int) -> float:
        stream, _ = streamed()
        stream.data(WORD)
        large = WORD.replace(b"hi", b"A" * size)
        began = process_time()
        for at in range(0, len(large), 4096):
            stream.data(large[at : at + 4096])
        spent = process_time() - began
        stream.data(STOP + DONE)
        stream.end()
        return spent

    small, large = (min(took(size << 20) for _ in range(3)) for size in (1, 8))
    assert large < 24 * small  # 8 times, and 64 times if each piece has all of it searched
