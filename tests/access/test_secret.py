"""The server's secret is made once, is its owner's alone, and may lie elsewhere."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.access.secret import VARIABLE, server_secret
from gateway.errors import ConfigInvalid, StoreFailed


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


def test_it_is_made_at_first_use_for_its_owner_alone(tmp_path):
    made = server_secret(tmp_path / "home")
    assert len(made) == 32
    assert server_secret(tmp_path / "home") == made
    [file] = (tmp_path / "home").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_all_who_ask_at_once_get_the_same(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(server_secret, [tmp_path] * 32))) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["secret"]


def test_one_that_others_may_read_is_refused(tmp_path):
    server_secret(tmp_path)
    (tmp_path / "secret").chmod(0o640)
    with pytest.raises(StoreFailed, match="others may read it"):
        server_secret(tmp_path)


def test_one_that_was_cut_short_is_refused(tmp_path):
    server_secret(tmp_path)
    (tmp_path / "secret").write_bytes(b"x" * 31)
    with pytest.raises(StoreFailed, match="expected 32 bytes, got 31"):
        server_secret(tmp_path)


def test_the_environment_may_name_another_file(tmp_path, monkeypatch):
    file = tmp_path / "mounted"
    file.write_bytes(b"m" * 40)
    monkeypatch.setenv(VARIABLE, str(file))
    assert server_secret(tmp_path / "home") == b"m" * 40
    assert not (tmp_path / "home").exists()
    file.write_bytes(b"short")
    with pytest.raises(ConfigInvalid, match="at least 32"):
        server_secret(tmp_path)
    file.unlink()
    with pytest.raises(ConfigInvalid, match="No such file"):
        server_secret(tmp_path)
