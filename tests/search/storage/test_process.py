"""Who trains a trial, and whether they still do."""

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from klsearch.search.storage.process import Owner, this_process


def test_this_process_lives() -> None:
    assert this_process().process == os.getpid()
    assert this_process().host == socket.gethostname()
    assert not this_process().is_known_dead()


def test_an_owner_comes_back_from_json() -> None:
    assert Owner.from_json(this_process().as_json()) == this_process()


def test_another_process_lives_until_it_ends(other: tuple[Owner, subprocess.Popen[str]]) -> None:
    owner, process = other
    assert owner != this_process()
    assert not owner.is_known_dead()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert owner.is_known_dead()


def test_a_process_that_ended_but_was_not_waited_for_is_dead(other: tuple[Owner, subprocess.Popen[str]]) -> None:
    owner, process = other
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is a zombie still
    assert owner.is_known_dead()


_LOOK = """
import json, sys
from klsearch.search.storage.process import Owner
print(Owner.from_json(json.loads(sys.argv[1])).is_known_dead())
"""


def test_whoever_looks_from_another_time_zone_and_language_sees_it_alive(environment: dict[str, str]) -> None:
    told = json.dumps(this_process().as_json())
    elsewhere = environment | {"TZ": "Asia/Tokyo", "LC_ALL": "ja_JP.UTF-8"}
    command = [sys.executable, "-c", _LOOK, told]
    called = subprocess.run(command, capture_output=True, text=True, env=elsewhere, check=False)
    assert called.stdout == "False\n", called.stderr


def test_a_process_id_that_is_used_again_does_not_bring_its_owner_back() -> None:
    assert replace(this_process(), started="1").is_known_dead()


@pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"boot": "another"}])
def test_of_another_machine_nothing_is_certain_whatever_its_name(change: dict[str, str]) -> None:
    """A machine of the same name may be this one before it was started again, or another one that lives."""
    other = replace(this_process(), started="1", **change)  # type: ignore[arg-type]
    assert not other.is_here()
    assert not other.is_known_dead()


def test_a_container_has_processes_of_its_own() -> None:
    """Containers share the boot of their machine, and a process of theirs may bear the same id as one outside."""
    if not Path("/proc/self/ns/pid").exists():
        pytest.skip("this system has no separate tables of processes")
    boot, processes = this_process().boot.split("/")
    assert not replace(this_process(), boot=f"{boot}/{int(processes) + 1}", started="1").is_known_dead()


def test_of_a_namesake_in_another_container_nothing_is_certain() -> None:
    """Both are process 1 of a host of that name, started at the same moment; each has a token of its own."""
    started, token = this_process().started.split("/")
    namesake = replace(this_process(), started=f"{started}/{token[::-1]}x")
    assert not namesake.is_known_dead() and not namesake.is_known_alive()
    assert this_process().is_known_alive()


def test_a_process_that_may_not_be_seen_is_neither_known_dead_nor_alive(
    other: tuple[Owner, subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under hidepid=2, where another user's process has no folder in /proc and refuses every signal."""
    owner, process = other
    read, kill = Path.read_text, os.kill

    def hide(path: Path, *arguments: str) -> str:
        if str(process.pid) in path.parts:
            raise FileNotFoundError(path)
        return read(path, *arguments)

    def refuse(pid: int, number: int) -> None:
        if pid == process.pid:
            raise PermissionError
        kill(pid, number)

    monkeypatch.setattr(Path, "read_text", hide)
    with monkeypatch.context() as patched:
        patched.setattr(os, "kill", refuse)
        assert not owner.is_known_dead()
        assert not owner.is_known_alive()
    process.kill()
    process.wait()
    assert owner.is_known_dead()
