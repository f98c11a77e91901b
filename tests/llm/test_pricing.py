"""Money is exact, and what is not known to cost nothing never does."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigInvalid
from gateway.llm.price_map import MAX_FILE_BYTES, prices, read, seller, stated
from gateway.llm.pricing import PICO, Price
from gateway.wire.llm.words import Usage

# Dollars a million tokens, which are pico-dollars a token by a factor of a million.
SONNET = {
    "litellm_provider": "anthropic",
    "mode": "chat",
    "input_cost_per_token": 3e-06,
    "output_cost_per_token": 1.5e-05,
    "cache_read_input_token_cost": 3e-07,
    "cache_creation_input_token_cost": 3.75e-06,
    "cache_creation_input_token_cost_above_1hr": 6e-06,
    "input_cost_per_token_above_200k_tokens": 6e-06,
    "output_cost_per_token_above_200k_tokens": 2.25e-05,
    "cache_read_input_token_cost_above_200k_tokens": 6e-07,
    "cache_creation_input_token_cost_above_200k_tokens": 7.5e-06,
    "cache_creation_input_token_cost_above_1hr_above_200k_tokens": 1.2e-05,
}


def priced(**fields) -> Price:
    found, _ = read(json.dumps({"model": fields}), "prices.json")
    price = found["model"]
    assert isinstance(price, Price), price
    return price


def unpriced(**fields) -> str:
    found, _ = read(json.dumps({"model": fields}), "prices.json")
    reason = found["model"]
    assert isinstance(reason, str)
    return reason


def usd(text: str) -> int:
    return int(Decimal(text) * PICO)


# ---- what an answer costs ----


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        pytest.param(Usage(1000, 200), "0.006", id="read-and-written"),
        pytest.param(Usage(0, 0), "0", id="nothing"),
        pytest.param(Usage(1000, 0, cache_read=800), "0.00084", id="from-a-cache"),
        pytest.param(Usage(1000, 0, cache_write=800), "0.0036", id="written-for-five-minutes"),
        pytest.param(Usage(1000, 0, cache_write_1h=800), "0.0054", id="written-for-an-hour"),
        pytest.param(
            Usage(1000, 10, cache_read=100, cache_write=200, cache_write_1h=300),
            "0.00393",
            id="all-kinds-of-caches-in-one",
        ),
        pytest.param(Usage(200_000, 1), "0.600015", id="at-the-step"),
        pytest.param(Usage(200_001, 1), "1.2000285", id="the-whole-request-above-it"),
        pytest.param(Usage(200_001, 0, cache_read=200_001), "0.1200006", id="cached-above-it"),
        pytest.param(Usage(300_000, 0, cache_write_1h=300_000), "3.6", id="an-hour-above-it"),
    ],
)
def test_a_cost_is_what_the_price_list_says(usage, expected):
    assert priced(**SONNET).cost(usage) == usd(expected)


def test_a_million_small_costs_sum_up_to_the_pico_dollar():
    price = priced(input_cost_per_token=7.5e-08, output_cost_per_token=6e-07)
    assert sum(price.cost(Usage(3, 1)) for _ in range(1000)) == 1000 * usd("8.25e-07")


def test_sound_and_reasoning_have_their_own_prices():
    price = priced(
        input_cost_per_token=1e-06,
        output_cost_per_token=2e-06,
        input_cost_per_audio_token=4e-05,
        output_cost_per_audio_token=8e-05,
        output_cost_per_reasoning_token=5e-06,
    )
    usage = Usage(100, 50, audio_input=60, audio_output=20, reasoning=10)
    assert price.cost(usage) == usd("0.00004") + usd("0.0024") + usd("0.0016") + usd("0.00009")


def test_what_an_entry_leaves_out_costs_what_it_is_a_part_of():
    price = priced(input_cost_per_token=1e-06, output_cost_per_token=4e-06)
    parts = Usage(100, 50, cache_read=20, cache_write=20, audio_input=10, reasoning=30)
    assert price.cost(parts) == price.cost(Usage(100, 50))


def test_a_service_tier_has_its_own_prices_and_an_unknown_one_the_standard():
    price = priced(
        input_cost_per_token=2e-06,
        output_cost_per_token=8e-06,
        cache_read_input_token_cost=5e-07,
        input_cost_per_token_flex=1e-06,
        output_cost_per_token_flex=4e-06,
        input_cost_per_token_priority=4e-06,
        output_cost_per_token_priority=16e-06,
    )
    usage = Usage(1000, 100)
    assert price.cost(usage, "flex") * 2 == price.cost(usage) == price.cost(usage, "default")
    assert price.cost(usage, "priority") == 2 * price.cost(usage)
    # What flex leaves out costs no less than it does otherwise.
    assert price.cost(Usage(1000, 0, cache_read=1000), "flex") == usd("0.0005")


def test_the_most_that_an_answer_costs_is_by_the_dearest_step_that_it_may_be_charged_at():
    price = priced(
        input_cost_per_token=3e-06,
        output_cost_per_token=1e-06,
        input_cost_per_token_above_200k_tokens=1e-06,
        output_cost_per_token_above_200k_tokens=2e-06,
    )
    assert price.most(200_000, 1000) == usd("0.601")
    assert price.most(300_000, 1000) == usd("0.902")  # of which fewer may be counted


def test_a_fee_for_each_request_is_charged():
    price = priced(
        input_cost_per_token=1e-06, output_cost_per_token=1e-06, input_cost_per_request=0.005
    )
    assert price.cost(Usage(1, 1)) == usd("0.005002")
    assert price.most(1, 1) == usd("0.005002")


def test_steps_told_as_a_list_hold_for_the_whole_request():
    price = priced(
        tiered_pricing=[
            {"input_cost_per_token": 5e-08, "output_cost_per_token": 4e-07, "range": [0, 256000.0]},
            {
                "input_cost_per_token": 2.5e-07,
                "output_cost_per_token": 2e-06,
                "range": [256000.0, 1000000.0],
            },
        ]
    )
    assert price.cost(Usage(256_000, 10)) == usd("0.0128") + usd("0.000004")
    assert price.cost(Usage(256_001, 10)) == usd("0.06400025") + usd("0.00002")


def test_noise_of_floating_point_is_rounded_off_a_price():
    price = priced(
        input_cost_per_token=2.9999900000000002e-06, output_cost_per_token=1.5000020000000002e-05
    )
    assert price.rates(0).input == 2_999_990
    assert price.rates(0).output == 15_000_020


counts = st.integers(0, 400_000)
usages = st.builds(Usage, counts, counts, counts, counts, counts, counts, counts, counts)


@given(usages)
def test_no_usage_costs_more_than_the_most(usage):
    price = priced(**SONNET, input_cost_per_audio_token=1e-05)
    assert 0 <= price.cost(usage) <= price.most(usage.input, usage.output)
    assert 0 <= price.cost(usage) <= price.most(usage.input + 250_000, usage.output)


@given(usages)
def test_parts_larger_than_their_whole_count_it_once(usage):
    flat = priced(input_cost_per_token=1e-06, output_cost_per_token=2e-06)
    assert flat.cost(usage) == usage.input * 10**6 + usage.output * 2 * 10**6


@given(st.integers(-10, -1))
def test_negative_counts_are_nothing(count):
    price = priced(**SONNET)
    assert price.cost(Usage(count, count, cache_read=count, reasoning=count)) == 0


def test_the_most_without_caches_or_sound_is_what_plain_text_costs():
    price = priced(**SONNET)
    assert price.most(1000, 200, cache_writes=False) == price.cost(Usage(1000, 200))
    assert price.most(1000, 200) == price.cost(Usage(1000, 200, cache_write_1h=1000))


# ---- unpriced, and free ----


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="empty"),
        pytest.param({"input_cost_per_token": 1e-06, "mode": "chat"}, id="nothing-of-output"),
        pytest.param({"output_cost_per_token": 1e-06}, id="nothing-of-input"),
        pytest.param({"input_cost_per_token": None, "output_cost_per_token": 1e-06}, id="null"),
        pytest.param({"output_cost_per_image": 0.04, "mode": "image_generation"}, id="by-image"),
        pytest.param({"max_input_tokens": 8000}, id="sizes-alone"),
    ],
)
def test_an_entry_that_tells_no_price_leaves_its_model_unpriced(fields):
    assert "'model'" in unpriced(**fields)


def test_zeros_that_somebody_wrote_are_a_free_model():
    assert priced(input_cost_per_token=0, output_cost_per_token=0).most(10**9, 10**9) == 0


def test_an_embedding_needs_no_price_of_output():
    assert priced(mode="embedding", input_cost_per_token=2e-08).cost(Usage(50, 0)) == usd("1e-06")


def test_the_longest_answer_comes_with_the_price():
    assert priced(**SONNET, max_output_tokens=64000).max_output_tokens == 64_000
    assert priced(**SONNET).max_output_tokens is None


# ---- in a plan, and in a configuration ----


def test_a_price_travels_in_a_plan_unchanged():
    (listed,) = prices().layers
    for price in listed.values():
        assert isinstance(price, Price)
        assert Price.read(json.loads(json.dumps(price.plain()))) == price


def test_a_configuration_states_a_price_exactly():
    price = stated(
        "local",
        {"input_cost_per_token": 1e-07, "output_cost_per_token": 3e-07, "unknown": None},
    )
    assert price.cost(Usage(3, 1)) == usd("6e-07")
    free = stated("free", {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0})
    assert free.cost(Usage(3, 1)) == 0
    with pytest.raises(ConfigInvalid, match="expected USD a token"):
        stated("dear", {"input_cost_per_token": 2.5, "output_cost_per_token": 10.0})


# ---- whose a price is ----


def test_a_model_is_found_under_its_provider_and_under_its_own_name():
    found = prices()
    for provider, model, entry in [
        ("openai", "gpt-4o-mini", "gpt-4o-mini"),
        ("azure", "gpt-4o-mini", "azure/gpt-4o-mini"),
        ("anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5"),
        ("gemini", "gemini-2.5-pro", "gemini/gemini-2.5-pro"),
    ]:
        price = found.of(provider, model)
        assert price is not None
        assert price.name == entry


def test_a_model_of_another_provider_has_no_price_by_its_bare_name():
    found = prices()
    assert found.of("openai", "claude-sonnet-4-5") is None
    assert "'openai/claude-sonnet-4-5'" in found.why_not("openai", "claude-sonnet-4-5")


@pytest.mark.parametrize("entry", ["gpt-4o-mini", "azure/gpt-4o-mini"])
def test_a_deployment_is_priced_as_the_entry_that_is_named(entry):
    price = prices().of("azure", "my-deployment", entry)
    assert price is not None
    assert price.name == "azure/gpt-4o-mini"


def test_an_entry_that_is_named_is_taken_whoevers_it_is_and_told_where_there_is_none():
    price = prices().of("openai", "a-copy", "claude-sonnet-4-5")
    assert price is not None
    assert price.name == "claude-sonnet-4-5"
    assert prices().of("openai", "gpt-4o", "nothing") is None  # the model's own is not meant
    assert prices().why_not("openai", "gpt-4o", "nothing") == (
        "no entry 'openai/nothing', nor 'nothing'"
    )


@pytest.mark.parametrize(
    ("kind", "url", "model", "entry"),
    [
        ("openai", "https://api.openai.com/v1", "gpt-4o", "gpt-4o"),
        (
            "openai",
            "https://api.groq.com/openai/v1",
            "openai/gpt-oss-120b",
            "groq/openai/gpt-oss-120b",
        ),
        (
            "openai",
            "https://generativelanguage.googleapis.com/v1beta/openai",
            "gemini-2.5-flash",
            "gemini/gemini-2.5-flash",
        ),
        ("openai", "https://api.deepseek.com/v1", "deepseek-chat", "deepseek-chat"),
        ("openai", "https://api.groq.com/openai/v1", "gpt-4o", None),
        ("openai", "http://127.0.0.1:8000/v1", "gpt-4o", "gpt-4o"),
        ("anthropic", "https://api.anthropic.com", "claude-opus-4-5", "claude-opus-4-5"),
        ("azure", "https://x.openai.azure.com", "gpt-4o", "azure/gpt-4o"),
    ],
)
def test_prices_are_those_of_whoever_is_at_the_address(kind, url, model, entry):
    price = prices().of(seller(kind, url), model)
    assert (None if price is None else price.name) == entry


def test_a_file_has_the_say_over_what_comes_along(tmp_path: Path):
    own = tmp_path / "prices.json"
    own.write_text(
        json.dumps(
            {
                "sample_spec": {"litellm_provider": "one of many", "mode": "one of: chat, ..."},
                "gpt-4o-mini": {"input_cost_per_token": 1, "output_cost_per_token": 0.5},
                "openai/local": {"input_cost_per_token": 0, "output_cost_per_token": 0},
                "gpt-4o": {"max_input_tokens": 5},
            }
        )
    )
    found = prices(own)
    mini = found.of("openai", "gpt-4o-mini")
    assert mini is not None
    assert mini.cost(Usage(1, 2)) == 2 * PICO
    local = found.of("openai", "local")
    assert local is not None
    assert local.cost(Usage(3, 1)) == 0
    assert found.of("openai", "gpt-4o") is None
    assert "says nothing" in found.why_not("openai", "gpt-4o")
    assert found.of("openai", "gpt-4.1") is not None


def test_every_listed_price_is_one():
    (listed,) = prices().layers
    assert [name for name, price in listed.items() if not isinstance(price, Price)] == []
    found = [price for price in listed.values() if isinstance(price, Price)]
    assert [price.name for price in found if not price.most(1000, 1000)] == []


# ---- bad files ----


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("{", "not JSON", id="cut-short"),
        pytest.param("[]", "object of models", id="a-list"),
        pytest.param("[" * 100_000, "not JSON", id="deep"),
        pytest.param('{"m": 5}', "'m': expected an object", id="no-entry"),
        pytest.param(
            '{"m": {"input_cost_per_token": 2.5, "output_cost_per_token": 10}}',
            "'m'.output_cost_per_token: expected USD a token, 0 to 1, got 10",
            id="dollars-a-million",
        ),
        pytest.param('{"m": {"input_cost_per_token": -1e-9}}', "got -1E-9", id="negative"),
        pytest.param('{"m": {"input_cost_per_token": NaN}}', "got nan", id="no-number"),
        pytest.param('{"m": {"input_cost_per_token": "1e-6"}}', "got 1e-6", id="text"),
        pytest.param('{"m": {"input_cost_per_token": true}}', "got True", id="truth"),
        pytest.param(
            '{"m": {"tiered_pricing": [{"range": [0, 5], "input_cost_per_token": 7}]}}',
            "'m'.tiered_pricing[0].input_cost_per_token",
            id="in-a-list",
        ),
        pytest.param('{"m": {"input_cost_per_request": -1}}', "input_cost_per_request", id="fee"),
    ],
)
def test_a_file_that_is_no_price_map_is_refused_with_the_reason(text, said):
    with pytest.raises(ConfigInvalid) as caught:
        read(text, "prices.json")
    assert said in str(caught.value)


def test_all_faults_are_told_at_once():
    with pytest.raises(ConfigInvalid, match="2 faults in prices"):
        read('{"a": {"input_cost_per_token": -1}, "b": {"output_cost_per_token": 9}}', "p.json")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path):
    with pytest.raises(ConfigInvalid, match="cannot read"):
        prices(tmp_path / "none.json")
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(ConfigInvalid, match="expected at most"):
        prices(large)
