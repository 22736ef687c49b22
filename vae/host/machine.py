"""Memory and cores that this process may use of its machine, its processor's name, and the user's cache folder.

A container or a service often gets less than the machine has, by a limit on its control group or on one around it.
psutil tells what the machine has, and joblib reads the outermost group alone, so the groups are read here.
"""

import math
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

CACHE_VARIABLE = "KLSEARCH_CACHE"
_ROOT = Path("/")


class _Limit(NamedTuple):
    """Memory that a control group may take, and that it has taken, in bytes."""

    most: int
    taken: int


class _MemoryFiles(NamedTuple):
    """Names that a version of control groups has for a group's limit, its use, and cached files that can be dropped."""

    most: str
    taken: str
    droppable: str


_VERSIONS = (
    _MemoryFiles("memory.max", "memory.current", "inactive_file"),
    _MemoryFiles("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def total_memory(root: Path = _ROOT) -> int:
    """Bytes that are built in, or fewer where a control group is limited.

    Args:
        root: of the files in which the system tells of control groups.
    """
    built_in: int = psutil.virtual_memory().total
    return min([built_in, *(limit.most for limit in _memory_limits(root))])


def free_memory(root: Path = _ROOT) -> int:
    """Bytes that can be taken without swapping and within every limit; see `total_memory`."""
    available: int = psutil.virtual_memory().available
    return min([available, *(max(0, limit.most - limit.taken) for limit in _memory_limits(root))])


def usable_cores(root: Path = _ROOT) -> int:
    """Cores that this process is bound to, or fewer by a quota of time, which is rounded up; see `total_memory`."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([bound, *map(math.ceil, _core_quotas(root))])


def processor_name() -> str:
    """The processor's name as the system gives it."""
    if sys.platform == "linux":
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


def _memory_limits(root: Path) -> Iterator[_Limit]:
    for group in _groups("memory", root):
        for files in _VERSIONS:
            most = _text(group / files.most).strip()
            if most.isdigit():  # "max" is no limit
                # A file that was read counts as taken, though the system drops it as soon as memory is needed.
                counts = dict(line.split() for line in _text(group / "memory.stat").splitlines())
                yield _Limit(int(most), int(_text(group / files.taken) or 0) - int(counts.get(files.droppable, 0)))


def _core_quotas(root: Path) -> Iterator[float]:
    """The cores' time that each control group may take: microseconds in each period of so many."""
    names = ("cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us")  # the first holds both; no group has all
    for group in _groups("cpu", root):
        told = " ".join(_text(group / name) for name in names).split()
        if told and told[0].isdigit():  # "max" and -1 are no quota
            quota, period = map(int, told)
            yield quota / period


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """The folders of the control groups of either version that this process is in, those around a group after it.

    A container may see only its own group, mounted where the machine's outermost would be, while its path is still the
    machine's: then no folder but the last is there.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers or controller in controllers.split(","):
            top = root / "sys/fs/cgroup" / (controller if controllers else "")
            group = top / path.lstrip("/")
            yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(top))


def _text(file: Path) -> str:
    """The text of a file; empty where there is none, or it is not for us to read."""
    try:
        return file.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def cache_folder() -> Path:
    """The folder of this user in which klsearch keeps what it can find out again.

    Raises:
        RuntimeError: the home folder is not known.
    """
    if given := os.environ.get(CACHE_VARIABLE):
        return Path(given)
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "")
    if not caches.is_absolute():  # which the specification says to ignore
        caches = Path("~/Library/Caches" if sys.platform == "darwin" else "~/.cache").expanduser()
    return caches / "klsearch"
