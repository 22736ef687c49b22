"""Who is training a trial: named so that a dead owner is recognised at once on the same host."""

import os
import socket
import subprocess
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A process, named so that no other process ever bears the same name.

    Attributes:
        host: the machine's name.
        boot: the boot of that machine; empty where the system does not tell.
        process: process id.
        started: when that process started, as the system writes it: process ids are used again.
    """

    host: str
    boot: str
    process: int
    started: str

    def as_json(self) -> dict[str, Any]:
        """The owner as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The owner that `as_json` wrote."""
        return cls(**values)

    def is_known_dead(self) -> bool:
        """Whether this process certainly no longer runs; of another host nothing is certain."""
        here = this_process()
        if self.host != here.host:
            return False
        return self.boot != here.boot or _started(self.process) != self.started


@cache
def this_process() -> Owner:
    """The owner that this process is."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return Owner(
        host=socket.gethostname(),
        boot=boot.read_text().strip() if boot.exists() else "",
        process=os.getpid(),
        started=_started(os.getpid()),
    )


def _started(process: int) -> str:
    """When a process started; empty if there is none."""
    stat = Path(f"/proc/{process}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # Field 22; the name in parentheses before it may hold spaces. A zombie (state Z) no longer runs.
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return ""
        return "" if fields[0] == "Z" else fields[19]
    listed = subprocess.run(["ps", "-o", "lstart=", "-p", str(process)], capture_output=True, text=True, check=False)
    return listed.stdout.strip()
