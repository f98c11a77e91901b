"""docs/operation.md is walked through from its first step to its last."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest

from tests.end_to_end.shell import ROOT, blocks, walked

PAGE = ROOT / "docs" / "operation.md"
BLOCKS = blocks(PAGE)
TOOLS = ("curl", "openssl")

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)), reason=f"the page's lines use {' and '.join(TOOLS)}"
)


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """What each block printed."""
    with walked(PAGE, tmp_path_factory.mktemp("operation")) as found:
        yield found


def of(printed: list[str], start: str) -> str:
    places = [n for n, (_, text) in enumerate(BLOCKS) if text.startswith(start)]
    return printed[places[0]]


def test_every_step_goes_through(printed):
    assert len(printed) == len(BLOCKS) >= 10


def test_a_key_opens_the_model_and_none_does_not(printed):
    answered = printed[
        next(n for n, (_, text) in enumerate(BLOCKS) if "shop.json" in text and "curl" in text)
    ]
    assert '"name":"cancer"' in answered
    assert answered.rstrip().endswith("401")


def test_a_client_certificate_opens_the_model_as_well(printed):
    asked = next(n for n, (_, text) in enumerate(BLOCKS) if "--cert " in text)
    assert printed[asked].strip() == "200"


def test_the_command_line_is_let_in_by_certificate_and_by_key(printed):
    first, second, third = of(printed, "ROWS=").strip().split("label,")[1:]
    assert first == second
    assert first.count("\n") == third.rstrip().count("\n") + 1 == 4


def test_prometheus_key_reads_metrics(printed):
    counted = printed[next(n for n, (_, text) in enumerate(BLOCKS) if "/metrics" in text)]
    assert int(counted) > 50


def test_the_variables_of_opentelemetry_are_understood(printed):
    shown = of(printed, "export OTEL_")
    assert "1.00% of traces" in shown
    assert "http://127.0.0.1:4318/v1/traces" in shown


def test_the_audit_holds_what_the_page_did(printed):
    shown = of(printed, "penstock audit list")
    for action in ("register", "config apply", "key create"):
        assert action.split()[0] in shown, shown


def test_the_restored_home_has_the_model(printed):
    assert re.search(r"^cancer +1 ", of(printed, "penstock backup"), re.MULTILINE)


def test_every_metric_that_the_page_asks_for_is_offered(tmp_path):
    from tests.test_deploy import offered

    text = offered(tmp_path)
    for name in set(re.findall(r"penstock_\w+?(?=[{\[ -])", PAGE.read_text())):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        if not name.startswith("penstock_tls"):
            assert f"# TYPE {base} " in text, name
