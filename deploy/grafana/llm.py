"""The dashboard of language models."""

from __future__ import annotations

from deploy.grafana.panels import RANGE, RATE, Dashboard, Panel, Variable

_OF = '{model=~"$model", upstream=~"$upstream"}'
_NOT_CLOSED = '{model=~"$model", upstream=~"$upstream", state!="closed"}'
_EACH = "{{model}}/{{version}} {{upstream}}"
_BY = "model, version, upstream"


def _rate(name: str, by: str = _BY, labels: str = _OF) -> str:
    return f"sum by ({by}) (rate({name}{labels}{RATE}))"


def _quantiles(name: str) -> dict[str, str]:
    bucket = f"penstock_llm_{name}_seconds_bucket{_OF}{RATE}"
    return {
        f"histogram_quantile({share}, sum by ({_BY}, le) (rate({bucket})))": f"{_EACH} {called}"
        for share, called in ((0.5, "p50"), (0.95, "p95"))
    }


def _of_type(kind: str) -> str:
    return f'{{model=~"$model", upstream=~"$upstream", type="{kind}"}}'


_TOKENS = "penstock_llm_tokens_total"
LLM = Dashboard(
    "penstock-llm",
    "Penstock: language models",
    (
        Variable("model", "label_values(penstock_llm_requests_total, model)"),
        Variable("upstream", "label_values(penstock_llm_requests_total, upstream)"),
    ),
    (
        Panel(
            "Requests",
            {
                _rate("penstock_llm_requests_total", "model, version, result"): (
                    "{{model}}/{{version}} {{result}}"
                )
            },
            "reqps",
            text="ok, left (the client went first), failed, broken (in mid-stream), filtered or"
            " fell_back (another model was asked).",
        ),
        Panel(
            "Cost per hour",
            {f"3600 * {_rate('penstock_llm_cost_usd_total')}": _EACH},
            "currencyUSD",
        ),
        Panel(
            "Cost in the time shown",
            {f"sum by (model) (increase(penstock_llm_cost_usd_total{_OF}{RANGE}))": "{{model}}"},
            "currencyUSD",
            kind="stat",
        ),
        Panel("Time to first token", _quantiles("first_token"), "s"),
        Panel("Between two pieces of a stream", _quantiles("gap"), "s"),
        Panel("Time per further token", _quantiles("time_per_token"), "s"),
        Panel("Time of whole requests", _quantiles("duration"), "s"),
        Panel(
            "What the gateway itself takes",
            _quantiles("overhead"),
            "s",
            text="Until the upstream was asked, and after the last byte of its answer.",
        ),
        Panel(
            "Tokens",
            {_rate(_TOKENS, "model, type"): "{{model}} {{type}}"},
            text="cache_read and cache_write are of input, reasoning is of output.",
        ),
        Panel(
            "Share of input from caches",
            {
                f"sum by ({_BY}) (rate({_TOKENS}{_of_type('cache_read')}{RATE}))"
                f" / sum by ({_BY}) (rate({_TOKENS}{_of_type('input')}{RATE}))": _EACH
            },
            "percentunit",
        ),
        Panel(
            "Failed and limited attempts",
            {
                _rate("penstock_llm_attempts_failed_total"): f"{_EACH} failed",
                _rate("penstock_llm_attempts_limited_total"): f"{_EACH} limited",
            },
            "reqps",
        ),
        Panel(
            "Retries and fallbacks",
            {
                _rate("penstock_llm_retries_total"): f"{_EACH} retries",
                _rate("penstock_llm_fallbacks_total"): f"{_EACH} fallbacks",
            },
            "reqps",
        ),
        Panel(
            "Breakers that are not closed",
            {
                f"sum by ({_BY}, state) (penstock_llm_upstream_breakers{_NOT_CLOSED})": (
                    "{{model}}/{{version}} {{upstream}} {{state}}"
                )
            },
            text="Workers that leave an upstream alone, or probe it.",
        ),
        Panel(
            "Requests under way",
            {f"sum by ({_BY}) (penstock_llm_upstream_in_flight_requests{_OF})": _EACH},
        ),
        Panel(
            "Connections",
            {
                f"max by (provider, state) (penstock_llm_upstream_connections{_OF})": (
                    "{{provider}} {{state}}"
                )
            },
        ),
        Panel(
            "Unknown prices",
            {
                f"sum by ({_BY}) (penstock_llm_unpriced{_OF}) > 0": _EACH,
            },
            kind="stat",
            text="Nobody knows what these charge: their answers cost nothing here.",
        ),
        Panel(
            "Changes of what answers",
            {f"sum by ({_BY}) (increase(penstock_llm_upstream_changes_total{_OF}{RANGE}))": _EACH},
            kind="stat",
            text="An upstream named another model or fingerprint than before.",
        ),
    ),
)
