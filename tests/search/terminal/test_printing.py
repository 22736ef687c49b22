"""Results on a real terminal, and away from one."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from klsearch.search.terminal.printing import show

ROOT = Path(__file__).parents[3]
VERDICT = (
    "STABLE, WITH CAVEATS: Trial 3: 7 of 8 fresh seeds pass all gates (95 % interval 0.53 to 0.98), but it is near."
)
PLAIN: Mapping[str, str] = MappingProxyType({})
PROGRAM = "import sys; from klsearch.search.terminal.printing import show; show(sys.argv[1], err=len(sys.argv) > 2)"


def on_terminal(text: str, *arguments: str, columns: int = 80, asked: Mapping[str, str] = PLAIN) -> str:
    """What a terminal of so many columns receives."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    kept |= {"TERM": "xterm", "PYTHONPATH": str(ROOT / "src"), **asked}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, text, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=kept
    )
    os.close(theirs)
    received = os.read(ours, 65536).decode()
    os.close(ours)
    assert done.returncode == 0, received
    return received.replace("\r\n", "\n")


def test_away_from_a_terminal_a_text_is_left_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    show(VERDICT)
    show("klsearch: no", err=True)
    assert capsys.readouterr() == (f"{VERDICT}\n", "klsearch: no\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("STABLE: all pass", "\x1b[32m\x1b[1mSTABLE\x1b[0m: all pass"),
        ("NOT STABLE: none", "\x1b[31m\x1b[1mNOT STABLE\x1b[0m: none"),
        ("klsearch: no such run", "\x1b[31m\x1b[1mklsearch\x1b[0m: no such run"),
        ("note: recognised", "\x1b[1mnote\x1b[0m: recognised"),
        ("unstable: STABLE: no", "unstable: STABLE: no"),
    ],
)
def test_on_a_terminal_the_word_that_says_what_it_is_stands_out(text: str, shown: str) -> None:
    assert on_terminal(text) == f"{shown}\n"
    assert on_terminal(text, "to standard error") == f"{shown}\n"


@pytest.mark.parametrize("asked", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_who_asks_for_no_colours_gets_none(asked: dict[str, str]) -> None:
    assert on_terminal("NOT STABLE: none", asked=asked) == "NOT STABLE: none\n"


def test_lines_break_between_words_at_the_width_of_the_terminal() -> None:
    lines = on_terminal(VERDICT, columns=60, asked={"NO_COLOR": "1"}).splitlines()
    assert " ".join(lines) == VERDICT
    assert len(lines) == 2
    assert max(map(len, lines)) <= 60


def test_commands_and_tables_are_left_for_the_terminal_to_break_so_that_they_can_be_copied() -> None:
    command = f"  klsearch resume {'long' * 30} --trials 3"
    assert on_terminal(command) == f"{command}\n"
