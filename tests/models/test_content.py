"""What was looked at can be told from what lies there now."""

from __future__ import annotations

import os
import time

import pytest

from gateway.models import content


@pytest.fixture
def folder(tmp_path):
    for name in "ab":
        (tmp_path / name).write_bytes(name.encode() * 100)
    return tmp_path


def test_a_digest_is_of_names_and_content_in_their_order(folder):
    digests = [content.digest(folder, files) for files in (["a", "b"], ["b", "a"], ["a"])]
    (folder / "b").write_bytes(b"other")
    digests.append(content.digest(folder, ["a", "b"]))
    assert len(set(digests)) == 4
    (folder / "b").write_bytes(b"b" * 100)
    assert content.digest(folder, ["a", "b"]) == digests[0]


def test_a_file_that_is_written_with_its_old_size_and_time_has_another_stamp(folder):
    file = folder / "a"
    before, facts = content.stamp(file), file.stat()
    deadline = time.monotonic() + 5
    while file.stat().st_ctime_ns == facts.st_ctime_ns:  # clocks of file systems are coarse
        assert time.monotonic() < deadline
        file.write_bytes(b"x" * 100)
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert file.stat().st_mtime_ns == facts.st_mtime_ns
    assert content.stamp(file) != before


def test_a_hash_that_is_remembered_is_taken(folder):
    assert content.digest(folder, ["a"], lambda path: "known") == content.digest(
        folder, ["a"], {folder / "a": "known"}.__getitem__
    )
