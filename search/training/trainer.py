"""The loop that keeps a population's slots filled: save, finish, refill, advance."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import final

from klsearch.search.stopping import Interrupted
from klsearch.search.storage.rows import Result, Row, Run
from klsearch.search.training.checkpoint import Checkpoint, Course
from klsearch.search.training.device_faults import MEMORY_ENDED, OutOfMemory, make_room
from klsearch.studies.errors import KlsearchError, StudyConflict
from klsearch.vae.diagnostics.curves import TrainingCurves
from klsearch.vae.evaluation.evaluator import Members
from klsearch.vae.training.population import Population
from klsearch.vae.training.snapshot import MemberState, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A row to be trained.

    Attributes:
        number: of its row.
        run: what to train.
        state: where a worker that died left it; None to train it from its start.
        epochs: how long it is trained, where that is shorter than the others: it was ended early before.
    """

    number: int
    run: Run
    state: MemberState | None = None
    epochs: int | None = None


def job_again(row: Row) -> Job:
    """A finished row to be trained once more, as long as it was."""
    return Job(number=row.number, run=row.run, epochs=None if row.result is None else row.result.curves.epochs)


class Source(ABC):
    """A source of jobs, which takes their results back. Called between epochs only.

    Attributes:
        position: the highest number that it has asked for; -1 before.
    """

    position: int = -1

    @abstractmethod
    def go_on(self, checkpoint: Checkpoint) -> dict[int, Job]:
        """The jobs of a checkpoint, by slot, that are still to be trained; the source stands where it stood then."""

    @abstractmethod
    def take(self, free: int) -> list[Job]:
        """At most `free` further jobs, in ascending number; none when there are no more now."""

    @abstractmethod
    def find_lost(self) -> Set[int]:
        """Numbers of jobs that another worker has taken over, because this one was silent for too long."""

    @abstractmethod
    def find_hopeless(self, epochs: Mapping[int, int], curves: Callable[[int], TrainingCurves]) -> Set[int]:
        """Numbers of running jobs that need not be trained to their end; they are finished as they are.

        Args:
            epochs: that each has been trained for, by number.
            curves: what was measured of one.
        """

    @abstractmethod
    def finish(self, finished: Mapping[int, Result], member: Callable[[int], Members]) -> None:
        """Results by row number, in ascending number; `member` copies a finished row's member, by its number."""


class UnsharedSource(Source):
    """A source whose jobs no other worker takes over, and which trains each of them to its end."""

    @final
    def find_lost(self) -> Set[int]:
        """None."""
        return frozenset()

    @final
    def find_hopeless(self, epochs: Mapping[int, int], curves: Callable[[int], TrainingCurves]) -> Set[int]:
        """None."""
        del epochs, curves
        return frozenset()


