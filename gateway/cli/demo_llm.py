"""`penstock demo llm`: language models behind a gateway, with a provider that costs nothing.

Knows what is shown and in which order. Knows nothing of how requests are answered: it is a client
of a server process like any other, and the provider behind that is `gateway.llm.fake`.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from gateway.cli.demo_llm_calls import CHAT, Answered, Caller
from gateway.cli.output import progress, say, say_json, table
from gateway.errors import Unavailable

if TYPE_CHECKING:
    from gateway.cli.child import ServerProcess
    from gateway.llm.fake.server import FakeProvider

EACH = 100  # requests of each kind
SCRIPT = "tokens=24&ttft_s=0.03&rate=1000&cached=40&input=120"
BUDGET_USD = "0.002"
COUNTED_WITHIN_S = 30.0
MODELS = ("assistant", "claude")
HEADER = ("what", "requests", "streams", "answered", "tokens", "cost USD", "told")


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table.

    Attributes:
        what: was asked, and by whom.
        requests: answered whole.
        streams: answered in pieces.
        answered: of both, with 200.
        tokens: of these, as the gateway has charged the key for.
        cost: likewise, in dollars.
        told: what else there is to say.
    """

    what: str
    requests: int
    streams: int
    answered: int
    tokens: int
    cost: str
    told: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the demo found.

    Attributes:
        rows: of the table.
        first_token_ms: from asking to the first token, median: through the gateway, and without.
        faults: what is not as it should be.
    """

    rows: list[Row]
    first_token_ms: tuple[float, float]
    faults: list[str]

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return {"ok": not self.faults, **asdict(self)}


def run(keep: bool, as_json: bool, environment: Mapping[str, str]) -> int:
    """Serves, asks, prints; 1 if anything was not as it should be."""
    from gateway.cli.child import ServerProcess
    from gateway.llm.fake.server import FakeProvider

    with tempfile.TemporaryDirectory(prefix="penstock-demo-") as folder, FakeProvider() as fake:
        home = Path(folder)
        keys = _keys(home)
        config = home / "demo.yaml"
        config.write_text(json.dumps(document(fake), indent=2))  # JSON is YAML
        arguments = ("--config", str(config), "--workers", "1")
        with ServerProcess(home, arguments, environment=environment) as server:
            progress("starting a server (the first time compiles for some seconds)")
            server.wait_ready()
            shown = show(home, server, fake, keys)
            _report(shown, as_json)
            if keep:
                _keep(home, server, keys["spare"], as_json)
    return 1 if shown.faults else 0


def document(fake: FakeProvider) -> dict[str, Any]:
    """Providers of both families, one that is down, and models that they answer for."""

    def model(*providers: str, name: str = "gpt-4o-mini", **more: Any) -> dict[str, Any]:
        return {"upstreams": [{"provider": one, "model": name} for one in providers], **more}

    down = fake.url("name=down&status=503")
    return {
        "access": {"data": "keys"},
        "llm": {
            "providers": {
                "openai": {"base_url": fake.url("name=openai"), "allow_private": True},
                "anthropic": {
                    "kind": "anthropic",
                    "base_url": fake.url("name=anthropic", version=""),
                    "allow_private": True,
                },
                "down": {"base_url": down, "allow_private": True},
            },
            "models": {
                "assistant": model("openai", aliases=["gpt-4o-mini"]),
                "claude": model("anthropic", name="claude-sonnet-4-5"),
                "steady": model("down", fallbacks=["claude"], retries={"attempts": 0}),
            },
        },
    }


def _keys(home: Path) -> dict[str, str]:
    """A key for each row of the table, so that each has its own account."""
    from gateway.access.allowance import read_allowance
    from gateway.access.secret import server_secret
    from gateway.control.audit import at_terminal
    from gateway.control.key_values import Belongs
    from gateway.control.keys import Keys
    from gateway.control.store import Store

    budgets = {f"{model}-{how}": "1usd/day" for model in MODELS for how in ("whole", "streamed")}
    budgets |= {"poor": f"{BUDGET_USD}usd/total", "steady": "1usd/day", "spare": "1usd/day"}
    with Store.open(home) as store:
        keys = Keys(store, server_secret(home))
        return {
            name: keys.create(
                at_terminal(),
                name,
                "client",
                belongs=Belongs(allowance=read_allowance({"budgets": [budget]}, name)),
            )[1]
            for name, budget in budgets.items()
        }


# ---- asking -------------------------------------------------------------------------------------


def show(home: Path, server: ServerProcess, fake: FakeProvider, keys: Mapping[str, str]) -> Shown:
    """Asks everything that the table tells of.

    Raises:
        Unavailable: the server does not count in time.
    """
    caller = Caller(server.port)
    rows, faults = [], []
    streamed: list[Answered] = []
    for model in MODELS:
        progress(f"asking {model}: {EACH} answers whole, and the same {EACH} streamed")
        whole = caller.ask(EACH, keys[f"{model}-whole"], model, SCRIPT)
        streams = caller.ask(EACH, keys[f"{model}-streamed"], model, SCRIPT, stream=True)
        pair = [
            _row(home, f"{model}, whole", f"{model}-whole", whole),
            _row(home, f"{model}, streamed", f"{model}-streamed", streams, stream=True),
        ]
        rows += pair
        streamed += streams
        faults += _unlike(model, pair, whole + streams)
    rows.append(_poor(home, caller, keys["poor"], faults))
    rows.append(_steady(home, caller, fake, keys["steady"], faults))
    return Shown(rows, _first_token(fake, streamed), faults)


def _row(
    home: Path,
    what: str,
    name: str,
    asked: Sequence[Answered],
    stream: bool = False,
    told: str = "",
) -> Row:
    answered = sum(one.status == 200 for one in asked)
    cost, tokens = _spent(home, name, answered)
    count = len(asked)
    return Row(what, 0 if stream else count, count if stream else 0, answered, tokens, cost, told)


def _unlike(model: str, pair: Sequence[Row], asked: Sequence[Answered]) -> list[str]:
    whole, streamed = pair
    found = [f"{model}: {one.status} {one.code}" for one in asked if one.status != 200]
    if len({one.text for one in asked}) != 1:
        found.append(f"{model}: answers differ")
    if (whole.tokens, whole.cost) != (streamed.tokens, streamed.cost):
        found.append(f"{model}: whole and streamed answers are not charged alike")
    return found


def _poor(home: Path, caller: Caller, key: str, faults: list[str]) -> Row:
    progress(f"spending a budget of {BUDGET_USD} USD by many callers at once")
    asked = caller.ask(3 * EACH, key, "assistant", "tokens=100&input=50")
    refused = sorted({one.code for one in asked if one.status != 200})
    row = _row(
        home, f"a key with {BUDGET_USD} USD", "poor", asked, told=f"then {' or '.join(refused)}"
    )
    if float(row.cost) > float(BUDGET_USD) or not refused:
        faults.append(f"the key with {BUDGET_USD} USD: {row.cost} USD spent")
    if unexpected := {*refused} - {"budget_exceeded", "request_too_expensive"}:
        faults.append(f"the key with {BUDGET_USD} USD: {', '.join(sorted(unexpected))}")
    return row


def _steady(home: Path, caller: Caller, fake: FakeProvider, key: str, faults: list[str]) -> Row:
    progress("asking a model whose provider is down, and which falls back to another")
    asked = caller.ask(EACH, key, "steady", SCRIPT, at_once=1)
    tried = len(fake.named("down"))
    others = sum(one.upstream.startswith("anthropic/") for one in asked)
    told = f"{others} by claude; its breaker opened after {tried} tries"
    row = _row(home, "steady, its provider down", "steady", asked, told=told)
    if others != EACH:
        faults.append(f"steady: {others} of {EACH} answered by another model")
    if tried >= EACH // 2:
        faults.append(f"steady: the provider that is down was asked {tried} times")
    return row


def _first_token(fake: FakeProvider, streamed: Sequence[Answered]) -> tuple[float, float]:
    direct = Caller(fake.port).ask(EACH, "none", "gpt-4o-mini", SCRIPT, stream=True)
    through = median(one.first_token_s for one in streamed)
    return round(1e3 * through, 2), round(1e3 * median(one.first_token_s for one in direct), 2)


def _spent(home: Path, name: str, requests: int) -> tuple[str, int]:
    """What a key was charged, once all its requests are counted.

    Raises:
        Unavailable: they are not in time.
    """
    from gateway.access.allowance import dollars
    from gateway.control.spend_report import lines
    from gateway.control.store import Store

    deadline = time.monotonic() + COUNTED_WITHIN_S
    while True:
        with Store.open(home) as store:
            found = {line.name: line.total for line in lines(store, time.time())}
        money, tokens, counted = found.get(name, (0, 0, 0))
        if counted == requests:
            return dollars(money), tokens
        if time.monotonic() > deadline:
            raise Unavailable(f"key '{name}': {counted} of {requests} requests are counted")
        time.sleep(0.1)  # control writes down once a second what workers have counted


# ---- telling ------------------------------------------------------------------------------------


def _report(shown: Shown, as_json: bool) -> None:
    if as_json:
        say_json(shown.as_json())
        return
    say(table(HEADER, [list(asdict(row).values()) for row in shown.rows]))
    say()
    through, direct = shown.first_token_ms
    say(f"First token after {through:g} ms (median); asked without the gateway, {direct:g} ms.")
    say("Providers tell tokens in ways of their own; whole or streamed, an answer costs the same.")
    for fault in shown.faults[:20]:
        say(f"fault: {fault}")


def _keep(home: Path, server: ServerProcess, key: str, as_json: bool) -> None:
    """Waits for the server to end, or for Ctrl-C, which is how one leaves."""
    base = f"http://127.0.0.1:{server.port}"
    asked = json.dumps({"model": "claude", "messages": [{"role": "user", "content": "hello"}]})
    streamed = json.dumps({**json.loads(asked), "stream": True})
    try:
        if not as_json:
            curl = f"curl {base}{CHAT} -H 'authorization: Bearer {key}'"
            say()
            say("The server stays up until Ctrl-C. Try:")
            say(f"  {curl} -d '{asked}'")
            say(f"  {curl} -d '{streamed}'")
            say(f"  curl {base}/v1/models -H 'authorization: Bearer {key}'")
            say(f"  penstock keys spend --home {home}")
            say(f"  curl http://127.0.0.1:{server.admin_port}/metrics")
            say("or point any client at it:")
            say(f"  OPENAI_BASE_URL={base}/v1 OPENAI_API_KEY={key} python your_program.py")
            say(f"  ANTHROPIC_BASE_URL={base} ANTHROPIC_API_KEY={key} python your_program.py")
        server.process.wait()
    except KeyboardInterrupt:
        progress("stopping the server")
