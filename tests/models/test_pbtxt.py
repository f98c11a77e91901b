"""Protocol Buffers' text format, as far as a configuration uses it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ModelRefused
from gateway.models.pbtxt import MAX_DEPTH, Message, Word, parse


def plain(value):
    """A message as dictionaries and lists, without lines."""
    if isinstance(value, Message):
        return {name: [plain(one) for _, one in values] for name, values in value.fields.items()}
    return value


@pytest.mark.parametrize(
    ("text", "read"),
    [
        pytest.param("", {}, id="empty"),
        pytest.param("# only\n # comments", {}, id="comments"),
        pytest.param("a: 1 a: 2", {"a": [1, 2]}, id="repeated"),
        pytest.param("a: [1, -2, 0x1F, 010]", {"a": [1, -2, 31, 8]}, id="list"),
        pytest.param("a: []", {"a": []}, id="empty-list"),
        pytest.param("a: [1] a: 2", {"a": [1, 2]}, id="list-then-one"),
        pytest.param(
            "a: 1.5 b: -2e3 c: .5f d: 1.",
            {"a": [1.5], "b": [-2e3], "c": [0.5], "d": [1.0]},
            id="floats",
        ),
        pytest.param("a: -  7", {"a": [-7]}, id="detached-sign"),
        pytest.param(
            "a: TYPE_FP32, b: true;", {"a": [Word("TYPE_FP32")], "b": [Word("true")]}, id="words"
        ),
        pytest.param("a { b { c: 1 } }", {"a": [{"b": [{"c": [1]}]}]}, id="nested"),
        pytest.param(
            "a: { b: 1 }; c < d: 2 >", {"a": [{"b": [1]}], "c": [{"d": [2]}]}, id="both-braces"
        ),
        pytest.param("a [{ b: 1 }, { }] a {}", {"a": [{"b": [1]}, {}, {}]}, id="list-of-messages"),
        pytest.param("a: [{b: 1}] c: 1", {"a": [{"b": [1]}], "c": [1]}, id="list-of-one-message"),
        pytest.param("a:1b:2", None, id="number-run-into-word"),
        pytest.param('a: "x" \'y\' # z\n "z"', {"a": ["xyz"]}, id="neighbouring-strings"),
        pytest.param(
            r'a: "\n\t\\\"\x41\101\u00e9\U0001F600\303\251"', {"a": ['\n\t\\"AAé😀é']}, id="escapes"
        ),
        pytest.param('a: "é # no comment"', {"a": ["é # no comment"]}, id="utf8"),
    ],
)
def test_what_a_document_says(text, read):
    if read is None:
        with pytest.raises(ModelRefused):
            parse(text, "config.pbtxt")
    else:
        assert plain(parse(text, "config.pbtxt")) == read


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("a", "line 1: wanted ':' or '{' after 'a', got the end", id="name-alone"),
        pytest.param("\n\na 1", "line 3: wanted ':' or '{' after 'a', got '1'", id="no-colon"),
        pytest.param("a:", "line 1: wanted a value of 'a', got the end", id="no-value"),
        pytest.param("a: }", "wanted a value of 'a', got '}'", id="brace-as-value"),
        pytest.param(
            "a {\n b: 1", "line 2: wanted '}' for the message opened in line 1", id="open"
        ),
        pytest.param("a { >", "wanted a field name, got '>'", id="wrong-brace"),
        pytest.param("}", "wanted a field name, got '}'", id="closed-too-often"),
        pytest.param("1: 2", "wanted a field name, got '1'", id="number-as-name"),
        pytest.param("-a: 2", "wanted a field name, got '-a'", id="sign-in-name"),
        pytest.param("a: [1, 2", "wanted ',' or ']', got the end", id="open-list"),
        pytest.param("a: [1 2]", "wanted ',' or ']', got '2'", id="list-without-comma"),
        pytest.param("a: [1,]", "wanted a value of 'a', got ']'", id="trailing-comma"),
        pytest.param(
            "a [1]", "wanted ':' or '{' after 'a', got '1'", id="scalar-list-without-colon"
        ),
        pytest.param('a: "x', "line 1: cannot be read: '\"x'", id="open-string"),
        pytest.param('a: "x\ny"', "line 1: cannot be read", id="newline-in-string"),
        pytest.param(r'a: "\q"', r"no such escape in a string", id="escape"),
        pytest.param(r'a: "\U00110000"', r"no character", id="beyond-unicode"),
        pytest.param(r'a: "\xff"', "wanted UTF-8 text", id="not-utf8"),
        pytest.param("a: 09", "no octal number: 09", id="octal"),
        pytest.param("a: " + "9" * 4400, "number out of range", id="endless-number"),
        pytest.param("a: 1;;", "wanted a field name, got ';'", id="two-separators"),
        pytest.param("a: $", "cannot be read: '$'", id="unknown-character"),
        pytest.param("\0", "cannot be read", id="nul"),
        pytest.param("a{" * (MAX_DEPTH + 1), f"nested deeper than {MAX_DEPTH}", id="depth"),
        pytest.param("a{" * 400_000, f"nested deeper than {MAX_DEPTH}", id="nesting-bomb"),
        pytest.param("a: [" + "1," * 100_001, "more than 100000 values", id="values"),
        pytest.param(" " * (1 << 20) + " ", "wanted at most 1048576 characters", id="size"),
    ],
)
def test_a_fault_names_the_line_the_wanted_and_the_got(text, said):
    with pytest.raises(ModelRefused, match=r"^config\.pbtxt: ") as refusal:
        parse(text, "config.pbtxt")
    assert said in str(refusal.value)


@given(st.text(alphabet="ab:{}[]<>,;\"'\\ \n#-0x1.e", max_size=60))
def test_any_text_is_read_or_refused(text):
    said: Message | ModelRefused
    try:
        said = parse(text, "p")
    except ModelRefused as refusal:
        said = refusal
    assert isinstance(said, Message) or str(said).startswith("p: line ")


def quoted(text):
    return '"' + "".join(f"\\{byte:03o}" for byte in text.encode()) + '"'


@given(st.lists(st.integers(-(2**63), 2**63) | st.text(alphabet=st.characters(codec="utf-8"))))
def test_what_is_written_is_what_is_read(values):
    written = [quoted(value) if isinstance(value, str) else str(value) for value in values]
    assert plain(parse(f"v: [{', '.join(written)}]", "p")) == {"v": values}
