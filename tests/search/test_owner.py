"""Who trains a trial, and whether they still do."""

import os
import signal
import socket
import subprocess
from dataclasses import replace

from search.owner import Owner, this_process


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


def test_a_process_id_that_is_used_again_does_not_bring_its_owner_back() -> None:
    assert replace(this_process(), started="1").is_known_dead()


def test_a_process_from_before_the_machine_was_started_again_is_dead() -> None:
    assert replace(this_process(), boot="another").is_known_dead()


def test_of_another_machine_nothing_is_certain() -> None:
    assert not replace(this_process(), host="elsewhere", started="1").is_known_dead()
