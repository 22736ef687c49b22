"""The progress of a running study: on standard error, a live line on a terminal, plain lines elsewhere."""

import math
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, TextIO, final

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from klsearch.reports.visible import show_hidden
from klsearch.reports.wording import duration
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.ranking import Rank

# Without a terminal, a line at least this often while something trains.
_PLAIN_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedTraining:
    """A training that has ended.

    Attributes:
        label: "trial 12", or a confirmation run's candidate.
        kl: final KL in the band's unit; NaN if it diverged.
        rank: its place among others, with its score.
    """

    label: str
    kl: float
    rank: Rank


class Progress(Protocol):
    """A listener to what happens while a study runs."""

    def say(self, line: str) -> None:
        """Show the user a line."""

    def begin(self, phase: str, *, done: int, total: int, best: EndedTraining | None = None, kl_unit: str = "") -> None:
        """Begin a phase of `total` trainings of which `done` were finished earlier, `best` the best of them.

        Every KL that is told of it is in `kl_unit`.
        """

    def count(self, ended: EndedTraining | None) -> None:
        """Count one more training of this phase as ended; None if the best is not sought among such trainings."""

    def watch(self, running: Mapping[int, Mapping[str, float]]) -> None:
        """Take the latest epoch of every running training, by number; its KL in the unit of the phase."""


@final
class Silence:
    """Progress that nobody sees."""

    def say(self, line: str) -> None:
        """Do nothing."""

    def begin(self, phase: str, *, done: int, total: int, best: EndedTraining | None = None, kl_unit: str = "") -> None:
        """Do nothing."""

    def count(self, ended: EndedTraining | None) -> None:
        """Do nothing."""

    def watch(self, running: Mapping[int, Mapping[str, float]]) -> None:
        """Do nothing."""


@final
class WarningLines:
    """Progress of which only warnings are shown, each in one line: what a started worker has to say."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def say(self, line: str) -> None:
        """Print a warning; drop any other line."""
        if line.startswith("warning: "):
            print(show_hidden(line), file=self._file, flush=True)

    def begin(self, phase: str, *, done: int, total: int, best: EndedTraining | None = None, kl_unit: str = "") -> None:
        """Do nothing."""

    def count(self, ended: EndedTraining | None) -> None:
        """Do nothing."""

    def watch(self, running: Mapping[int, Mapping[str, float]]) -> None:
        """Do nothing."""


def banded(running: Mapping[int, Mapping[str, float]], definition: StudyDefinition) -> dict[int, Mapping[str, float]]:
    """The latest epoch of every running training, its KL, a mean over latents, taken to the band's unit."""
    thresholds, latents = definition.thresholds(), definition.model.latent_dim
    return {
        number: {**values, "kl": thresholds.banded_kl(values["kl"], latents)} if "kl" in values else values
        for number, values in running.items()
    }


def watched_values(values: Mapping[str, float], kl_unit: str = "") -> str:
    """The four values that the recipe tells people to watch, of one training's latest epoch; its KL in this unit."""
    if "kl" not in values:
        return "first epoch"
    return (
        f"epoch {values['epoch']:.0f}/{values['epochs']:.0f}  {_kl(values['kl'], kl_unit)}  "
        f"reconstruction {_format(values['reconstruction'], 4)}  KL weight {_format(values['kl_weight'], 3)}  "
        f"total {_format(values['total'], 4)}"
    )


def _kl(kl: float, unit: str) -> str:
    return f"KL {_format(kl, 3)}{f' {unit}' if unit and math.isfinite(kl) else ''}"


def _format(value: float, digits: int) -> str:
    return f"{value:.{digits}g}" if math.isfinite(value) else "not finite"


def leading_training(running: Mapping[int, Mapping[str, float]]) -> int | None:
    """The running training that is farthest on, the lowest number first; None if nothing runs."""
    return min(running, key=lambda number: (-running[number].get("epoch", 0), number), default=None)


