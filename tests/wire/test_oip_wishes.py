"""Which outputs a request asks for, and in which form."""

from __future__ import annotations

import gc

import pytest

from gateway.errors import (
    InvalidParameter,
    MalformedJson,
    WrongOutputs,
)
from gateway.wire.oip.choice import MAX_CHOICES, Choice, Wanted
from tests.wire.oip_rig import (
    codec_of,
    plain_codec,
    refusal,
    request,
    spec,
)


@pytest.mark.parametrize("outputs", [{}, {"outputs": []}], ids=["absent", "empty"])
def test_without_outputs_all_are_wanted(outputs):
    read = plain_codec().decode(request(**outputs), None)
    assert read.choice.wanted == (Wanted(0), Wanted(1))
    assert read.wanted == (0, 1)


def test_outputs_keep_the_requests_order_and_are_computed_in_the_models():
    read = plain_codec().decode(request(outputs=[{"name": "label"}, {"name": "Y"}]), None)
    assert read.choice.wanted == (Wanted(1), Wanted(0))
    assert read.wanted == (0, 1)


@pytest.mark.parametrize(
    ("request_flag", "output_flag", "binary"),
    [
        (None, None, False),
        (True, None, True),
        (True, False, False),
        (False, True, True),
        (None, True, True),
    ],
)
def test_an_outputs_own_flag_overrides_the_requests(request_flag, output_flag, binary):
    extra = {} if request_flag is None else {"parameters": {"binary_data_output": request_flag}}
    output: dict[str, object] = {"name": "Y"}
    if output_flag is not None:
        output["parameters"] = {"binary_data": output_flag}
    assert plain_codec().decode(request(outputs=[output], **extra), None).choice.wanted == (
        Wanted(0, binary),
    )


def test_equal_wishes_share_one_choice():
    codec = plain_codec()
    first = codec.decode(request(outputs=[{"name": "Y"}]), None)
    second = codec.decode(request(outputs=[{"name": "Y", "parameters": {}}], id="x"), None)
    assert first.choice is second.choice


def test_a_thousand_different_wishes_are_not_all_remembered():
    codec = plain_codec()
    gc.collect()
    before = remembered()
    for classes in range(1, 1001):
        wanted = [{"name": "Y", "parameters": {"classification": classes}}]
        codec.decode(request(outputs=wanted), None)
    assert remembered() - before <= MAX_CHOICES


def remembered() -> int:
    """Choices that somebody still holds."""
    return sum(isinstance(thing, Choice) for thing in gc.get_objects())


def test_classification_is_read():
    wanted = [{"name": "Y", "parameters": {"classification": 3}}]
    assert plain_codec().decode(request(outputs=wanted), None).choice.wanted == (
        Wanted(0, False, 3),
    )


@pytest.mark.parametrize(
    ("outputs", "error", "words"),
    [
        ([{"name": "Z"}], WrongOutputs, "unexpected inference output 'Z' for model 'm'"),
        ([{"name": "Y"}] * 2, WrongOutputs, "output 'Y' already exists in request"),
        ([{"name": "Y"}] * 9, WrongOutputs, "output 'Y' already exists in request"),
        ([{"name": 5}], MalformedJson, "expected a string, got 5"),
        ([{}], MalformedJson, "expected a string, got null"),
        (["Y"], MalformedJson, "expected an object, got 'Y'"),
        ({"name": "Y"}, MalformedJson, "outputs: expected an array, got an object"),
        ([{"name": "Y", "parameters": []}], MalformedJson, "expected an object, got an array"),
        ([{"name": "Y", "parameters": {"binary_data": 1}}], InvalidParameter, "boolean, got 1"),
        ([{"name": "Y", "parameters": {"classification": 0}}], InvalidParameter, "at least 1"),
        ([{"name": "Y", "parameters": {"classification": True}}], InvalidParameter, "got true"),
        ([{"name": "Y", "parameters": {"classification": 1.0}}], InvalidParameter, "got 1.0"),
        (
            [{"name": "Y", "parameters": {"shared_memory_region": "r"}}],
            InvalidParameter,
            "shared memory is not supported",
        ),
    ],
)
def test_bad_outputs_are_refused(outputs, error, words):
    found = refusal(plain_codec(), request(outputs=outputs))
    assert type(found) is error
    assert words in str(found)


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_an_output_without_json_form_has_to_be_asked_for_in_binary(datatype):
    codec = codec_of([spec("X", "FP32", -1, 3)], [spec("Y", datatype, -1, 2)])
    found = refusal(codec, request())
    assert type(found) is WrongOutputs
    assert f"output 'Y': {datatype} has no JSON form" in str(found)
    asked = request(outputs=[{"name": "Y", "parameters": {"binary_data": True}}])
    assert codec.decode(asked, None).choice.wanted == (Wanted(0, True),)


@pytest.mark.parametrize("datatype", ["BYTES", "BOOL"])
def test_what_cannot_be_ranked_is_not_classified(datatype):
    codec = codec_of([spec("X", "FP32", -1, 3)], [spec("Y", datatype, -1, 2)])
    wanted = [{"name": "Y", "parameters": {"classification": 1}}]
    assert "classification needs numbers" in str(refusal(codec, request(outputs=wanted)))
