"""A profile belongs to models that take and give the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.errors import ProfileInvalid
from gateway.profiles import summaries
from gateway.profiles.fit import check_fit
from gateway.profiles.names import feature_names
from gateway.profiles.plans import plan_frames
from gateway.profiles.values import FEATURE, Frame, Profile, Summary
from gateway.tensors import Signature, TensorSpec
from tests.profiles.builders import numeric, small

X, JOB = TensorSpec("x", "FP32", (-1, 2)), TensorSpec("job", "BYTES", (-1, 1))
LABEL = TensorSpec("label", "INT64", (-1,))
SIGNATURE = Signature((X, JOB), (LABEL,), batched=True)


def test_a_profile_fits_the_model_that_it_was_made_of():
    check_fit(small(), SIGNATURE)


def test_lengths_that_one_side_leaves_open_do_not_matter():
    check_fit(small(), replace(SIGNATURE, inputs=(replace(X, shape=(-1, -1)), JOB)))


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        ((JOB,), (LABEL,), "input 'x': the model's inputs are 'job'"),
        ((X, JOB), (), "output 'label': the model's outputs are none"),
        (
            (replace(X, datatype="FP64"), JOB),
            (LABEL,),
            "input 'x': expected datatype FP64, got FP32",
        ),
        (
            (replace(X, shape=(-1, 3)), JOB),
            (LABEL,),
            "input 'x': expected shape [-1, 3], got [-1, 2]",
        ),
        (
            (X, JOB),
            (replace(LABEL, shape=(-1, 1)),),
            "output 'label': expected shape [-1, 1], got [-1]",
        ),
    ],
)
def test_a_profile_of_another_model_is_refused_by_name(inputs, outputs, message):
    with pytest.raises(ProfileInvalid) as raised:
        check_fit(small(), Signature(inputs, outputs, batched=True))
    assert message in str(raised.value)


def test_columns_must_be_as_many_and_of_the_type_that_the_tensor_has():
    profile = small()
    x, *others = profile.frames
    fewer = replace(profile, frames=(replace(x, columns=x.columns[:1]), *others))
    with pytest.raises(ProfileInvalid, match="expected 2 columns, got 1"):
        check_fit(fewer, SIGNATURE)
    wide = (numeric("a", type_="float64"), numeric("b", type_="float64"))
    with pytest.raises(ProfileInvalid, match="column 'a': expected type float32, got float64"):
        check_fit(replace(profile, frames=(replace(x, columns=wide), *others)), SIGNATURE)


def test_a_summary_must_give_the_figures_that_live_rows_will():
    shape = (-1, 300)
    signature = Signature((TensorSpec("x", "FP32", shape),), (), batched=True)
    columns = tuple(numeric(f"x.{name}") for name in summaries.names(summaries.vector()))
    frame = Frame("x.vector", "x", FEATURE, "FP32", shape, columns, summaries.vector())
    check_fit(Profile(6, (frame,)), signature)
    other = replace(frame, summary=Summary("vector", {"projections": 8, "seed": 1}))
    with pytest.raises(ProfileInvalid, match="another release"):
        check_fit(Profile(6, (other,)), signature)
    with pytest.raises(ProfileInvalid, match="expected 11 columns, got 10"):
        check_fit(Profile(6, (replace(frame, columns=columns[1:]),)), signature)
    for parameters in ({"low": 0}, {"channels": 10**12}, {"channels": "many"}):
        image = replace(frame, summary=Summary("image", parameters))
        with pytest.raises(ProfileInvalid, match="expected channels of 1, 3, 4"):
            check_fit(Profile(6, (image,)), signature)


def test_names_that_would_fill_every_answer_are_refused_or_left_alone():
    long = "n" * 1001
    with pytest.raises(ProfileInvalid, match=r"column 'nnn.*at most 1000 characters, got 1001"):
        plan_frames(SIGNATURE, {}, {}, {"x": ("a", long)})
    assert feature_names({"feature_names": f"a,{long}"}) == ()
    assert feature_names({"feature_names": "a, b"}) == ("a", "b")
