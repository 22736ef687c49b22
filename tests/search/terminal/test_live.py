"""What the user sees while a study runs."""

import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from typing import TYPE_CHECKING

import pytest

from klsearch.search.terminal.live import PhaseState, Terminal
from klsearch.search.terminal.progress import WarningLines, banded, watched_values
from tests.search.terminal.conftest import VALUES, ended_training

if TYPE_CHECKING:
    from tests.search.conftest import Workshop

HIDE, SHOW = b"\x1b[?25l", b"\x1b[?25h"


def shown(*, live: bool = False) -> tuple[Terminal, io.StringIO]:
    err = io.StringIO()
    with redirect_stderr(err):
        return Terminal(live=live), err


@pytest.mark.parametrize(
    ("reduction", "told"), [("mean", "KL 2.35 nats per latent  "), ("sum", "KL 7.04 nats over all latents  ")]
)
def test_running_and_best_are_told_in_the_unit_of_the_band_which_is_named(
    workshop: "Workshop", monkeypatch: pytest.MonkeyPatch, reduction: str, told: str
) -> None:
    """The workshop's model has 3 latents."""
    monkeypatch.setattr("klsearch.search.terminal.live._PLAIN_SECONDS", 0.0)
    asked = workshop.definition
    asked = asked.model_copy(update={"study": asked.study.model_copy(update={"kl_reduction": reduction})})
    unit = asked.thresholds().kl_unit
    terminal, err = shown()
    terminal.begin("trials", done=0, total=2, kl_unit=unit)
    terminal.count(ended_training("trial 0", 0.5))
    terminal.watch(banded({1: VALUES, 2: {"epoch": 0.0, "epochs": 60.0}}, asked))
    assert f"score 0.5, KL 2 {unit} · running 1: epoch 37/60  {told}" in err.getvalue()


def test_without_a_terminal_a_line_sums_up_each_phase() -> None:
    terminal, err = shown()
    with terminal:
        terminal.begin("trials", done=0, total=2)
        terminal.watch({0: VALUES, 1: VALUES})
        terminal.count(ended_training("trial 0", 0.5))
        assert err.getvalue() == ""
        terminal.count(ended_training("trial 1", 0.25, 1.5))
    assert err.getvalue() == "trials 2/2 · best trial 1: score 0.25, KL 1.5\n"


def test_without_a_terminal_a_line_now_and_then_says_where_training_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("klsearch.search.terminal.live._PLAIN_SECONDS", 0.0)
    terminal, err = shown()
    terminal.begin("trials", done=0, total=20)
    terminal.count(ended_training("trial 0", 0.5))
    terminal.watch({4: VALUES, 3: VALUES}, 37.0)
    line = err.getvalue()
    leader = f"running 3: {watched_values(VALUES)}"
    assert line == f"trials 1/20 · best trial 0: score 0.5, KL 2 · {leader} · about 40 s left\n"


def test_the_time_left_is_that_of_all_that_is_to_come_and_passes_between_two_tellings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("klsearch.search.terminal.live._PLAIN_SECONDS", 0.0)
    terminal, err = shown()
    terminal.begin("trials", done=10, total=20)
    terminal.watch({10: {**VALUES, "epoch": 0.0}})
    assert err.getvalue().splitlines()[-1].endswith(" · time left unknown")
    terminal.watch({10: VALUES}, 203.0)
    assert err.getvalue().splitlines()[-1].endswith(" · about 3 min left")
    state = PhaseState("trials", done=0, total=2)
    state.watch({}, 0.01)
    time.sleep(0.02)
    assert state.line().endswith("about 5 s left"), "never less than none"


def test_a_feasible_training_is_better_than_any_other() -> None:
    terminal, err = shown()
    terminal.begin("trials", done=0, total=3)
    terminal.count(ended_training("trial 0", 0.1, 7.0, violation=0.4))
    terminal.count(ended_training("trial 1", 0.9))
    terminal.count(ended_training("trial 2", 0.2, 7.0, violation=0.4))
    assert "best trial 1: score 0.9, KL 2\n" in err.getvalue()


def test_without_a_feasible_training_the_least_violating_is_the_best() -> None:
    terminal, err = shown()
    terminal.begin("trials", done=0, total=2)
    terminal.count(ended_training("trial 0", 0.1, 7.0, violation=0.4))
    terminal.count(ended_training("trial 1", 0.9, 5.5, violation=0.1))
    assert "best trial 1: score 0.9, KL 5.5 (not feasible)\n" in err.getvalue()


def test_the_best_of_earlier_trainings_stays_the_best() -> None:
    terminal, err = shown()
    terminal.begin("trials", done=5, total=6, best=ended_training("trial 2", 0.1))
    terminal.count(ended_training("trial 5", 0.9))
    assert err.getvalue() == "trials 6/6 · best trial 2: score 0.1, KL 2\n"


