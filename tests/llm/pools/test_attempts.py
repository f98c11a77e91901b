"""What is done about a request that failed."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.llm.pools import Again, Attempts, Fallback, GiveUp, Outcome, Trouble
from gateway.llm.pools.attempts import MAX_FALLBACKS_A_REQUEST
from gateway.llm.pools.budget import RetryBudget
from tests.llm.pools.rig import attempts, failed, pool, take, version

NOBODY = {"retries": {"attempts": 0}}


def one_of(*upstreams, **fields):
    """A version, its pool, and a request of it that is about to fail."""
    of = version(*upstreams, **fields)
    found = pool(*upstreams, **fields)
    return found, attempts(found, of)


def fail(found, request, now=0.0, trouble=Trouble.FAILED, retry_after_s=None, **how):
    """Sends it and has it fail; what is to be done."""
    picked = take(found, now, tried=request.tried)
    picked.ended(now, trouble.outcome, retry_after_s)
    return request.failed(now, picked.index, failed(trouble, retry_after_s=retry_after_s, **how))


# ---- the same model ----


def test_another_upstream_is_asked_at_once():
    found, request = one_of({}, {}, {})
    assert fail(found, request) == Again(0.0)
    assert fail(found, request) == Again(0.0)
    assert len(request.tried) == 2


@pytest.mark.parametrize(
    "trouble", [Trouble.CREDENTIALS, Trouble.QUOTA, Trouble.MISSING, Trouble.LIMITED]
)
def test_another_upstream_is_asked_whatever_is_wrong_with_the_first(trouble):
    found, request = one_of({}, {})
    assert fail(found, request, trouble=trouble) == Again(0.0)


def test_the_same_upstream_is_asked_again_after_pauses_that_double_with_jitter():
    found, request = one_of({}, retries={"attempts": 4, "base_s": 1, "max_s": 4})
    now, pauses = 0.0, []
    for _ in range(4):
        verdict = fail(found, request, now)
        assert isinstance(verdict, Again)
        pauses.append(verdict.after_s)
        now += verdict.after_s
    for pause, longest in zip(pauses, (1, 2, 4, 4), strict=True):
        assert longest / 2 <= pause <= longest
    assert isinstance(fail(found, request, now), GiveUp)
    assert request.sent_again == 4


def test_pauses_of_requests_that_failed_together_differ():
    pauses = set()
    for seed in range(20):
        found = pool({})
        request = Attempts("m", version({}), found, random=Random(seed))
        verdict = fail(found, request)
        assert isinstance(verdict, Again)
        pauses.add(verdict.after_s)
    assert len(pauses) == 20


def test_a_pause_is_as_long_as_the_upstream_says():
    found, request = one_of({})
    verdict = fail(found, request, trouble=Trouble.LIMITED, retry_after_s=3.0)
    assert isinstance(verdict, Again)
    assert 3.0 < verdict.after_s <= 3.3
    assert found.choose(verdict.after_s, request.tried) is not None


def test_an_upstream_that_wants_too_long_a_pause_is_left():
    found, request = one_of({}, retries={"max_retry_after_s": 10})
    verdict = fail(found, request, trouble=Trouble.LIMITED, retry_after_s=11.0)
    assert verdict == GiveUp(spent=False, retry_after_s=11.0)
    assert verdict.headers() == [(b"retry-after", b"11")]


@pytest.mark.parametrize("trouble", [Trouble.CREDENTIALS, Trouble.QUOTA, Trouble.MISSING])
def test_what_time_does_not_heal_is_not_sent_to_the_same_upstream_again(trouble):
    found, request = one_of({})
    assert isinstance(fail(found, request, trouble=trouble), GiveUp)


def test_an_upstream_that_says_no_is_not_asked_again():
    found, request = one_of({})
    assert isinstance(fail(found, request, should_retry=False), GiveUp)


def test_a_wrong_request_is_never_sent_again():
    found, request = one_of({}, {}, fallbacks=["other"])
    assert fail(found, request, trouble=Trouble.REFUSED) == GiveUp(spent=False)


def test_no_pause_goes_beyond_the_clients_deadline():
    of = version({}, retries={"base_s": 1})
    found = pool({}, retries={"base_s": 1})
    request = attempts(found, of, deadline=0.4)
    assert isinstance(fail(found, request), GiveUp)
    assert isinstance(fail(found, attempts(found, of, deadline=1.5)), Again)


def test_an_upstream_that_was_left_alone_in_the_meantime_is_waited_for_or_given_up():
    found, request = one_of({}, breaker={"in_a_row": 1, "open_s": 5})
    verdict = fail(found, request)
    assert isinstance(verdict, Again)
    assert found.choose(verdict.after_s, request.tried) is not None
    found, request = one_of({}, breaker={"in_a_row": 1, "open_s": 30})
    assert isinstance(fail(found, request), GiveUp)


def test_clients_are_told_not_to_repeat_what_was_repeated():
    found, request = one_of({}, {}, retries={"attempts": 1})
    assert fail(found, request) == Again(0.0)
    verdict = fail(found, request)
    assert verdict == GiveUp(spent=True)
    assert verdict.headers() == [(b"x-should-retry", b"false")]


def test_clients_may_repeat_where_nothing_is_repeated_here():
    found, request = one_of({}, **NOBODY)
    verdict = fail(found, request)
    assert verdict == GiveUp(spent=False)
    assert verdict.headers() == []


def test_an_upstream_that_does_not_speak_what_was_asked_in_is_none_to_turn_to():
    found, of = pool({}, {}), version({}, {})
    request = attempts(found, of, mute={1})
    verdict = fail(found, request)
    assert isinstance(verdict, Again)
    assert verdict.after_s > 0.1  # the same one again, after a pause
    assert request.tried == {1}


# ---- how many ----


def test_retries_are_a_share_of_requests():
    found = pool({}, {}, breaker={"enabled": False}, retries={"budget": 0.2})
    of = version({}, {})
    again = 0
    for step in range(10_000):
        picked = take(found, step / 1000)
        picked.ended(step / 1000, Outcome.FAILED)
        verdict = attempts(found, of).failed(step / 1000, picked.index, failed())
        again += isinstance(verdict, Again)
    assert 0.1 * 10_000 < again < 0.2 * 10_000 + 20


def test_a_storm_that_is_not_answered_tells_clients_to_stay_away():
    found = pool({}, {}, breaker={"enabled": False}, retries={"budget": 0.01})
    verdicts = [fail(found, attempts(found, version({}, {}))) for _ in range(40)]
    assert verdicts[:10] == [Again(0.0)] * 10
    assert verdicts[-1] == GiveUp(spent=True)


def test_few_requests_have_retries_all_the_same():
    budget = RetryBudget(0.2)
    assert all(budget.take(minute * 60.0, minute) for minute in range(100))


def test_what_was_under_way_when_an_upstream_died_may_be_sent_again():
    budget = RetryBudget(0.2)
    budget.take(0.0, 0)
    # 10,000 requests in ten seconds: of 20 % those of long ago are half forgotten.
    sent_again = sum(budget.take(10.0, 10_000) for _ in range(5000))
    assert 1000 < sent_again < 2020


def test_no_budget_is_no_retry():
    budget = RetryBudget(0.0)
    assert not any(budget.take(float(now), 1000 * now) for now in range(100))


# ---- other models ----


def test_a_chain_is_followed_once_the_models_own_retries_are_spent():
    found, request = one_of({}, {}, retries={"attempts": 1}, fallbacks=["second", "third"])
    assert fail(found, request) == Again(0.0)
    assert fail(found, request) == Fallback("second")
    other = pool({}, **NOBODY)
    request.moved(version({}, **NOBODY), other)
    assert fail(other, request) == Fallback("third")
    request.moved(version({}, **NOBODY), other)
    verdict = fail(other, request)
    assert verdict == GiveUp(spent=True)
    assert request.fell_back == 2


def test_a_fallback_has_retries_of_its_own():
    found, request = one_of({}, fallbacks=["second"], **NOBODY)
    assert fail(found, request) == Fallback("second")
    other = pool({}, {}, retries={"attempts": 1})
    request.moved(version({}, {}), other)
    assert fail(other, request) == Again(0.0)


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        (Trouble.CONTEXT_WINDOW, "longer"),
        (Trouble.CONTENT_POLICY, "franker"),
        (Trouble.FAILED, "any"),
    ],
)
def test_each_kind_of_error_has_its_own_chain(trouble, expected):
    found, request = one_of(
        {},
        fallbacks=["any"],
        context_window_fallbacks=["longer"],
        content_policy_fallbacks=["franker"],
        **NOBODY,
    )
    assert fail(found, request, trouble=trouble) == Fallback(expected)


@pytest.mark.parametrize("trouble", [Trouble.CONTEXT_WINDOW, Trouble.CONTENT_POLICY])
def test_what_only_another_kind_of_model_helps_is_sent_to_no_other(trouble):
    found, request = one_of({}, {}, fallbacks=["any"])
    assert fail(found, request, trouble=trouble) == GiveUp(spent=False)


def test_a_fallback_that_finds_it_too_long_goes_on_with_its_own_chain_and_then_the_first():
    found, request = one_of({}, fallbacks=["second", "third"], **NOBODY)
    assert fail(found, request) == Fallback("second")
    other = pool({}, **NOBODY)
    request.moved(version({}, context_window_fallbacks=["longer"], **NOBODY), other)
    assert fail(other, request, trouble=Trouble.CONTEXT_WINDOW) == Fallback("longer")
    request.moved(version({}, **NOBODY), other)
    assert fail(other, request) == Fallback("third")


def test_chains_that_name_one_another_end():
    found, request = one_of({}, fallbacks=["b"], **NOBODY)
    assert fail(found, request) == Fallback("b")
    other = pool({}, **NOBODY)
    request.moved(version({}, fallbacks=["asked", "b"], **NOBODY), other)
    assert isinstance(fail(other, request), GiveUp)


def test_a_model_that_a_chain_calls_by_an_alias_is_asked_once_and_one_that_has_gone_never():
    names = {"gpt-4o": "asked", "gone": "", "real": "real", "alias": "real"}
    of = version({}, fallbacks=["gpt-4o", "gone", "alias", "real"], **NOBODY)
    found = pool({}, **NOBODY)
    request = attempts(found, of, name_of=names.__getitem__)
    assert fail(found, request) == Fallback("real")
    request.moved(version({}, **NOBODY), found)
    assert isinstance(fail(found, request), GiveUp)


def test_no_request_is_sent_everywhere():
    found = pool({}, **NOBODY)
    request = attempts(found, version({}, fallbacks=["m0"], **NOBODY))
    for turn in range(MAX_FALLBACKS_A_REQUEST):
        assert fail(found, request) == Fallback(f"m{turn}")
        found = pool({}, **NOBODY)
        request.moved(version({}, fallbacks=[f"m{turn + 1}"], **NOBODY), found)
    assert isinstance(fail(found, request), GiveUp)


def test_models_that_cannot_be_asked_are_passed_over_and_are_no_try():
    found, request = one_of({}, fallbacks=["second", "third"], **NOBODY)
    limited = {"trouble": Trouble.LIMITED, "retry_after_s": 20.0}
    assert fail(found, request, **limited) == Fallback("second")
    assert request.passed_over(0.0) == Fallback("third")
    assert request.passed_over(0.0) == GiveUp(spent=False, retry_after_s=20.0)
    assert request.fell_back == 0


def test_where_none_takes_it_the_next_model_is_asked_and_nobody_waits():
    found, request = one_of({"max_parallel": 1}, fallbacks=["second"])
    take(found)
    assert found.choose(0.0) is None
    assert request.none_free(0.0) == Fallback("second")


def test_where_none_takes_it_and_there_is_no_other_the_client_is_told_when_to_come_back():
    found = pool({}, breaker={"in_a_row": 1, "open_s": 5})
    take(found).ended(0.0, Outcome.FAILED)
    request = attempts(found, version({}))
    verdict = request.none_free(0.5)
    assert verdict == GiveUp(spent=False, retry_after_s=4.5)
    assert verdict.headers() == [(b"retry-after", b"5")]


def test_a_deadline_ends_a_chain():
    found = pool({}, **NOBODY)
    request = attempts(found, version({}, fallbacks=["second"], **NOBODY), deadline=1.0)
    assert isinstance(fail(found, request, now=1.0), GiveUp)


@given(st.data())
def test_whatever_fails_a_request_comes_to_an_end(data):
    """Any chains among five models, any errors: a bounded number of sends, none to a spent one."""
    names = [f"m{i}" for i in range(5)]
    chain = st.lists(st.sampled_from(names), max_size=5)
    versions = {
        name: version(
            *({} for _ in range(data.draw(st.integers(1, 3)))),
            fallbacks=data.draw(chain),
            context_window_fallbacks=data.draw(chain),
            retries={"attempts": data.draw(st.integers(0, 3))},
        )
        for name in names
    }
    pools = {
        name: pool(*({} for _ in one.upstreams), **one.model_dump(include={"retries"}))
        for name, one in versions.items()
    }
    at, now, sent = "m0", 0.0, 0
    request = Attempts(at, versions[at], pools[at], random=Random(1))
    while True:
        picked = pools[at].choose(now, request.tried)
        if picked is None:
            verdict = request.none_free(now)
        else:
            assert picked.index not in request.tried
            picked.began(now)
            sent += 1
            assert sent <= 5 * 4
            trouble = data.draw(st.sampled_from(list(Trouble)))
            picked.ended(now, trouble.outcome)
            verdict = request.failed(now, picked.index, failed(trouble))
        if isinstance(verdict, GiveUp):
            break
        if isinstance(verdict, Again):
            now += verdict.after_s
        else:
            at = verdict.model
            request.moved(versions[at], pools[at])