def rough_duration(seconds: float) -> str:
    """A time that is not known well, in words: 40 s, 3 min, 5 h.

    >>> rough_duration(37.0), rough_duration(203.0), rough_duration(17_000.0)
    ('40 s', '3 min', '5 h')
    """
    if seconds < 90:
        return f"{math.ceil(seconds / 10) * 10} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{round(minutes / 60)} h"


class _Clock:
    """The state of a phase, and how long the rest will take at the pace since it began."""

    def __init__(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        self._began = time.monotonic()
        self._done_before = done
        self._partly = 0.0  # running trainings, in whole ones

    def watch(self, running: Mapping[int, Mapping[str, float]]) -> None:
        self._partly = sum(values["epoch"] / values["epochs"] for values in running.values())

    def time_left(self) -> str:
        """The time left, in words."""
        trained = self.done - self._done_before + self._partly
        if trained < 0.1:
            return "time left unknown yet"
        pace = (time.monotonic() - self._began) / trained
        return f"about {duration(round(max(0.0, self.total - self.done - self._partly) * pace))} left"


class Terminal(AbstractContextManager["Terminal"]):
    """Progress on standard error."""

    def __init__(self, *, live: bool) -> None:
        self._console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._is_live = live and self._console.is_terminal
        self._live: Live | None = None
        self._clock = _Clock(0, 0)
        self._phase = self._kl_unit = ""
        self._best: EndedTraining | None = None
        self._running: Mapping[int, Mapping[str, float]] = {}
        self._last_line = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop_live()

    def say(self, line: str) -> None:
        """Print a line above the live display."""
        self._console.print(show_hidden(line), markup=False)

    def begin(self, phase: str, *, done: int, total: int, best: EndedTraining | None = None, kl_unit: str = "") -> None:
        """Start the display of a phase."""
        self._stop_live()
        self._clock, self._phase, self._best, self._running = _Clock(done, total), phase, best, {}
        self._kl_unit = kl_unit
        self._last_line = time.monotonic()
        if self._is_live and total > done:
            self._live = Live(console=self._console, refresh_per_second=4, transient=True, get_renderable=self._table)
            self._live.start()

    def count(self, ended: EndedTraining | None) -> None:
        """Count a training, and show the best so far."""
        self._clock.done += 1
        if ended is not None and (self._best is None or ended.rank < self._best.rank):
            self._best = ended
        if self._clock.done == self._clock.total:
            self._running = {}
            self._stop_live()
            self.say(self._line())

    def watch(self, running: Mapping[int, Mapping[str, float]]) -> None:
        """Show the leading training; without a terminal, in a line from time to time."""
        self._running = running
        self._clock.watch(running)
        if self._live is None and time.monotonic() - self._last_line >= _PLAIN_SECONDS:
            self.say(self._line())
            self._last_line = time.monotonic()

    def _stop_live(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _line(self) -> str:
        parts = [f"{self._phase} {self._clock.done}/{self._clock.total}", self._best_so_far(), self._leader()]
        if self._clock.done < self._clock.total:
            parts.append(self._clock.time_left())
        return " · ".join(part for part in parts if part)

    def _table(self) -> Table:
        grid = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=max(1, self._clock.total), completed=self._clock.done, width=24)
        grid.add_row(Text(f"{self._phase} {self._clock.done}/{self._clock.total}"), bar, self._clock.time_left())
        rows = Table.grid()
        rows.add_row(grid)
        for line in (self._best_so_far(), self._leader()):
            if line:
                rows.add_row(Text(f"  {show_hidden(line)}"))
        return rows

    def _best_so_far(self) -> str:
        if self._best is None:
            return ""
        kl = _kl(self._best.kl, self._kl_unit) if math.isfinite(self._best.kl) else "diverged"
        outside = "" if self._best.rank.feasible else " (not feasible)"
        return f"best {self._best.label}: score {self._best.rank.score:.4g}, {kl}{outside}"

    def _leader(self) -> str:
        number = leading_training(self._running)
        return "" if number is None else f"running {number}: {watched_values(self._running[number], self._kl_unit)}"
