"""What a process may use of its machine, from the files in which Linux tells of control groups."""

import os
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from klsearch.vae.host.machine import cache_folder, free_memory, total_memory, usable_cores

MEGABYTE = 2**20  # limits below are so low that the machine itself has more
UNLIMITED = {"memory.limit_in_bytes": 2**63 - 4096, "memory.usage_in_bytes": 5 * MEGABYTE}
Tell = Callable[..., Path]


@pytest.fixture
def tell(tmp_path: Path) -> Tell:
    """A function that writes a process's groups, and the files of some groups' folders; gives where they lie."""

    def write(of_process: str, groups: dict[str, dict[str, object]]) -> Path:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(of_process)
        for group, files in groups.items():
            folder = tmp_path / "sys/fs/cgroup" / group
            folder.mkdir(parents=True, exist_ok=True)
            for name, value in files.items():
                (folder / name).write_text(f"{value}\n")
        return tmp_path

    return write


def second_version(most: int | str, taken: int, inactive_file: int = 0) -> dict[str, object]:
    """The files of a group, from megabytes."""
    return {
        "memory.max": most if isinstance(most, str) else most * MEGABYTE,
        "memory.current": taken * MEGABYTE,
        "memory.stat": f"anon 1\ninactive_file {inactive_file * MEGABYTE}",
    }


def first_version(most: int, taken: int, inactive_file: int = 0) -> dict[str, object]:
    return {
        "memory.limit_in_bytes": most * MEGABYTE,
        "memory.usage_in_bytes": taken * MEGABYTE,
        "memory.stat": f"inactive_file 1\ntotal_inactive_file {inactive_file * MEGABYTE}",
    }


def test_a_machine_without_control_groups_gives_all_that_it_has(tmp_path: Path) -> None:
    assert total_memory(tmp_path) == psutil.virtual_memory().total
    assert 0 < free_memory(tmp_path) < total_memory(tmp_path)
    assert 1 <= usable_cores(tmp_path) <= (os.cpu_count() or 1)


def test_this_machine_is_told_of() -> None:
    assert 0 < free_memory() < total_memory() <= psutil.virtual_memory().total
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


def test_a_container_has_its_limit_and_what_is_left_of_it(tell: Tell) -> None:
    """Its own group is the outermost that it sees."""
    root = tell("0::/\n", {"": second_version(most=20, taken=5)})
    assert (total_memory(root), free_memory(root)) == (20 * MEGABYTE, 15 * MEGABYTE)


def test_a_container_of_the_first_version_sees_its_own_group_under_the_machine_s_path(tell: Tell) -> None:
    told = "9:cpu,cpuacct:/docker/3f\n4:memory:/docker/3f\n0::/docker/3f\n"
    root = tell(told, {"memory": first_version(most=20, taken=5)})
    assert (total_memory(root), free_memory(root)) == (20 * MEGABYTE, 15 * MEGABYTE)


@pytest.mark.parametrize(
    ("told", "top", "group"),
    [("0::/a/b\n", "", second_version), ("4:memory:/a/b\n0::/\n", "memory/", first_version)],
)
def test_every_group_around_a_process_limits_it(
    tell: Tell, told: str, top: str, group: Callable[..., dict[str, object]]
) -> None:
    """30 MB are left of the inner group, 8 of the one around it, whose other groups took 32."""
    root = tell(told, {f"{top}a/b": group(most=40, taken=10), f"{top}a": group(most=50, taken=42)})
    assert (total_memory(root), free_memory(root)) == (40 * MEGABYTE, 8 * MEGABYTE)


@pytest.mark.parametrize(
    ("told", "folder", "group"),
    [("0::/a\n", "a", second_version), ("4:memory:/a\n", "memory/a", first_version)],
)
def test_files_that_were_read_and_can_be_dropped_are_free(
    tell: Tell, told: str, folder: str, group: Callable[..., dict[str, object]]
) -> None:
    assert free_memory(tell(told, {folder: group(most=20, taken=19, inactive_file=12)})) == 13 * MEGABYTE


def test_a_group_that_has_taken_more_than_its_limit_has_nothing_left(tell: Tell) -> None:
    """The limit of a group may be lowered below what it has."""
    assert free_memory(tell("0::/\n", {"": second_version(most=20, taken=25)})) == 0


@pytest.mark.parametrize(
    ("told", "groups"),
    [
        ("0::/a\n", {"a": second_version(most="max", taken=5)}),
        ("4:memory:/a\n", {"memory/a": UNLIMITED}),
        ("0::/elsewhere\n", {}),
        ("4:memory:/\n0::/a\n", {"memory": UNLIMITED, "a": {"cpu.max": "max 100000"}}),
    ],
)
def test_groups_without_a_limit_leave_a_process_what_the_machine_has(
    tell: Tell, told: str, groups: dict[str, dict[str, object]]
) -> None:
    root = tell(told, groups)
    assert total_memory(root) == psutil.virtual_memory().total
    assert free_memory(root) > 20 * MEGABYTE


def test_a_limit_on_another_group_is_not_ours(tell: Tell) -> None:
    root = tell("0::/a/b\n", {"a/b": second_version("max", 5), "a/c": second_version(20, 5)})
    assert total_memory(root) == psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("told", "groups", "cores"),
    [
        ("0::/\n", {"": {"cpu.max": "100000 100000"}}, 1),
        ("0::/\n", {"": {"cpu.max": "20000 100000"}}, 1),  # a fifth of a core is still one
        ("0::/a/b\n", {"a/b": {"cpu.max": "max 100000"}, "a": {"cpu.max": "50000 50000"}}, 1),
        ("2:cpuacct,cpu:/docker/3f\n", {"cpu": {"cpu.cfs_quota_us": 50000, "cpu.cfs_period_us": 100000}}, 1),
        ("0::/\n", {"": {"cpu.max": "150000 100000"}}, min(2, usable_cores())),  # rounded up
        ("0::/\n", {"": {"cpu.max": "max 100000"}}, usable_cores()),
        ("2:cpu:/\n", {"cpu": {"cpu.cfs_quota_us": -1, "cpu.cfs_period_us": 100000}}, usable_cores()),
        ("0::/\n", {"": {"cpu.max": "99900000 100000"}}, usable_cores()),
    ],
)
def test_a_quota_of_time_limits_the_cores(
    tell: Tell, told: str, groups: dict[str, dict[str, object]], cores: int
) -> None:
    assert usable_cores(tell(told, groups)) == cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to cores")
def test_a_process_bound_to_a_core_has_one(tmp_path: Path) -> None:
    bound = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(bound)})
        assert usable_cores(tmp_path) == 1
    finally:
        os.sched_setaffinity(0, bound)


def test_the_folder_is_the_user_s_own_for_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KLSEARCH_CACHE")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr("sys.platform", "linux")
    for given, folder in (
        ("/caches", "/caches/klsearch"),
        ("", "/home/me/.cache/klsearch"),
        ("relative", "/home/me/.cache/klsearch"),  # which the specification says to ignore
    ):
        monkeypatch.setenv("XDG_CACHE_HOME", given)
        assert cache_folder() == Path(folder)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("sys.platform", "darwin")
    assert cache_folder() == Path("/home/me/Library/Caches/klsearch")
