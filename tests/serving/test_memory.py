"""Is there room for one more model? Asked of files laid out as the kernel lays them out."""

from __future__ import annotations

import pytest

from gateway.errors import ModelRefused
from gateway.serving import memory

MB = 1 << 20


def machine(root, available=None, **files):
    (root / "proc/self").mkdir(parents=True)
    if available is not None:
        (root / "proc/meminfo").write_text(
            f"MemTotal: 99999 kB\nMemAvailable: {available // 1024} kB\n"
        )
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def group(root, path, **files):
    folder = root / "sys/fs/cgroup" / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".", 1)).write_text(text)


def test_without_a_control_group_the_machine_says(tmp_path):
    assert memory.available_bytes(machine(tmp_path, 100 * MB)) == 100 * MB


def test_where_nobody_says_nothing_is_known(tmp_path):
    assert memory.available_bytes(tmp_path) is None
    memory.require(1 << 60, None)


def test_the_control_group_may_leave_less_than_the_machine(tmp_path):
    root = machine(tmp_path, 100 * MB, proc__self__cgroup="0::/box\n")
    group(root, "box", memory_max=f"{50 * MB}\n", memory_current=f"{30 * MB}\n")
    assert memory.available_bytes(root) == 20 * MB


def test_cached_files_in_the_group_count_as_free(tmp_path):
    root = machine(tmp_path, 100 * MB, proc__self__cgroup="0::/box\n")
    stat = f"anon 1\ninactive_file {10 * MB}\n"
    group(root, "box", memory_max=f"{50 * MB}", memory_current=f"{30 * MB}", memory_stat=stat)
    assert memory.available_bytes(root) == 30 * MB


def test_the_tightest_of_nested_groups_decides(tmp_path):
    root = machine(tmp_path, 100 * MB, proc__self__cgroup="0::/outer/inner\n")
    group(root, "outer", memory_max=f"{40 * MB}", memory_current=f"{30 * MB}")
    group(root, "outer/inner", memory_max="max", memory_current=f"{5 * MB}")
    assert memory.available_bytes(root) == 10 * MB


def test_inside_a_container_the_base_is_the_group(tmp_path):
    root = machine(tmp_path, 100 * MB, proc__self__cgroup="0::/../../host/path\n")
    group(root, "", memory_max=f"{9 * MB}", memory_current="0")
    assert memory.available_bytes(root) == 9 * MB


def test_version_1_groups_are_read_too(tmp_path):
    root = machine(tmp_path, 100 * MB, proc__self__cgroup="5:cpu:/x\n4:memory:/box\n")
    folder = root / "sys/fs/cgroup/memory/box"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text(f"{8 * MB}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{5 * MB}\n")
    assert memory.available_bytes(root) == 3 * MB


def test_on_this_machine_there_is_an_answer():
    assert (memory.available_bytes() or MB) > 0


def test_a_model_needs_room_for_two_copies_of_its_files():
    memory.require(50, 100)
    with pytest.raises(ModelRefused, match=r"^needs about 20 MB of memory to load, 19 MB"):
        memory.require(10_000_000, 19_000_000)