Watch = Callable[[Mapping[int, Mapping[str, float]]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """The place of a trainer's checkpoints.

    Attributes:
        course: which keeps them.
        study: the study whose rows are trained.
    """

    course: Course
    study: str


class Trainer:
    """Trains jobs in a population until its source has no more.

    Between epochs, and only there: a checkpoint is written if it is due, then finished jobs are told in ascending
    number, then free slots are filled in ascending order with jobs in ascending number. So one trainer's course depends
    on nothing but its source, and a checkpoint and its source are enough to follow it again to the same end.

    Args:
        population: where members train.
        epochs: how long each job trains; one that diverges leaves at once.
        watch: is told the latest epoch of every active job by number, about once a second.
        stop: whether to stop now; asked about once a second.
        say: is told when memory is too small for all members of the population at a time.
    """

    def __init__(
        self,
        population: Population,
        *,
        epochs: int,
        watch: Watch,
        stop: Callable[[], bool],
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._population = population
        self._epochs = epochs
        self._watch = watch
        self._stop = stop
        self._say = say
        self._jobs: dict[int, Job] = {}  # by slot
        self._position = -1  # of the source when its jobs were last put into slots
        self._has_begun = False

    def train(self, source: Source, saving: Saving | None = None) -> None:
        """Train every job that a source has now.

        Args:
            source: of jobs.
            saving: where this course's checkpoints go, and the one to go on from, if there is one; None to keep none.

        Raises:
            Interrupted: `stop` said so; running jobs stay running in the storage.
            StudyConflict: the checkpoint was taken of another network.
            OutOfMemory: as few members as can be, trained together, take more memory than there is.
        """
        is_amid = self._go_on(source, saving)
        try:
            while is_amid or self._turn(source, saving):
                is_amid = not self._advance(saving) and self._take_back(saving)
        except OutOfMemory:
            raise  # what the slots hold is no state of a training
        except (Interrupted, KlsearchError):
            if saving is not None:
                self._save(saving)
            raise
        if saving is not None:
            saving.course.clear()

    def _turn(self, source: Source, saving: Saving | None) -> bool:
        """What is done between epochs; False when there is nothing more to train."""
        self._save_if_due(saving)
        self._leave(source.find_lost())
        self._finish(source)
        self._fill(source)
        return bool(self._jobs)

    def _take_back(self, saving: Saving | None) -> bool:
        """Let fewer members train together, each from where the last checkpoint has it, else from its start.

        True if they then stand in the middle of an epoch.

        Raises:
            OutOfMemory: no fewer can.
        """
        make_room(self._population, say=self._say)
        checkpoint = saving.course.load(saving.study) if saving is not None else None
        batch, held = 0, dict[int, MemberState]()
        if checkpoint is not None:
            batch = checkpoint.snapshot.batch
            is_held = {slot: checkpoint.numbers.get(slot) == job.number for slot, job in self._jobs.items()}
            if batch == 0 or all(is_held.values()):  # in the middle of an epoch nobody joins others
                held = {slot: checkpoint.snapshot.members[slot] for slot, is_there in is_held.items() if is_there}
        self._population.restore(Snapshot(batch=batch if held else 0, members=held))
        for slot, job in self._jobs.items():
            if slot not in held:
                self._place(slot, job)
        return bool(held and batch)

    def _go_on(self, source: Source, saving: Saving | None) -> bool:
        """Stand where the checkpoint stood; True if that is in the middle of an epoch."""
        is_first, self._has_begun = not self._has_begun, True
        # What it trained itself has ended by then, should a checkpoint of that still be there.
        checkpoint = saving.course.load(saving.study) if saving is not None and is_first else None
        if checkpoint is None:
            self._position = source.position
            return False
        self._jobs = source.go_on(checkpoint)
        self._position = source.position
        members = {slot: checkpoint.snapshot.members[slot] for slot in self._jobs}
        try:
            self._population.restore(Snapshot(batch=checkpoint.snapshot.batch, members=members))
        except ValueError as error:
            raise StudyConflict(
                "the model is no longer the one whose training was saved; restore it to go on, or start a new study."
            ) from error
        return bool(members and checkpoint.snapshot.batch)

    def _save_if_due(self, saving: Saving | None, *, between_epochs: bool = True) -> None:
        if saving is not None and saving.course.is_due(between_epochs=between_epochs):
            self._save(saving)

    def _save(self, saving: Saving) -> None:
        """Write what the slots hold, and the position of when they were filled: a take may have been cut off since."""
        began = time.monotonic()
        checkpoint = Checkpoint(
            study=saving.study,
            fingerprint=saving.course.fingerprint,
            position=self._position,
            numbers={slot: job.number for slot, job in self._jobs.items()},
            snapshot=self._population.snapshot(),
        )
        saving.course.save(checkpoint, taken_in=time.monotonic() - began)

    def _leave(self, numbers: Set[int]) -> None:
        for slot in [slot for slot, job in self._jobs.items() if job.number in numbers]:
            self._population.stop(slot)
            del self._jobs[slot]

    def _finish(self, source: Source) -> None:
        ended = {slot: job for slot, job in self._jobs.items() if self._has_ended(slot, job)}
        ended |= self._find_hopeless(source, self._jobs.keys() - ended.keys())
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
        slots = {ended[slot].number: slot for slot in by_number}
        source.finish(results, lambda number: self._population.member(slots[number]))
        self._leave(results.keys())

    def _has_ended(self, slot: int, job: Job) -> bool:
        diverged = self._population.latest(slot).get("nonfinite_steps", 0) > 0
        return diverged or self._population.epoch(slot) >= (job.epochs or self._epochs)

    def _find_hopeless(self, source: Source, slots: Set[int]) -> dict[int, Job]:
        """Those of the slots whose jobs the source ends early."""
        by_number = {self._jobs[slot].number: slot for slot in sorted(slots)}
        epochs = {number: self._population.epoch(slot) for number, slot in by_number.items()}
        numbers = source.find_hopeless(epochs, lambda number: self._population.curves(by_number[number]))
        return {by_number[number]: self._jobs[by_number[number]] for number in numbers}

    def _fill(self, source: Source) -> None:
        free = [slot for slot in range(self._population.slots) if slot not in self._jobs]
        if not free:
            return
        for slot, job in zip(free, source.take(len(free)), strict=False):
            self._place(slot, job)
            self._jobs[slot] = job
        self._position = source.position

    def _place(self, slot: int, job: Job) -> None:
        """Put a job's member into a slot, as it is at its start, or as a worker that died left it."""
        if job.state is None:
            self._population.start(slot, job.run.hyperparameters, job.run.seed)
        else:
            self._population.restore(Snapshot(batch=0, members={slot: job.state}))

    def _advance(self, saving: Saving | None) -> bool:
        """Every slot to the end of its epoch; False where memory was too small, and what the slots hold is broken."""
        ended = False
        while not ended:
            if self._stop():
                raise Interrupted
            try:
                ended = self._population.advance()
            except MEMORY_ENDED:
                return False
            self._watch(self._progress())
            if not ended:
                self._save_if_due(saving, between_epochs=False)
        return True

    def _progress(self) -> dict[int, Mapping[str, float]]:
        return {
            job.number: {"epoch": self._population.epoch(slot), "epochs": self._epochs} | self._population.latest(slot)
            for slot, job in sorted(self._jobs.items(), key=lambda item: item[1].number)
        }
