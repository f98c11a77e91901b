"""Refusals in words are found by how an answer begins."""

from __future__ import annotations

import math

import pytest

from gateway.config import parse
from gateway.errors import ConfigInvalid
from gateway.llm.phrases import HEAD_CHARS, PHRASES, Phrases, plain
from tests.llm.journey_rig import chat, rig, whole
from tests.llm.test_features import Watching

ONE = """
llm:
  providers: {one: {base_url: "http://one.example/v1"}}
  models: {m: {upstreams: [{provider: one, model: gpt-4o-mini}], refusal_phrases: %s}}
"""


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I\u2019m sorry, but I can\u2019t assist with this request.",
        "\n\nSORRY, BUT I CANNOT DO THIS.",
        "Tut mir leid, aber ich kann dir das nicht sagen.",
        "Je suis désolé, mais je ne peux pas vous aider.",
        "Lo siento, pero no puedo hacerlo.",
        "Mi dispiace, ma non posso.",
        "Sinto muito, mas não posso ajudar com isso.",
        "Het spijt me, maar ik kan daar niet mee helpen.",
        "Przykro mi, ale nie mogę pomóc.",
        "Извините, но я не могу помочь.",
        "很抱歉\uff0c我无法提供这些信息。",
        "申し訳ありませんが、お手伝いできません。",
        "죄송하지만 도와드릴 수 없습니다.",
    ],
)
def test_refusals_are_found_in_many_languages(text):
    assert Phrases(None).found(text) == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "Water flows through the gate and turns the wheel.",
        "I can't believe how well this went: here is the plan.",  # begins as a phrase does
        "I can help with that. " + "First, " * 40 + "I can't help with",
        "Natürlich, hier ist der Text.",
    ],
)
def test_other_answers_are_none(text):
    assert Phrases(None).found(text) == 0.0


def test_only_the_beginning_is_looked_at():
    phrase = "i can't help with"
    assert Phrases(None).found("a" * (HEAD_CHARS - len(phrase)) + phrase) == 1.0
    assert Phrases(None).found("a" * (HEAD_CHARS - len(phrase) + 1) + phrase) == 0.0


def test_every_phrase_that_comes_along_is_found_by_itself():
    assert [one for one in PHRASES if Phrases(None).found(one) != 1.0] == []
    assert [one for one in PHRASES if plain(one) != one] == []


def test_a_document_has_its_own_phrases_or_none():
    own = Phrases(["Computer Says No"])
    assert own.found("Sorry: COMPUTER SAYS NO.") == 1.0
    assert own.found("I can't help with that.") == 0.0
    assert math.isnan(Phrases([]).found("I can't help with that."))
    assert math.isnan(Phrases(None).found(""))


@pytest.mark.parametrize("phrase", ["sorry", "x" * 201, "null\\0 and void"])
def test_a_phrase_that_would_be_found_anywhere_or_nowhere_is_a_fault(phrase):
    with pytest.raises(ConfigInvalid, match="refusal_phrases"):
        parse(ONE % f'["{phrase}"]')


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("phrases", "text", "value"),
    [
        ("null", "I cannot help with that.", 1.0),
        ("null", "Certainly.", 0.0),
        ("[out of my league]", "That is out of my league.", 1.0),
    ],
)
async def test_it_is_a_feature_of_each_answer(phrases, text, value):
    made = rig(ONE % phrases)
    (deployment,) = made.llm.deployments
    watching = Watching()
    deployment.watch(watching)  # type: ignore[arg-type]
    made.ask(chat())
    made.last.answers(whole(text))
    made.llm.flush()
    assert watching.rows[0]["refused_in_words"] == value
    assert watching.rows[0]["refused"] == 0
