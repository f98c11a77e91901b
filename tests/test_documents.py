"""What README.md and its neighbours say of the code is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from gateway import config
from gateway.config import Config, ModelConfig, ModelSettings
from gateway.errors import CODES, GatewayError

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()


def table_rows(document: str) -> list[list[str]]:
    lines = [line for line in document.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def settings(section: type[BaseModel], prefix: str = "") -> dict[str, object]:
    """Every setting with its default, by its path in the document."""
    found: dict[str, object] = {}
    for name, field in section.model_fields.items():
        value = field.get_default(call_default_factory=True)
        if isinstance(value, ModelSettings) or name == "models":
            continue
        if isinstance(value, BaseModel):
            found |= settings(type(value), f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def as_document(value: object) -> str:
    return "" if value is None else f"`{yaml.safe_dump(value).splitlines()[0]}`"


SETTINGS = settings(Config) | settings(ModelSettings)
TOLD = {row[0].strip("`"): row[1] for row in table_rows(README)}


@pytest.mark.parametrize(("path", "default"), SETTINGS.items(), ids=list(SETTINGS))
def test_the_readme_tells_every_setting_and_its_default(path, default):
    told = TOLD[path]
    assert told == as_document(default) or yaml.safe_load(told.strip("`")) == default


def test_the_readme_tells_every_setting_of_one_model():
    told = {name for row in table_rows(README) for name in row[0].replace("`", "").split(", ")}
    own = set(ModelConfig.model_fields) - set(ModelSettings.model_fields)
    assert own - {"path", "version"} - told == set()


def test_the_readme_tells_no_setting_that_is_not_there():
    sections = tuple(f"{name}." for name in Config.model_fields)
    assert {path for path in TOLD if path.startswith(sections)} - set(SETTINGS) == set()


def test_every_configuration_in_the_readme_is_valid():
    documents = re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert documents
    for document in documents:
        config.parse(document, "README.md")


def error_table() -> dict[str, int]:
    rows = re.findall(r"^\| (\d{3}) \| (.*?) \|", README, re.MULTILINE)
    return {code: int(status) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)}


def statuses(error: type[GatewayError] = GatewayError) -> dict[str, int]:
    found = {error.code: error.status}
    for child in error.__subclasses__():
        found |= statuses(child)
    return found


def test_the_readme_tells_every_error_with_its_status():
    told, so = error_table(), statuses()
    assert {code: told.get(code) for code in CODES} == {code: so[code] for code in CODES}
    assert set(told) - set(CODES) == set()


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"])
def test_links_into_the_repository_lead_somewhere(name):
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / name).read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_architecture_fits_on_a_few_pages():
    assert len(ARCHITECTURE.splitlines()) <= 200


def test_the_architecture_names_files_that_exist():
    named = re.findall(r"`((?:[\w]+/)+[\w]*(?:\.py)?|[\w]+\.py)`", ARCHITECTURE)
    missing = [
        name
        for name in set(named)
        if not any((ROOT / base / name).exists() for base in ("", "gateway"))
        # A file named beside its folder: "`control/registry.py`, `store.py`".
        and not any(ROOT.glob(f"gateway/*/{name}"))
    ]
    assert missing == []
