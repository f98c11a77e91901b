"""Whether budgets hold, and whether a stream costs what a whole answer costs.

Knows each question and what is counted for it. Knows nothing of how servers or load work.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from loadtest import language
from loadtest.bench import Bench
from loadtest.bodies import Pool, write_pool
from loadtest.language import CHAT, Gateway, known
from loadtest.servers import ask
from loadtest.turns import Measure, Result

CALLERS, WORKERS = 200, 2
BUDGET_USD = 0.25
PICO = 10**12
# Of gpt-4o-mini, pico-dollars a token.
INPUT, OUTPUT = 150_000, 600_000
MOST_OUTPUT = 64
# What can be asked for in that time costs many times the budget.
SECONDS = 8.0
REFUSALS = {"200", "429"}


def budget(bench: Bench) -> list[Result]:
    """200 callers at once on one key of two workers, until its budget refuses them all."""
    overruns, unused = [], []
    faults = 0
    detail: dict[str, Any] = {}
    for _ in range(bench.turns(5)):
        over, left, wrong, detail = _spend(bench)
        overruns.append(over)
        unused.append(left)
        faults += wrong
    measures = [
        Measure("overrun of the budget", overruns, "<=", 0.0, "%"),
        Measure("of the budget that no caller could use", unused, "<=", 1.0, "%"),
    ]
    title = f"{CALLERS} callers on one key with {BUDGET_USD:g} USD, {WORKERS} workers"
    return [Result("language-budget", title, measures, detail=detail, faults=faults)]


def _spend(bench: Bench) -> tuple[float, float, int, dict[str, Any]]:
    provider = language.fake_provider(bench)
    limits = {"budgets": [f"{BUDGET_USD}usd/total"]}
    where = bench.all_cores[:WORKERS]
    ours = language.gateway(bench, provider.port, limits=limits, workers=WORKERS, where=where)
    pool = known(bench.pool("spending", _pool), ours.key)
    stream = bench.stream(ours.port, "callers", pool, target=CHAT, connections=CALLERS)
    done = bench.generate(stream, seconds=SECONDS, warmup_s=0.0)["callers"]
    told = language.counts(provider)
    # By what the provider says that it has sent, not by what the gateway says of it.
    cost = told["input"] * INPUT + told["output"] * OUTPUT
    charged, _, answered = language.spent(ours, done["ok"])["load-0"]
    wrong = sum(count for status, count in done["statuses"].items() if status not in REFUSALS)
    wrong += abs(answered - done["ok"]) + int(charged != cost)
    wrong += int("429" not in done["statuses"])  # it was never spent: nothing was tried
    for server in (ours.server, provider):
        server.stop()
    budget = BUDGET_USD * PICO
    detail = {"answered": done["ok"], "refused": done["statuses"].get("429", 0)}
    over, left = max(0.0, cost - budget), max(0.0, budget - cost)
    return 100 * over / budget, 100 * left / budget, wrong, detail


def _pool(path: Path) -> Pool:
    """Requests that may be answered with some tokens, and are with fewer."""
    rng = random.Random(3)
    bodies = [
        language.chat_body(
            language.text(200, rng) + f" fake?tokens={rng.randint(1, MOST_OUTPUT)}",
            max_tokens=MOST_OUTPUT,
        )
        for _ in range(512)
    ]
    return write_pool(path, bodies, language.JSON)


# ---------------------------------------------------------------- streams and whole answers

COUNTS = "input=1000&cached=400&tokens=7"
WRITTEN = f"{COUNTS}&cache_write=50&cache_write_1h=20"
_TOLD = ("asked", "always", "every", "null_after", "absent")
# Model, and how its provider tells what an answer took.
SHAPES = [
    *(("openai", f"{COUNTS}&usage={how}") for how in (*_TOLD, "finish", "empty_choice")),
    *(("anthropic", f"{WRITTEN}&usage={how}") for how in _TOLD),
    *(("azure", f"{COUNTS}&azure=1&usage={how}") for how in ("asked", "finish")),
    *((kind, f"{COUNTS}&reasoning=30") for kind in ("openai", "anthropic", "azure")),
    *((kind, "tools=2") for kind in ("openai", "anthropic", "azure")),
]
PATHS = (CHAT, "/v1/messages", "/v1/responses")


def equal(bench: Bench) -> list[Result]:
    """Answers that cost another sum streamed than whole, in every shape and dialect."""
    provider = language.fake_provider(bench)
    asked = [
        (path, model, script)
        for model, script in SHAPES
        for path in PATHS
        if model != "azure" or path != "/v1/responses"
    ]
    models = {kind: kind for kind in language.UPSTREAMS}
    limits = {"budgets": ["1usd/total"]}
    ours = language.gateway(bench, provider.port, models, 2 * len(asked), limits)
    for n, (path, model, script) in enumerate(asked):
        for stream in (False, True):
            _ask(ours, ours.keys[2 * n + stream], path, model, script, stream)
    spent = language.spent(ours, 2 * len(asked))
    unequal = {
        f"{model} {path} {script}": f"{spent[f'load-{2 * n}']} and {spent[f'load-{2 * n + 1}']}"
        for n, (path, model, script) in enumerate(asked)
        if spent[f"load-{2 * n}"] != spent[f"load-{2 * n + 1}"]
    }
    measure = Measure("shapes whose cost or tokens differ", [float(len(unequal))], "<=", 0.0)
    title = f"Cost and tokens, streamed against whole, in {len(asked)} shapes of usage"
    return [Result("language-equal", title, [measure], detail=unequal)]


def _ask(ours: Gateway, key: str, path: str, model: str, script: str, stream: bool) -> None:
    text = f"hello fake?{script} there"
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    values: dict[str, Any] = {"model": model, "stream": stream}
    if path == "/v1/responses":
        tool: dict[str, Any] = {"type": "function", "name": "weather", "parameters": parameters}
        values |= {"input": text}
    else:
        values |= {"messages": [{"role": "user", "content": text}], "max_tokens": 200}
        function = {"name": "weather", "parameters": parameters}
        tool = {"type": "function", "function": function}
        if path == "/v1/messages":
            tool = {"name": "weather", "input_schema": parameters}
    if "tools" in script:
        values["tools"] = [tool]
    headers = language.JSON | {"Authorization": f"Bearer {key}"}
    status, body = ask(ours.port, path, "POST", json.dumps(values).encode(), headers)
    if status != 200:
        raise RuntimeError(f"{path}, {model}, {script}: expected 200, got {status}: {body[:300]!r}")
