"""The search as a source of jobs: takes up what was left running, then asks for new trials until the budget is met."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set

from optuna.trial import FrozenTrial, TrialState

from klsearch.search.seeds import shared_seed, trial_seed
from klsearch.search.storage.leases import LEASE_SECONDS
from klsearch.search.storage.rows import FINISHED, NewRow, Result, Row, Run, trial_label
from klsearch.search.storage.study import StudyStorage
from klsearch.search.terminal.progress import EndedTraining
from klsearch.search.training.checkpoint import Checkpoint
from klsearch.search.training.trainer import Job, Source, job_again
from klsearch.search.training.worker import Worker
from klsearch.search.trials.decider import Decider
from klsearch.search.trials.judging import finish
from klsearch.search.trials.ladder import LadderTeller
from klsearch.search.trials.pruning import PRUNERS
from klsearch.search.trials.sampling import Advisor
from klsearch.studies.definitions.baselines import baselines_inside
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.ladder import LADDER, rung_settings
from klsearch.studies.procedure import Procedure
from klsearch.vae.diagnostics.curves import TrainingCurves
from klsearch.vae.evaluation.evaluator import Members
from klsearch.vae.hyperparameters import Hyperparameters


class TrialSource(Source):
    """Trials of one study for one worker.

    What to train is decided in the worker's turn, on the whole study as it is then. So no two workers ask for the same
    trial, and the budget is met exactly.

    Args:
        storage: the study.
        definition: what is searched, scored and judged.
        budget: finished trials in the study in all.
        worker: who trains them.
        tell: is told of each trial after its result was stored.
        decider: says when no more trials are asked for.
        is_emptying: whether no trial is to be taken now, so that the slots empty.
    """

    def __init__(
        self,
        storage: StudyStorage,
        definition: StudyDefinition,
        *,
        budget: int,
        worker: Worker,
        tell: Callable[[EndedTraining], None],
        decider: Decider,
        is_emptying: Callable[[], bool] = lambda: False,
    ) -> None:
        self._storage = storage
        self._definition = definition
        self._budget = budget
        self._decider = decider
        self._is_emptying = is_emptying
        self._worker = worker
        self._tell = tell
        sampled = definition.space.sampled()
        self._lag = storage.facts.lag
        self._advisor = Advisor(definition.study.sampler, sampled, definition.study.seed, lag=self._lag)
        self._rungs = rung_settings(definition, storage.facts.ladder)
        self._ladder = LadderTeller(storage, definition, worker.say)
        earlier = [row.run.hyperparameters for row in storage.rows(results=False) if row.warm_start]
        rungs = [(LADDER, {name: getattr(rung, name) for name in sampled}) for rung in self._rungs]
        self._given: dict[Hyperparameters, tuple[str, dict[str, float | str]]] = {}
        for label, values in [*baselines_inside(definition), *rungs]:
            settings = definition.hyperparameters(values)
            if settings not in earlier:
                self._given.setdefault(settings, (label, values))
        self._procedure = storage.facts.procedure
        make = PRUNERS.get(definition.study.pruner)
        self._pruner = None if make is None else make(definition, lag=self._lag)
        self._early: set[int] = set()  # ended by the pruner
        self._settled: set[int] = set()  # trained again though finished: how long is settled
        self._mine: dict[int, Hyperparameters] = {}  # what this worker trains or has trained, by number
        self._again: list[int] = []  # asked for by this course after its checkpoint, in this order
        self._awake = _clocks()

    def go_on(self, checkpoint: Checkpoint) -> dict[int, Job]:
        """The jobs of a checkpoint that are still this course's.

        Trials that the course finished after the checkpoint are trained again: so it fills its slots in the order in
        which it did, and asks for the next trial when it did or would have. What comes out is compared, not stored.
        """
        with self._worker.turn(), self._storage.leases.reading():
            rows = self._storage.rows(results=False)
            room = self._room(rows)
            jobs = {}
            for slot, number in sorted(checkpoint.numbers.items(), key=lambda item: item[1]):
                row = next((row for row in rows if row.number == number and self._is_of_course(row)), None)
                if row is None:
                    continue
                if row.state is TrialState.RUNNING:
                    if room <= 0:
                        continue
                    room -= 1
                    if not self._claim(row):
                        room += self._has_failed(row)
                        continue
                jobs[slot] = self._job(row)
            self.position = checkpoint.position
            self._again = [row.number for row in rows if row.number > self.position and self._is_of_course(row)]
            self._take_on(jobs.values())
            self._learn(rows)
        return jobs

    def take(self, free: int) -> list[Job]:
        """Trials of this course after its checkpoint, those that a dead worker left, and new ones within the budget."""
        # Before the turn, which others wait for. What the course took after its checkpoint was in slots already.
        if not self._again and self._is_emptying():
            return []
        limit = self._decider.find_limit()
        with self._worker.turn(), self._storage.leases.reading():
            trials = self._storage.trials()
            rows = {row.number: row for row in self._storage.rows_of(trials)}
            room = self._room(list(rows.values()))
            jobs: list[Job] = []
            self._again = [number for number in self._again if self._is_of_course(rows[number])]  # not taken over
            for row in [*(rows[number] for number in self._again), *self._rows_left_running(rows)]:
                if len(jobs) == free:
                    break
                if row.state in FINISHED:
                    jobs.append(self._job(row))
                elif row.state is TrialState.RUNNING and room > 0:
                    room -= 1
                    if self._claim(row):
                        state = None if row.number in self._again else self._worker.find_stranded(row.number)
                        jobs.append(Job(number=row.number, run=row.run, state=state))
                    else:
                        room += self._has_failed(row)
            self._take_on(jobs)
            self._learn(list(rows.values()))
            self._again = [number for number in self._again if number not in self._mine]
            self.position = max([self.position, *self._mine])
            wanted = min(free - len(jobs), self._count_askable(rows.values(), len(trials), limit, room))
            return jobs + self._ask(wanted, trials, self._find_untried(rows.values()))

    def has_more(self) -> bool:
        """Tell whether there are trials to take now: the budget allows more than others train and have finished."""
        trials = self._storage.trials()
        rows = self._storage.rows_of(trials)
        if self._room(rows) <= 0:
            return False
        left = self._rows_left_running({row.number: row for row in rows})
        return bool(left) or self._count_askable(rows, len(trials), self._decider.find_limit(), 1) > 0

    def has_room(self) -> bool:
        """Tell whether more trials are to be asked for, now or later."""
        return self._room(self._storage.rows(results=False)) > 0

    def find_lost(self) -> Set[int]:
        """Numbers of trials that another worker has taken over, looked for after a silence as long as the lease."""
        before, self._awake = self._awake, _clocks()
        if max(abs(now - then) for now, then in zip(self._awake, before, strict=True)) < LEASE_SECONDS:
            return frozenset()
        kept = {
            row.number
            for row in self._storage.rows(results=False)
            if self._is_of_course(row) and (row.owner == self._worker.owner or row.state in FINISHED)
        }
        lost = self._mine.keys() - kept
        self._mine = {number: settings for number, settings in self._mine.items() if number in kept}
        return lost

    def find_hopeless(self, epochs: Mapping[int, int], curves: Callable[[int], TrainingCurves]) -> Set[int]:
        """Numbers of the trials that the pruner ends, if there is one."""
        if self._pruner is None:
            return frozenset()
        ended = {
            number
            for number in epochs.keys() - self._settled
            if self._mine[number] not in self._rungs
            and self._pruner.looks_at(self._mine[number], epochs[number])
            and self._pruner.ends(number, self._mine[number], curves(number))
        }
        self._early |= ended
        return ended

    def finish(self, finished: Mapping[int, Result], member: Callable[[int], Members]) -> None:
        """Score and store results, in ascending number; those that are stored already are compared."""
        del member
        for number, result in finished.items():
            label = trial_label(number)
            pruned = number in self._early
            ended = finish(
                self._storage, self._definition, number, label, result, owner=self._worker.owner, pruned=pruned
            )
            if ended is not None:
                self._tell(ended)
            else:
                self._compare(number, result)
            if self._pruner is not None:
                self._pruner.learn(number, self._mine[number], result.curves)
        self._ladder.look()

    def _job(self, row: Row) -> Job:
        """A row that is trained again; one that has finished, as long as it was."""
        if row.state not in FINISHED:
            return Job(number=row.number, run=row.run)
        self._settled.add(row.number)
        return job_again(self._storage.row(row.number))

    def _take_on(self, jobs: Iterable[Job]) -> None:
        self._mine |= {job.number: job.run.hyperparameters for job in jobs}

    def _learn(self, rows: Sequence[Row]) -> None:
        """Let the pruner compare with what has finished.

        Where all that has ended counts, what this course finished after its checkpoint counts from when it ends again.
        """
        if self._pruner is None:
            return
        skipped = {*self._pruner.known, *(() if self._lag else (*self._mine, *self._again))}
        for number in [row.number for row in rows if row.state in FINISHED and row.number not in skipped]:
            row = self._storage.row(number)
            if row.result is not None:
                self._pruner.learn(number, row.run.hyperparameters, row.result.curves)

    def _compare(self, number: int, result: Result) -> None:
        """Say why a result was not stored, unless it is the very one that is."""
        row = self._storage.row(number)
        if row.state is TrialState.FAIL:
            self._worker.say(f"warning: another program marked trial {number} as failed; its result is dropped.")
        elif row.result is None:
            self._worker.say(f"Another worker took over trial {number} while this one was silent.")
        elif row.result.curves.as_rows().tobytes() != result.curves.as_rows().tobytes():
            self._worker.say(
                f"warning: trial {number} was trained again after its checkpoint, and came out differently than before "
                "(another processor, or other versions of libraries?); its stored result stays."
            )

    def _room(self, rows: Sequence[Row]) -> int:
        """The number of trials that the budget allows beside those that are finished and that living workers train."""
        living = sum(row.state is TrialState.RUNNING for row in rows) - len(self._left(rows))
        counted = sum(row.state in FINISHED and not row.warm_start for row in rows)
        return self._budget - counted - living

    def _count_askable(self, rows: Collection[Row], first: int, limit: int | None, most: int) -> int:
        """How many trials from a number on, of so many, may be asked for: they rest on finished and decided ones."""
        ends = [first + most]
        if limit is not None:
            ends.append(limit)
        if self._lag:
            ends += [row.number + self._lag for row in rows if row.state is TrialState.RUNNING]
        return max(0, min(ends) - first)

    def _rows_left_running(self, rows: Mapping[int, Row]) -> list[Row]:
        """Rows that nobody trains any more."""
        return [row for row in self._left(rows.values()) if row.number not in self._again]

    def _left(self, rows: Iterable[Row]) -> list[Row]:
        """Running rows of workers that are gone; a worker is asked for once, for each time reads the study's leases."""
        others = [row for row in rows if row.state is TrialState.RUNNING and row.number not in self._mine]
        gone = {owner for owner in {row.owner for row in others} if self._worker.may_take(owner)}
        return [row for row in others if row.owner in gone]

    def _is_of_course(self, row: Row) -> bool:
        return row.course == self._worker.course and row.state is not TrialState.FAIL

    def _claim(self, row: Row) -> bool:
        """Make a running row that nobody trains this worker's own; whether that was so still."""
        if not self._worker.may_take(row.owner):
            return False
        return self._storage.take_over(row.number, self._worker.owner, course=self._worker.course)

    def _has_failed(self, row: Row) -> bool:
        """Tell whether a row that could not be claimed leaves its room: any other is trained or finished after all."""
        return self._storage.row(row.number).state is TrialState.FAIL

    def _find_untried(self, rows: Iterable[Row]) -> list[tuple[str, dict[str, float | str]]]:
        """Baselines and rungs still to be tried, in order: all come before the search, and those of void rows again."""
        own = [row for row in rows if not row.warm_start]
        void = {row.run.hyperparameters for row in own if row.is_void}
        known = [row.run for row in own if not row.is_void]
        tried = {run.hyperparameters for run in known if run.label != "search"}
        is_begun = any(run.label == "search" for run in known)
        return [
            given
            for settings, given in self._given.items()
            if settings not in tried and (not is_begun or settings in void)
        ]

    def _ask(
        self, wanted: int, trials: Sequence[FrozenTrial], untried: Sequence[tuple[str, dict[str, float | str]]]
    ) -> list[Job]:
        """New trials, baselines and rungs that were not tried yet before others, written under their numbers.

        Another row may get such a number if this worker was silent in its turn until others took it for dead, and where
        other programs write into the study. What was suggested then rests on an old history, and may be suggested to
        others too: it is void.
        """
        if wanted <= 0:
            return []
        self._advisor.learn(trials)
        numbers = range(len(trials), len(trials) + wanted)
        new = [self._suggest(n, untried[i] if i < len(untried) else None) for i, n in enumerate(numbers)]
        written = self._storage.create_rows(new, self._worker.owner, course=self._worker.course)
        jobs: list[Job] = []
        for number, got, row in zip(numbers, written, new, strict=True):
            if got == number:
                jobs.append(Job(number=number, run=row.run))
            else:
                self._void(got, number, row.run.label)
        self._take_on(jobs)
        self.position = max([self.position, *(job.number for job in jobs)])
        return jobs

    def _suggest(self, number: int, given: tuple[str, dict[str, float | str]] | None) -> NewRow:
        suggestion = self._advisor.suggest(None if given is None else given[1])
        run = Run(
            hyperparameters=self._definition.hyperparameters(suggestion.params),
            seed=self._seed(number),
            label="search" if given is None else given[0],
        )
        return NewRow(run=run, params=suggestion.params, distributions=suggestion.distributions)

    def _void(self, number: int, wanted: int, label: str) -> None:
        what = "This rung of the ladder" if label == LADDER else f"Baseline {label!r}"
        again = "" if label == "search" else f" {what} is tried under another number."
        reason = f"void, never trained: another row took number {wanted}, for which it was suggested.{again}"
        self._storage.void_row(number, reason)

    def _seed(self, number: int) -> int:
        study = self._definition.study.seed
        return trial_seed(study, number) if self._procedure is Procedure.OWN_SEEDS else shared_seed(study)


def _clocks() -> tuple[float, float]:
    """The time of day, which may be set but goes on while a machine is suspended, and the clock that does not."""
    return time.time(), time.monotonic()
