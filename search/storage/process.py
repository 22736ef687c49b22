"""Who is training a trial: named so that a dead owner is recognised at once on the same machine."""

import os
import secrets
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
        host: the machine's name, for people: machines may share one.
        boot: the boot of that machine, and its table of processes if it has several (containers have their own);
            empty where the system does not tell.
        process: process id.
        started: when that process started, as the system writes it: process ids are used again. Behind a slash, a token
            that it chose: in two containers all else can agree. Without one, an owner of the first release.
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
        return cls(**{**values, "process": int(values["process"])})

    def is_here(self) -> bool:
        """Whether the process belongs to this machine since it was last started, so that the system knows it."""
        here = this_process()
        return (self.host, self.boot) == (here.host, here.boot)

    def is_known_dead(self) -> bool:
        """Whether this process certainly no longer runs; of another machine nothing is certain."""
        return self.is_here() and not self._is_namesake() and _started(self.process) not in (self._at(), None)

    def is_known_alive(self) -> bool:
        """Whether this process certainly runs; of one that this user may not look at nothing is certain either."""
        return self.is_here() and not self._is_namesake() and _started(self.process) == self._at()

    def _at(self) -> str:
        """When it started, without its token."""
        return self.started.partition("/")[0]

    def _is_namesake(self) -> bool:
        """Whether it bears this process's names and is another: one that this system does not know."""
        here = this_process()
        return self != here and (self.process, self._at()) == (here.process, here._at())


@cache
def this_process() -> Owner:
    """The owner that this process is."""
    started = f"{_started(os.getpid()) or ''}/{secrets.token_hex(4)}"
    return Owner(host=socket.gethostname(), boot=_boot(), process=os.getpid(), started=started)


def _boot() -> str:
    boot, processes = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    if boot.exists() and processes.exists():
        return f"{boot.read_text().strip()}/{processes.stat().st_ino}"
    # macOS; elsewhere there is no such setting, or no such command
    try:
        told = subprocess.run(["sysctl", "-n", "kern.bootsessionuuid"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return told.stdout.strip()


def _started(process: int) -> str | None:
    """When a process started; empty if there is none, or a zombie, which no longer runs; None if it may not be seen.

    Shared machines hide other users' processes (hidepid), as if there were none; a signal tells that there is one. A
    container may show the table of the machine around it, in which the same numbers are other processes.
    psutil tells times of day, which move for a living process whenever the clock is set: it would be taken for another.
    """
    if Path("/proc/self/stat").exists():
        if os.readlink("/proc/self") != str(os.getpid()):
            return None
        try:
            # Field 22; the name in parentheses before it may hold spaces.
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return None if _is_there(process) else ""
        state, started = fields[0], fields[19]
    else:
        command = ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(process)]
        everywhere = os.environ | {"LC_ALL": "C", "TZ": "UTC"}  # whoever looks reads the same time
        listed = subprocess.run(command, capture_output=True, text=True, check=False, env=everywhere)
        state, _, started = listed.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else started.strip()


def _is_there(process: int) -> bool:
    """Tell whether there is a process of that id, whoever's it is."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
