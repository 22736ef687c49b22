"""Progress on standard error: a live display on a terminal, plain lines elsewhere."""

import math
import os
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from klsearch.reports.visible import as_line
from klsearch.search.terminal.progress import (
    EndedTraining,
    kl_words,
    leading_training,
    left_words,
    watched_values,
)

# Without a terminal, a line at least this often while something trains.
_PLAIN_SECONDS = 15.0
_BAR = 20
_STYLES = {"warning: ": "bold yellow", "note: ": "bold"}


class Terminal(AbstractContextManager["Terminal"]):
    """Progress on standard error."""

    def __init__(self, *, live: bool) -> None:
        self._console = Console(file=sys.stderr, highlight=False)
        # A file keeps every line whole; a terminal breaks it between words.
        self._console.soft_wrap = not self._console.is_terminal
        self._is_live = live and self._console.is_terminal
        self._live: Live | None = None
        self._state = PhaseState("", done=0, total=0)
        self._last_line = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop_live()

    def say(self, line: str) -> None:
        """Print a line above the live display."""
        text = Text(as_line(line))
        for beginning, style in _STYLES.items():
            if line.startswith(beginning):
                text.stylize(style, 0, len(beginning) - 1)
        self._console.print(text)

    def begin(self, phase: str, *, done: int, total: int, best: EndedTraining | None = None, kl_unit: str = "") -> None:
        """Start the display of a phase."""
        self._stop_live()
        self._state = PhaseState(phase, done=done, total=total, best=best, kl_unit=kl_unit)
        self._last_line = time.monotonic()
        if self._is_live and total > done:
            self._live = Live(self._state, console=self._console, refresh_per_second=4, transient=True)
            self._live.start()

    def count(self, ended: EndedTraining | None) -> None:
        """Count a training, and show the best so far."""
        self._state.count(ended)
        if self._state.done == self._state.total:
            self._stop_live()
            self.say(self._state.line())

    def watch(self, running: Mapping[int, Mapping[str, float]], left: float | None = None) -> None:
        """Show the leading training; without a terminal, in a line from time to time."""
        self._state.watch(running, left)
        if self._live is None and time.monotonic() - self._last_line >= _PLAIN_SECONDS:
            self.say(self._state.line())
            self._last_line = time.monotonic()

    def answer_signal(self, terminal: int) -> None:
        """Leave the terminal as it was found and say that the signal was heard; nothing is live from then on.

        Args:
            terminal: a descriptor of standard error: while libraries load, the process's own leads elsewhere.
        """
        self._is_live = False
        self._stop_live()
        begin = "\n" if os.isatty(terminal) else ""  # behind the terminal's ^C
        os.write(terminal, f"{begin}Stopping; Ctrl-C again leaves at once.\n".encode())

    def _stop_live(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()


class PhaseState:
    """What is known of the phase that is under way, and how it is drawn."""

    def __init__(
        self, phase: str, *, done: int, total: int, best: EndedTraining | None = None, kl_unit: str = ""
    ) -> None:
        self.phase, self.done, self.total = phase, done, total
        self._best, self._kl_unit = best, kl_unit
        self._running: Mapping[int, Mapping[str, float]] = {}
        self._left: float | None = None
        self._told = time.monotonic()  # when `_left` was

    def count(self, ended: EndedTraining | None) -> None:
        """Count a training as ended."""
        self.done += 1
        if ended is not None and (self._best is None or ended.rank < self._best.rank):
            self._best = ended
        if self.done == self.total:
            self._running = {}

    def watch(self, running: Mapping[int, Mapping[str, float]], left: float | None) -> None:
        """Take the running trainings, and the seconds until all is done."""
        self._running, self._left, self._told = running, left, time.monotonic()

    def line(self) -> str:
        """All of it in one line."""
        parts = [f"{self.phase} {self.done}/{self.total}", self._best_words(), self._leader_words()]
        if self.done < self.total:
            parts.append(self._left_words())
        return " · ".join(part for part in parts if part)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        head = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=max(1, self.total), completed=self.done, width=_BAR)
        head.add_row(Text(f"{self.phase} {self.done}/{self.total}"), bar, Text(self._left_words()))
        yield head
        for words in (self._best_words(), self._leader_words()):
            if words:
                yield Padding(Text(as_line(words)), (0, 0, 0, 2))

    def _left_words(self) -> str:
        since = time.monotonic() - self._told
        return left_words(None if self._left is None else max(0.0, self._left - since))

    def _best_words(self) -> str:
        if self._best is None:
            return ""
        kl = kl_words(self._best.kl, self._kl_unit) if math.isfinite(self._best.kl) else "diverged"
        outside = "" if self._best.rank.feasible else " (not feasible)"
        return f"best {self._best.label}: score {self._best.rank.score:.4g}, {kl}{outside}"

    def _leader_words(self) -> str:
        number = leading_training(self._running)
        return "" if number is None else f"running {number}: {watched_values(self._running[number], self._kl_unit)}"
