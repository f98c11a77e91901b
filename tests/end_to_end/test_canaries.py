"""No secret ever leaves: what is planted is looked for in all that a server says and leaves behind.

A secret that was cut or wrapped has left as well: any twelve of its characters in a row are
looked for.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import random
import resource
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from cryptography.hazmat.primitives import serialization

from gateway.access.secret import FILE
from tests.certificates import Authority
from tests.collector import collecting
from tests.end_to_end import commands
from tests.end_to_end.provider import Provider
from tests.end_to_end.server import DEMO_MODEL, RunningServer, eventually, running
from tests.end_to_end.test_confined import served

MODEL = "breast_cancer"
INFER = f"/v2/models/{MODEL}/infer"
ROW = {"name": "X", "shape": [1, 30], "datatype": "FP32", "data": [1.0] * 30}
BODY = json.dumps({"inputs": [ROW]}).encode()
TRACED = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
DATA_PORT = [
    ("GET", "/v2", None),
    ("GET", f"/v2/models/{MODEL}", None),
    ("GET", f"/v2/models/{MODEL}/config", None),
    ("GET", "/v2/models/stats", None),
    ("POST", "/v2/repository/index", b""),
    ("POST", "/v2/repository/models/nothing/load", b""),
    ("POST", INFER, BODY),
    ("POST", INFER, b"{"),
    ("POST", "/v2/models/nothing/infer", BODY),
    ("GET", "/v2/nothing", None),
]
CONTROL_PORT = [
    ("GET", "/metrics"),
    ("GET", "/api/status"),
    ("GET", "/api/models"),
    ("GET", "/api/audit?limit=1000"),
    ("GET", "/api/config"),
    ("GET", "/api/config/effective"),
    ("GET", "/api/keys"),
    ("GET", "/api/openapi.json"),
    ("PUT", "/api/keys"),
    ("GET", "/api/nothing"),
]
COMMANDS = [
    ("keys", "list"),
    ("models", "list"),
    ("doctor",),
    ("audit", "list"),
    ("audit", "export"),
    ("config", "show"),
    ("config", "show", "--effective"),
    ("config", "history"),
    ("backup", "{home}/backup.tar", "--without-secret"),
]
AT_LEAST = 12
RNG = random.Random(20)


def made_up_key() -> str:
    return "psk_" + "".join(RNG.choices("abcdefghijklmnopqrstuvwxyzABCDEFGH0123456789_-", k=32))


# ---- what is planted, and how it is looked for ---------------------------------------------------


@dataclass
class Canaries:
    """Secrets by name, each in every form that it might leave in."""

    forms: dict[str, list[bytes]] = field(default_factory=dict)

    def plant(self, **secrets: str) -> None:
        for name, secret in secrets.items():
            self.forms[name] = [secret.encode()]

    def plant_bytes(self, name: str, secret: bytes) -> None:
        digits = secret.hex()
        self.forms[name] = [
            secret,
            digits.encode(),
            digits.upper().encode(),
            base64.b64encode(secret),
            base64.urlsafe_b64encode(secret),
            repr(secret).encode(),
            str(int.from_bytes(secret)).encode(),
        ]

    def plant_private_key(self, name: str, pem: bytes) -> None:
        """Its number; and of its lines those characters that it alone decides."""
        key = serialization.load_pem_private_key(pem, None)
        number = key.private_numbers().private_value.to_bytes(32)  # type: ignore[union-attr]
        self.plant_bytes(name, number)
        whole = b"".join(line for line in pem.splitlines() if not line.startswith(b"-"))
        start = base64.b64decode(whole).index(number)
        self.forms[name].append(whole[-(-start * 4 // 3) : (start + 32) * 4 // 3])

    def seen_in(self, texts: Mapping[str, bytes]) -> dict[str, set[str]]:
        """By place: the canaries of which a piece stands there."""
        pieces = {
            form[start : start + AT_LEAST]: name
            for name, forms in self.forms.items()
            for form in forms
            for start in range(len(form) - AT_LEAST + 1)
        }
        found = {
            place: {
                pieces[text[at : at + AT_LEAST]]
                for at in range(len(text) - AT_LEAST + 1)
                if text[at : at + AT_LEAST] in pieces
            }
            for place, text in texts.items()
        }
        return {place: names for place, names in found.items() if names}


def test_a_piece_of_a_secret_in_any_form_is_found():
    canaries = Canaries()
    canaries.plant(key="psk_abcdefghijklmnop")
    canaries.plant_bytes("secret", secret := bytes(range(100, 132)))
    texts = {
        "cut": b"refused psk_abcdefghij...",
        "hex": secret[:20].hex().encode(),
        "raw": b"\x00" + secret[:12] + b"\x00",
        "base64": base64.b64encode(secret)[5:20],
        "less": b"refused psk_abcdefg...",
        "nothing": b"refused psk_...",
    }
    found = canaries.seen_in(texts)
    assert found == {"cut": {"key"}, "hex": {"secret"}, "raw": {"secret"}, "base64": {"secret"}}


def test_the_private_part_of_a_key_is_found_and_its_public_part_is_not(tmp_path):
    authority = Authority(tmp_path)
    authority.issue()
    canaries = Canaries()
    canaries.plant_private_key("key", authority.key.read_bytes())
    texts = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert canaries.seen_in(texts) == {"server.key": {"key"}}


# ---- a server that is driven ---------------------------------------------------------------------


@dataclass
class Driven:
    """A server, and all that it has been heard to say."""

    server: RunningServer
    home: Path
    tls: ssl.SSLContext | None = None
    told: list[bytes] = field(default_factory=list)

    def ask(
        self,
        port: int,
        method: str,
        path: str,
        token: str,
        body: bytes | None = None,
        how: str = "authorization",
    ) -> int:
        """One request, whose answer is kept; its status."""
        line = self._line(port)
        shown = {"authorization": f"Bearer {token}"} if how == "authorization" else {how: token}
        with closing(line):
            line.request(method, path, body, {**shown, **TRACED, "penstock-timing": "1"})
            answer = line.getresponse()
            self.told += [str(answer.headers).encode(), answer.read()]
            return answer.status

    def _line(self, port: int) -> http.client.HTTPConnection:
        if self.tls is None:
            return http.client.HTTPConnection("localhost", port, timeout=20)
        return http.client.HTTPSConnection("localhost", port, timeout=20, context=self.tls)

    def make_key(self, admin: str) -> str:
        """One more over HTTP, shown to whoever asked for it: that alone is no leak."""
        body = json.dumps({"name": "late", "role": "client"})
        headers = {"authorization": f"Bearer {admin}", "content-type": "application/json"}
        with closing(self._line(self.server.admin_port)) as line:
            line.request("POST", "/api/keys", body, headers)
            return str(json.loads(line.getresponse().read())["key"])

    def try_token(self, token: str) -> None:
        """Everywhere, and in every place where somebody might put it."""
        data, control = self.server.port, self.server.admin_port
        for method, path, body in DATA_PORT:
            self.ask(data, method, path, token, body)
        for method, path in CONTROL_PORT:
            self.ask(control, method, path, token)
        for port in (data, control):
            self.ask(port, "GET", f"/v2/models/stats?api_key={token}", "none")
            self.ask(port, "GET", "/v2/models/stats", token, how="x-api-key")
            self.ask(port, "GET", "/v2/models/stats", token, how="proxy-authorization")

    def run_commands(self) -> None:
        for words in COMMANDS:
            done = command(self.home, *(word.format(home=self.home) for word in words))
            self.told += [done.stdout.encode(), done.stderr.encode()]
        check = commands.penstock("config", "check", self.home / "penstock.yaml", "--json")
        assert check.returncode == 0, check.stderr
        self.told.append(check.stdout.encode())

    def is_well(self, token: str) -> bool:
        with suppress(OSError, http.client.HTTPException):
            ready = self.ask(self.server.port, "GET", "/v2/health/ready", token)
            listening = self.ask(self.server.admin_port, "GET", "/health/ready", token)
            answered = self.ask(self.server.port, "POST", INFER, token, BODY)
            return (ready, listening, answered) == (200, 200, 200)
        return False

    def crash(self, token: str) -> None:
        """All processes but the supervisor, by signals that dump cores; until others serve."""
        before = self.server.children()
        for number, child in enumerate(before):
            child.send_signal((signal.SIGABRT, signal.SIGSEGV)[number % 2])
        psutil.wait_procs(before, 20)
        eventually(lambda: len(self.server.children()) >= len(before))
        eventually(lambda: self.is_well(token))

    def traces(self) -> dict[str, bytes]:
        """All that was heard, and what /proc shows of its processes."""
        found = {"answers and commands": b"\n".join(self.told), "log": self.server.log.encode()}
        for pid in processes(self.server):
            for name in ("cmdline", "environ"):
                with suppress(PermissionError):  # nobody but root is shown them
                    found[f"{name} of {pid}"] = Path(f"/proc/{pid}/{name}").read_bytes()
        return found


def processes(server: RunningServer) -> list[int]:
    return [server.process.pid, *(child.pid for child in server.children())]


def command(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return commands.penstock(*words, "--home", home)


def make_key(home: Path, name: str, role: str) -> str:
    done = command(home, "keys", "create", "--name", name, "--role", role, "--json")
    return str(json.loads(done.stdout)["key"])


def files(home: Path) -> dict[str, bytes]:
    """What lies in a home, but for the secret that it keeps."""
    paths = [path for path in home.rglob("*") if path.is_file() and path != home / FILE]
    return {str(path): path.read_bytes() for path in paths}


@contextmanager
def cores_wanted(folder: Path) -> Iterator[None]:
    """Crashes of what is started within leave a core in this folder, as far as the limit goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


