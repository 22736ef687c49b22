"""Listeners to the progress of a running study, and the words in which it is told."""

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TextIO, final

from klsearch.reports.visible import as_line
from klsearch.reports.wording import duration
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.ranking import Rank

_MOMENT_SECONDS = 2.0


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
    """A listener to what happens while a study runs; any object with these four methods is one."""

    def say(self, line: str) -> None:
        """Show the user a line."""

    def begin(self, phase: str, *, done: int, total: int, best: EndedTraining | None = None, kl_unit: str = "") -> None:
        """Begin a phase of `total` trainings of which `done` were finished earlier, `best` the best of them.

        Every KL that is told of it is in `kl_unit`.
        """

    def count(self, ended: EndedTraining | None) -> None:
        """Count one more training of this phase as ended; None if the best is not sought among such trainings."""

    def watch(self, running: Mapping[int, Mapping[str, float]], left: float | None = None) -> None:
        """Take the latest epoch of every running training, by number; its KL in the unit of the phase.

        `left` are the seconds until all is done, the phases to come and the report included; None while that is not
        known.
        """


@final
class Silence:
    """Progress that nobody sees."""

    def say(self, line: str) -> None:
        """Do nothing."""

    def begin(self, phase: str, *, done: int, total: int, best: EndedTraining | None = None, kl_unit: str = "") -> None:
        """Do nothing."""

    def count(self, ended: EndedTraining | None) -> None:
        """Do nothing."""

    def watch(self, running: Mapping[int, Mapping[str, float]], left: float | None = None) -> None:
        """Do nothing."""


@final
class WarningLines:
    """Progress of which only warnings are shown, each in one line: what a started worker has to say."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def say(self, line: str) -> None:
        """Print a warning; drop any other line."""
        if line.startswith("warning: "):
            print(as_line(line), file=self._file, flush=True)

    def begin(self, phase: str, *, done: int, total: int, best: EndedTraining | None = None, kl_unit: str = "") -> None:
        """Do nothing."""

    def count(self, ended: EndedTraining | None) -> None:
        """Do nothing."""

    def watch(self, running: Mapping[int, Mapping[str, float]], left: float | None = None) -> None:
        """Do nothing."""


@contextmanager
def say_if_long(progress: Progress, line: str) -> Iterator[None]:
    """A block of which a line tells if it takes more than a moment: what fails at once is told by its error alone."""
    timer = threading.Timer(_MOMENT_SECONDS, progress.say, [line])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


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
        f"epoch {values['epoch']:.0f}/{values['epochs']:.0f}  {kl_words(values['kl'], kl_unit)}  "
        f"reconstruction {_format(values['reconstruction'], 4)}  KL weight {_format(values['kl_weight'], 3)}  "
        f"total {_format(values['total'], 4)}"
    )


def kl_words(kl: float, unit: str) -> str:
    """A KL with its unit."""
    return f"KL {_format(kl, 3)}{f' {unit}' if unit and math.isfinite(kl) else ''}"


def _format(value: float, digits: int) -> str:
    return f"{value:.{digits}g}" if math.isfinite(value) else "not finite"


def leading_training(running: Mapping[int, Mapping[str, float]]) -> int | None:
    """The running training that is farthest on, the lowest number first; None if nothing runs."""
    return min(running, key=lambda number: (-running[number].get("epoch", 0), number), default=None)


def rough_duration(seconds: float) -> str:
    """A time that is not known well, in words: 40 s, 3 min, 5 h.

    >>> [rough_duration(seconds) for seconds in (0.3, 12.4, 37.0, 203.0, 17_000.0)]
    ['5 s', '10 s', '40 s', '3 min', '5 h']
    """
    if seconds < 90:
        step = 5 if seconds < 35 else 10
        return f"{max(step, round(seconds / step) * step)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{round(minutes / 60)} h"


def left_words(left: float | None) -> str:
    """The time until all is done, in words.

    >>> left_words(203.0), left_words(None)
    ('about 3 min left', 'time left unknown')
    """
    return "time left unknown" if left is None else f"about {rough_duration(left)} left"


def step_time(seconds: float) -> str:
    """What a training step takes, in the unit that suits it.

    >>> step_time(0.000214), step_time(0.0375), step_time(2.4)
    ('0.21 ms', '38 ms', '2.4 s')
    """
    return duration(seconds) if seconds >= 0.0995 else f"{1000 * seconds:.2g} ms"