def test_a_training_whose_result_was_known_counts_and_is_never_the_best() -> None:
    terminal, err = shown()
    terminal.begin("training again", done=0, total=2)
    terminal.count(None)
    terminal.count(None)
    assert err.getvalue() == "training again 2/2\n"


def test_a_best_training_outside_the_gates_is_marked() -> None:
    terminal, err = shown()
    terminal.begin("trials", done=0, total=1)
    terminal.count(ended_training("trial 0", 0.1, 7.0, violation=0.4))
    assert "best trial 0: score 0.1, KL 7 (not feasible)" in err.getvalue()


def test_where_every_training_diverged_the_best_one_did_too() -> None:
    terminal, err = shown()
    terminal.begin("trials", done=0, total=1)
    terminal.count(ended_training("trial 0", 3.0, float("nan"), violation=0.4))
    assert "best trial 0: score 3, diverged (not feasible)" in err.getvalue()


def test_markup_in_a_message_is_text() -> None:
    terminal, err = shown()
    terminal.say("warning: column [red]a[/red] is constant")
    assert err.getvalue() == "warning: column [red]a[/red] is constant\n"


def test_what_would_act_on_the_terminal_is_written_out() -> None:
    terminal, err = shown()
    terminal.say("a\x1b]0;title\x07\u202eb")
    terminal.begin("trials", done=0, total=1)
    terminal.count(ended_training("\x1b[31mred", 0.1))
    WarningLines(err).say("warning: \x9b5m")
    assert err.getvalue().splitlines() == [
        r"a\u001b]0;title\u0007\u202eb",
        r"trials 1/1 · best \u001b[31mred: score 0.1, KL 2",
        r"warning: \u009b5m",
    ]


def plain_text(drawn: bytes) -> str:
    """What was drawn on a terminal, without its commands and with single spaces."""
    return " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.decode(errors="ignore")).split())


def read_until(reader: io.FileIO, words: str) -> str:
    """What is drawn on a terminal until these words end it."""
    drawn, deadline = b"", time.monotonic() + 60
    while not plain_text(drawn).endswith(words) and time.monotonic() < deadline:
        drawn += reader.read(65536) or b""
        time.sleep(0.02)
    return plain_text(drawn)


def test_on_a_terminal_the_leader_s_values_are_shown_live_and_leave_with_the_phase() -> None:
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    with io.FileIO(ours, "r") as reader, os.fdopen(theirs, "w") as tty:
        with redirect_stderr(tty), Terminal(live=True) as terminal:
            terminal.begin("trials", done=0, total=2)
            terminal.count(ended_training("[red]before\x1b]0;title", 0.5))
            terminal.watch({1: VALUES}, 203.0)
            text = read_until(reader, "total 1.399")
            terminal.count(ended_training("trial 1", 0.25))
        last = "trials 2/2 · best trial 1: score 0.25, KL 2"
        assert read_until(reader, last).endswith(last)
    assert "trials 1/2" in text
    assert r"best [red]before\u001b]0;title: score 0.5, KL 2" in text, "a name is neither markup nor a command"
    assert " ".join(f"running 1: {watched_values(VALUES)}".split()) in text, "folded where the terminal is narrow"
    assert "about 3 min left" in text


def drawn_by(act: Callable[[Terminal], None], *, columns: int = 80) -> bytes:
    """All that is written to a terminal of so many columns meanwhile, its commands included."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    os.set_blocking(ours, False)
    with io.FileIO(ours, "r") as reader, os.fdopen(theirs, "w") as tty:
        with redirect_stderr(tty), Terminal(live=True) as terminal:
            act(terminal)
        tty.flush()
        return reader.read() or b""


def test_on_a_terminal_lines_break_between_words() -> None:
    said = "KL is in the band for KL weights 0.017 to 1 (6 trainings, all else as the recipe, as far as it goes)."
    lines = drawn_by(lambda terminal: terminal.say(said)).decode().split("\r\n")
    assert " ".join(" ".join(lines).split()) == said
    assert max(map(len, lines)) <= 80
    assert len(lines) > 2


def test_a_warning_is_told_from_other_lines_by_its_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    drawn = drawn_by(lambda terminal: terminal.say("warning: too short"))
    assert drawn == b"\x1b[1;33mwarning:\x1b[0m too short\r\n"


def test_after_a_signal_nothing_is_live_any_more_and_the_cursor_is_back() -> None:
    def act(terminal: Terminal) -> None:
        terminal.begin("trials", done=0, total=2)
        terminal.answer_signal(sys.stderr.fileno())
        terminal.begin("confirming", done=0, total=2)

    drawn = drawn_by(act)
    assert drawn.count(HIDE) == drawn.count(SHOW) == 1
    assert drawn.index(HIDE) < drawn.index(SHOW) < drawn.index(b"Stopping; Ctrl-C again leaves at once.\r\n")