# ---- the promise ---------------------------------------------------------------------------------


def test_no_secret_ever_leaves(tmp_path):
    """Everything is driven, a worker and control crash, and nothing holds what was planted."""
    canaries, mounted, home = Canaries(), tmp_path.with_name("mounted"), tmp_path / "home"
    home.mkdir()
    keys = {role: make_key(home, role, role) for role in ("client", "viewer", "operator", "admin")}
    keys["mounted"] = made_up_key()
    mounted.write_text(keys["mounted"])
    adopted = ("--name", "mounted", "--role", "admin", "--from-file", str(mounted))
    assert command(home, "keys", "create", *adopted).returncode == 0
    config = "access: {data: keys, control: keys}\nrepository: {allow_load: true}\n"
    with (
        cores_wanted(tmp_path),
        running(home, DEMO_MODEL, "--workers", "2", config=config) as server,
    ):
        driven = Driven(server, home)
        keys |= {"late": driven.make_key(keys["admin"]), "unknown": made_up_key()}
        canaries.plant(**keys)
        canaries.plant_bytes("secret", (home / FILE).read_bytes())
        for key in keys.values():
            driven.try_token(key)
            driven.ask(server.port, "POST", f"/v2/models/{key}/infer", "none", BODY)
        driven.crash(keys["client"])
        driven.run_commands()
        traces = driven.traces()
    written = files(home)
    assert str(home / "backup.tar") in written
    assert canaries.seen_in({**traces, **written}) == {}
    assert list(tmp_path.glob("core*")) == []


