"""Fixtures that start real servers. Every test in this folder carries the marks e2e and slow."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.end_to_end import hostility, llm_world, speech
from tests.end_to_end.server import DEMO_MODEL, RunningServer, running

HERE = Path(__file__).parent
_SERVERS = pytest.StashKey[list[RunningServer]]()

StartServer = Callable[..., RunningServer]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Shows the log of every server that a failed test used."""
    report = yield
    if report.failed:
        for server in _servers_of(item):
            report.sections.append(("log of the server", server.log))
    return report


def _servers_of(item: pytest.Item) -> list[RunningServer]:
    given = [getattr(value, "server", value) for value in getattr(item, "funcargs", {}).values()]
    direct = [value for value in given if isinstance(value, RunningServer)]
    return direct + item.stash.get(_SERVERS, [])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One worker serving the demo model, shared by the tests of a module."""
    home = tmp_path_factory.mktemp("server")
    with running(home, DEMO_MODEL, "--workers", "1") as started:
        yield started


@pytest.fixture(scope="package")
def zoo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One worker serving a model for each thing that a client can do, for all who ask for it."""
    with speech.zoo_server(tmp_path_factory.mktemp("zoo")) as started:
        yield started


@pytest.fixture(scope="package")
def besieged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One worker with narrow limits and hostile models, for all who are hostile to it."""
    with hostility.besieged(tmp_path_factory.mktemp("hostile")) as started:
        yield started


@pytest.fixture
def unharmed(besieged: RunningServer) -> Iterator[RunningServer]:
    """The besieged server, which must be well after each test."""
    with hostility.unharmed(besieged) as server:
        yield server


@pytest.fixture(scope="package")
def language_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[llm_world.World]:
    """Two workers in front of a fake provider of language models, for all who ask them."""
    with llm_world.world(tmp_path_factory.mktemp("llm")) as made:
        yield made


@pytest.fixture
def gate(language_models: llm_world.World) -> llm_world.World:
    """The same, whose provider has received nothing yet."""
    language_models.fake.forget()
    return language_models


@pytest.fixture
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers of a test's own: `start("model.onnx", "--workers", "2", config="...")`."""
    started = request.node.stash.setdefault(_SERVERS, [])
    with ExitStack() as stack:

        def start_one(*arguments: str | Path, home: Path | None = None, **options) -> RunningServer:
            folder = home or tmp_path / f"home{len(started)}"
            folder.mkdir(exist_ok=True)
            server = stack.enter_context(running(folder, *arguments, **options))
            started.append(server)
            return server

        yield start_one
