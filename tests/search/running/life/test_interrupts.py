"""Ctrl-C on a real terminal, once or twice, in every phase of a run."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.search.conftest import Called

Klsearch = Callable[..., "Called"]

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
LONGEST_SECONDS = 300
# What is on the terminal when a phase is under way.
PHASES = {
    "loading": "Loading TensorFlow…",
    "measuring": "Measuring how many trials",
    "compiling": "Compiling the training program",
    "searching": "best trial ",
    "proving": "confirming on fresh seeds",
    "reporting": "Writing the report…",
}
SAVED = ("compiling", "searching", "proving", "reporting")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and all that its terminal received."""

    code: int
    shown: str


def run_on_terminal(
    command: list[str], folder: Path, environment: dict[str, str], *, until: str, presses: int
) -> Ended:
    """A command on a terminal of 80 columns, where Ctrl-C is pressed so often once something is to be seen."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    def own_the_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    kept = {name: value for name, value in environment.items() if name not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(
        command, cwd=folder, env=kept | {"TERM": "xterm"}, stdin=theirs, stdout=theirs, stderr=theirs,
        preexec_fn=own_the_terminal,
    )  # fmt: skip
    os.close(theirs)
    received, left, deadline = b"", presses, time.monotonic() + LONGEST_SECONDS
    try:
        while time.monotonic() < deadline:
            if not select.select([ours], [], [], 0.05)[0]:
                continue
            try:
                received += os.read(ours, 65536)
            except OSError:  # nobody has it open any more
                break
            if left and until in re.sub(r"\s+", " ", received.decode(errors="replace")):
                for _ in range(left):
                    os.write(ours, b"\x03")
                    time.sleep(0.2)
                left = 0
        process.wait(timeout=30)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert not left, received.decode(errors="replace")
    return Ended(process.returncode, received.decode(errors="replace"))


@pytest.mark.slow("runs a study until it is interrupted, and on")
@pytest.mark.parametrize("presses", [1, pytest.param(2, marks=pytest.mark.faults)])
@pytest.mark.parametrize("phase", PHASES)
def test_ctrl_c_leaves_the_terminal_as_it_was_and_the_next_run_goes_on(
    phase: str,
    presses: int,
    command: list[str],
    environment: dict[str, str],
    definition_file: Path,
    klsearch: Klsearch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = definition_file.parent
    environment = environment | {"KLSEARCH_CACHE": str(folder / "cache")}
    monkeypatch.chdir(folder)
    definition_file.write_text(definition_file.read_text().replace("epochs = 12", "epochs = 40"))
    ended = run_on_terminal([*command, "run", "tiny.toml"], folder, environment, until=PHASES[phase], presses=presses)
    assert ended.code == 130, ended.shown
    assert "Traceback" not in ended.shown and "Exception" not in ended.shown
    assert ended.shown.count(HIDE) <= ended.shown.count(SHOW), "the cursor is back"
    # Of a press that comes when all is said the terminal itself shows ^C.
    assert ended.shown.removesuffix("^C").endswith("\n")
    if presses == 1:
        assert "Stopping; Ctrl-C again leaves at once." in ended.shown
        last = "Go on with: klsearch resume runs/tiny" if phase in SAVED else "klsearch: interrupted"
        assert last in re.sub(r"\x1b\[[\d;]*m|\r", "", ended.shown)
    again = klsearch("run", "tiny.toml", "--trials", 20, "--no-confirm", "--quiet")
    assert (again.code, again.err) == (0, "")
    assert klsearch("status", "tiny", "--json").document["finished"] >= 20