def test_no_secret_leaves_with_tls_tokens_traces_and_a_log_of_all_requests(tmp_path):
    canaries, home, outside = Canaries(), tmp_path / "home", tmp_path / "outside"
    home.mkdir()
    outside.mkdir()
    authority, provider = Authority(outside), Provider(outside)
    authority.issue()
    stranger = Provider(folder(outside / "stranger"))
    keys = {"client": make_key(home, "client", "client"), "admin": make_key(home, "boss", "admin")}
    tokens = {
        "good": provider.token("client", models=[MODEL]),
        "good for control": provider.token("admin"),
        "expired": provider.token("client", lives_s=-1),
        "forged": stranger.token("admin"),
        "of no role": provider.token("root"),
        "unsigned": f"{provider.token('client').rpartition('.')[0]}.",
        "unknown": made_up_key(),
    }
    header = made_up_key()
    (outside / "headers").write_text(f"authorization: Bearer {header}\n")
    canaries.plant(**keys, **tokens, header=header)
    canaries.plant_bytes("secret", (home / FILE).read_bytes())
    canaries.plant_private_key("key of the certificate", authority.key.read_bytes())
    with collecting() as (collector, port), cores_wanted(tmp_path):
        config = (
            f"{authority.yaml('server')}{authority.yaml('control')}"
            f"access: {{data: keys, control: keys, jwt: {provider.as_config()}}}\n"
            f"log: {{format: json, access: all, access_file: {home}/access.log}}\n"
            f"tracing: {{endpoint: 'http://127.0.0.1:{port}', headers_file: {outside}/headers}}\n"
        )
        with running(home, DEMO_MODEL, "--workers", "2", config=config) as server:
            driven = Driven(server, home, authority.client())
            eventually(lambda: driven.is_well(tokens["good"]))
            for token in (*keys.values(), *tokens.values()):
                driven.try_token(token)
            eventually(lambda: len(collector.requests()) > 0)
            assert collector.headers["authorization"] == f"Bearer {header}"
            collector.status = 401
            driven.try_token(keys["client"])
            eventually(lambda: "traces cannot be exported" in server.log)
            authority.key.write_bytes(authority.key.read_bytes().replace(b"BEGIN", b"BEGAN"))
            eventually(lambda: "got what OpenSSL cannot read" in server.log)
            authority.key.write_bytes(authority.key.read_bytes().replace(b"BEGAN", b"BEGIN"))
            driven.crash(keys["client"])
            driven.run_commands()
            traces = driven.traces()
        traces["spans"] = repr([kept.span for kept in collector.spans]).encode()
    written = files(home)
    assert {str(home / "backup.tar"), str(home / "access.log")} <= set(written)
    assert written[str(home / "access.log")].count(b'"path":') > 100
    assert canaries.seen_in({**traces, **written}) == {}
    assert list(tmp_path.glob("core*")) == []


