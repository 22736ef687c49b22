"""The loop that keeps a population's slots filled: finish, refill, advance."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from search.storage import Result, Run
from vae.population import Population


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A row to be trained.

    Attributes:
        number: of its row.
        run: what to train.
    """

    number: int
    run: Run


class Source(Protocol):
    """Where jobs come from and where their results go. Called between epochs only."""

    def take(self, free: int) -> list[Job]:
        """At most `free` further jobs, in ascending number; none when there are no more."""

    def finish(self, finished: Mapping[int, Result], slots: Mapping[int, int]) -> None:
        """Results by row number, in ascending number; `slots` says where their members still are."""


class Interrupted(Exception):
    """The user or a time limit asked to stop; what was trained so far is kept."""


Watch = Callable[[Mapping[int, Mapping[str, float]]], None]


class Trainer:
    """Trains jobs in a population until its source has no more.

    Between epochs, and only there: finished jobs are told in ascending number, then free slots are filled in ascending
    order with jobs in ascending number. So one trainer's course depends on nothing but its source.

    Args:
        population: where members train.
        epochs: how long each job trains; one that diverges leaves at once.
        watch: is told the latest epoch of every active job by number, about once a second.
        stop: whether to stop now; asked about once a second.
    """

    def __init__(
        self,
        population: Population,
        *,
        epochs: int,
        watch: Watch,
        stop: Callable[[], bool],
    ) -> None:
        self._population = population
        self._epochs = epochs
        self._watch = watch
        self._stop = stop
        self._jobs: dict[int, Job] = {}  # by slot

    def train(self, source: Source) -> None:
        """Train every job of a source.

        Raises:
            Interrupted: `stop` said so; running jobs stay running in the storage.
        """
        while True:
            self._finish(source)
            self._fill(source)
            if not self._jobs:
                return
            self._advance()

    def _finish(self, source: Source) -> None:
        ended = {slot: job for slot, job in self._jobs.items() if self._has_ended(slot)}
        if not ended:
            return
        by_number = sorted(ended, key=lambda slot: ended[slot].number)
        whole = [slot for slot in by_number if not self._population.curves(slot).diverged]
        measures = dict(zip(whole, self._population.measure(whole, "validation"), strict=True)) if whole else {}
        results = {
            ended[slot].number: Result(
                curves=self._population.curves(slot),
                measures={"validation": measures[slot]} if slot in measures else {},
                seconds=self._population.seconds(slot),
            )
            for slot in by_number
        }
        source.finish(results, {ended[slot].number: slot for slot in by_number})
        for slot in by_number:
            self._population.stop(slot)
            del self._jobs[slot]

    def _has_ended(self, slot: int) -> bool:
        diverged = self._population.latest(slot).get("nonfinite_steps", 0) > 0
        return diverged or self._population.epoch(slot) >= self._epochs

    def _fill(self, source: Source) -> None:
        free = [slot for slot in range(self._population.slots) if slot not in self._jobs]
        if not free:
            return
        for slot, job in zip(free, source.take(len(free)), strict=False):
            self._population.start(slot, job.run.hyperparameters, job.run.seed)
            self._jobs[slot] = job

    def _advance(self) -> None:
        """One epoch of every slot."""
        ended = False
        while not ended:
            if self._stop():
                raise Interrupted
            ended = self._population.advance()
            self._watch(self._progress())

    def _progress(self) -> dict[int, Mapping[str, float]]:
        return {
            job.number: {"epoch": self._population.epoch(slot), "epochs": self._epochs} | self._population.latest(slot)
            for slot, job in sorted(self._jobs.items(), key=lambda item: item[1].number)
        }