def folder(path: Path) -> Path:
    path.mkdir()
    return path


# ---- cores ---------------------------------------------------------------------------------------


def test_no_process_leaves_a_core_even_where_cores_are_wanted_and_access_is_open(tmp_path):
    crash = [sys.executable, "-c", "import os; os.abort()"]
    with cores_wanted(folder(tmp_path / "tried")):
        subprocess.run(crash, stderr=subprocess.DEVNULL, timeout=60, check=False)
    if not list((tmp_path / "tried").iterdir()):
        pytest.skip("a crash leaves no core beside it on this system")
    home, cores = folder(tmp_path / "home"), folder(tmp_path / "cores")
    with (
        cores_wanted(cores),
        running(home, DEMO_MODEL, "--workers", "2") as server,
    ):
        Driven(server, home).crash("none")
        killed = [*server.children(), psutil.Process(server.process.pid)]
        for process in killed:
            process.send_signal(signal.SIGSEGV)
        psutil.wait_procs(killed, 20)
    assert list(cores.iterdir()) == []


def test_every_process_shows_its_memory_and_environment_to_root_alone():
    """What may be dumped belongs to its own user under /proc, what may not to root."""
    # Who may not write into the tests' cache would compile all kernels, of which none is needed.
    nobody = ["env", "NUMBA_DISABLE_JIT=1"]
    nobody += ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]
    if os.getuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv to become another user")
    python = [*nobody, sys.executable]
    tried = subprocess.run([*python, "-c", "import gateway"], check=False, cwd="/")
    if tried.returncode != 0:
        pytest.skip("another user cannot reach this interpreter or this checkout")
    # Not below pytest's own folder, which others may not enter.
    with tempfile.TemporaryDirectory() as name:
        home = folder(Path(name) / "home")
        os.chown(home, 54321, 54321)
        home.parent.chmod(0o755)
        words = ["--port", "0", "--admin-port", "0", "--workers", "2", "--json"]
        serve = [*python, "-m", "gateway", "serve", str(DEMO_MODEL), *words, "--home", str(home)]
        with served(serve) as listening:
            supervisor = psutil.Process(listening["pid"])
            first = supervisor.children()
            first[-1].kill()
            eventually(lambda: len({*supervisor.children()} - {*first}) == 1)
            seen = [supervisor, *supervisor.children()]
            assert {process.uids().real for process in seen} == {54321}
            owners = {os.stat(f"/proc/{process.pid}/environ").st_uid for process in seen}
            limits = {core_limits(process.pid) for process in seen}
            assert (len(seen), owners, limits) == (4, {0}, {("0", "0")})


def core_limits(pid: int) -> tuple[str, str]:
    """Soft and hard, as /proc has them."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("Max core file size")]
    soft, hard, _ = line.removeprefix("Max core file size").split()
    return soft, hard
