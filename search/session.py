"""One process's work on one study: search, then confirm, from where a killed process left it."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime

from optuna.trial import TrialState

from search.checkpoint import Course, claimed_course, remove_left_courses
from search.confirmation import ConfirmationSource, RetrainingSource, candidates, choose_winner, rows_to_show
from search.importance import importances
from search.owner import Owner, this_process
from search.place import Place
from search.progress import Progress, leading
from search.records import confirmed_rows, trial_records
from search.stopping import Interrupted, Stopper
from search.storage import FINISHED, Row, StudyStorage
from search.training import Saving, Trainer
from search.trials import TrialSource, has_converged
from search.worker import Worker
from studies.definition import StudyDefinition
from vae.evaluation import Members
from vae.population import Population
from vae.samples import Samples

Sampled = Callable[[Mapping[str, Members]], Samples | None]

_ALIVE_SECONDS = 2.0  # as often as `status --watch` looks
_WAIT_SECONDS = 0.5


class Session:
    """One process's work on one study.

    Args:
        study: in its storage.
        definition: of the study.
        population: that trains; not compiled yet.
        course: that this process follows.
        alone: whether no other process can work on the study now.
        progress: is told what happens.
        stop: whether to stop now.
        stopper: says whether a signal came.
        until_converged: whether the search ends before its budget is met, once more of it no longer pays.
    """

    def __init__(
        self,
        study: StudyStorage,
        definition: StudyDefinition,
        population: Population,
        course: Course,
        *,
        alone: bool,
        progress: Progress,
        stopper: Stopper,
        stop: Callable[[], bool] | None = None,
        until_converged: bool = False,
    ) -> None:
        self._until_converged = until_converged
        self._study = study
        self._definition = definition
        self._population = population
        self._course = course
        self._alone = alone
        self._progress = progress
        self._stopper = stopper
        self._stop: Callable[[], bool] = stop or stopper
        self._owner = this_process()
        self._last_alive = 0.0
        self._compiled = False
        self._worker = Worker(
            owner=self._owner,
            course=course.name,
            is_dead=self._is_dead,
            turn=nullcontext if alone else lambda: study.asking.turn(self._owner, wait=self._wait),
            stranded=lambda number: course.stranded(study.name, number),
            say=progress.say,
        )
        study.say_alive(self._owner, {})

    def _is_dead(self, owner: Owner) -> bool:
        # Who works alone knows that whoever left rows running is gone.
        return self._alone or self._study.is_dead(owner)

    def search(self) -> None:
        """Train trials until the study's budget is met, by this and by other processes.

        Raises:
            Interrupted: asked to stop before.
        """
        if self.is_searched():
            return
        left, budget = self._study.running(), self._definition.study.trials
        if self._study.trials():
            mine = sum(self._worker.may_take(row.owner) for row in left)
            done = f"{self._finished()} of {budget} trials done, {mine} taken up again"
            self._progress.say(f"Going on with {self._study.name}: {done}.")
        self._compile()
        self._progress.begin("trials", done=self._finished(), total=budget)
        source = TrialSource(
            self._study,
            self._definition,
            budget=budget,
            worker=self._worker,
            told=self._progress.ended,
            until_converged=self._until_converged,
        )
        trainer, said = self._trainer(searching=True), False
        while True:
            trainer.train(source, self._saving(self._study.name))
            self._wait(0.0)
            while not source.has_more():
                if self.is_searched():
                    return
                if not said:
                    self._progress.say("Other processes train the last trials; waiting for them.")
                said = True
                self._wait(_WAIT_SECONDS)

    def is_searched(self) -> bool:
        """Whether the study's budget is met, or it has converged and that is enough."""
        return self._finished() >= self._definition.study.trials or (self._until_converged and self._has_converged())

    def _has_converged(self) -> bool:
        trials = self._study.trials()
        running = any(trial.state is TrialState.RUNNING for trial in trials)
        return not running and has_converged(self._definition, trials)

    def _finished(self) -> int:
        return sum(trial.state in FINISHED for trial in self._study.trials())

    def confirm(self, sampled: Sampled) -> None:
        """Train the leading trials and the baselines on fresh seeds, choose the winner, look at the test split.

        One process does that at a time; whoever comes after it finds it done.

        Args:
            sampled: gives the report's pictures of members by label.

        Raises:
            Interrupted: asked to stop before.
        """
        said = False

        def wait(seconds: float) -> None:
            nonlocal said
            if not said:
                self._progress.say("Another process confirms the winner; waiting for it.")
            said = True
            self._wait(max(seconds, _WAIT_SECONDS))

        while True:
            with nullcontext() if self._alone else self._study.confirming.turn(self._owner, wait=wait):
                if self._confirm(sampled):
                    return

    def _confirm(self, sampled: Sampled) -> bool:
        """Confirm; False if that was taken over by another process, for which this one was silent for too long."""
        chosen = candidates(self._definition, trial_records(self._study, self._definition))
        if not chosen:
            self._progress.say("No trial has finished, so there is nothing to confirm.")
            return True
        rows = self._study.confirmation()
        source = ConfirmationSource(
            rows,
            self._definition,
            chosen,
            population=self._population,
            worker=self._worker,
            told=self._progress.ended,
        )
        if source.remaining:
            self._compile()
            total = len(chosen) * self._definition.confirmation.seeds
            self._progress.begin("confirming on fresh seeds", done=total - source.remaining, total=total)
            self._trainer(searching=False).train(source, self._saving(rows.name))
        labels = {candidate.label for candidate in chosen}
        found = [row for row in confirmed_rows(self._study, self._definition) if row.run.label in labels]
        confirmed = [row for row in found if row.state is not TrialState.FAIL]
        if any(row.result is None for row in confirmed):
            return False
        leaders = [candidate.label for candidate in chosen if not candidate.is_baseline]
        winner = choose_winner(self._definition, confirmed, leaders)
        baselines = list(self._definition.baseline_hyperparameters())
        self._score_on_test(rows, source, {winner, *baselines})
        self._study.change_facts(winner=int(winner.removeprefix("trial ")))
        self._keep_samples(rows, source, [winner, *baselines], sampled)
        return True

    def _score_on_test(self, rows: StudyStorage, source: ConfirmationSource, labels: Set[str]) -> None:
        """Measure the confirmed members of these candidates on the test split, those that it has not scored yet."""
        chosen = [row for row in confirmed_rows(self._study, self._definition) if row.run.label in labels]
        unscored = [row for row in chosen if row.result is not None and list(row.result.measures) == ["validation"]]
        if not unscored:
            return
        members = source.members | self._trained_again(
            rows, [row for row in unscored if row.number not in source.members]
        )
        self._note_test_look()
        for first in range(0, len(unscored), self._population.slots):
            group = unscored[first : first + self._population.slots]
            measured = self._population.measure_members([members[row.number] for row in group], "test")
            for row, measures in zip(group, measured, strict=True):
                rows.add_test_measures(row.number, measures)

    def _keep_samples(
        self, rows: StudyStorage, source: ConfirmationSource, labels: Sequence[str], sampled: Sampled
    ) -> None:
        """Keep what one member of each of these candidates makes of a few rows of data, for the report."""
        shown = rows_to_show(confirmed_rows(self._study, self._definition), labels)
        numbers = [row.number for row in shown]
        if not shown or rows.sampled_rows() == tuple(numbers):
            return
        members = source.members | self._trained_again(rows, [row for row in shown if row.number not in source.members])
        rows.replace_samples(sampled({row.run.label: members[row.number] for row in shown}), numbers)

    def _trained_again(self, rows: StudyStorage, forgotten: Sequence[Row]) -> dict[int, Members]:
        """Confirmed members whose weights an earlier process held, by row number."""
        again = RetrainingSource(forgotten, self._population)
        if forgotten:
            self._compile()
            self._progress.say(f"Training {len(forgotten)} confirmed members again, whose weights an earlier run held.")
            self._trainer(searching=False).train(again)
        return again.members

    def _note_test_look(self) -> None:
        """Count a look at the test split, before it is taken: one cut off in between has been taken too."""
        looks = (*self._study.facts.test_looks, datetime.now(UTC).isoformat(timespec="seconds"))
        self._study.change_facts(test_looks=looks)

    def leave(self) -> None:
        """Note what mattered so far, and give up the lease, so that what was left running can be taken up at once."""
        self._study.change_facts(importance=importances(self._study.trials()))
        self._study.say_gone(self._owner)

    def _compile(self) -> None:
        if self._stop():
            raise Interrupted
        if not self._compiled:
            self._progress.say(f"Compiling one program for {self._population.slots} members at a time…")
            with self._stopper.at_once():
                self._population.compile()
            self._compiled = True

    def _saving(self, study: str) -> Saving:
        return Saving(course=self._course, study=study, fingerprint=self._study.facts.fingerprint)

    def _wait(self, seconds: float) -> None:
        """Pass a time in which nothing is trained.

        Raises:
            Interrupted: asked to stop.
        """
        if self._stop():
            raise Interrupted
        time.sleep(seconds)
        self._say_alive({})

    def _say_alive(self, progress: Mapping[int, Mapping[str, float]]) -> None:
        if time.monotonic() - self._last_alive >= _ALIVE_SECONDS:
            self._study.say_alive(self._owner, progress)
            self._last_alive = time.monotonic()

    def _trainer(self, *, searching: bool) -> Trainer:
        """What trains, and tells of the leading trial in the storage."""

        def watch(running: Mapping[int, Mapping[str, float]]) -> None:
            self._progress.watch(running)
            number = leading(running)
            self._say_alive({} if number is None or not searching else {number: running[number]})

        return Trainer(self._population, epochs=self._definition.training.epochs, watch=watch, stop=self._stop)


@contextmanager
def session(
    study: StudyStorage,
    definition: StudyDefinition,
    population: Population,
    place: Place,
    *,
    alone: bool,
    progress: Progress,
    stopper: Stopper,
    stop: Callable[[], bool] | None = None,
    until_converged: bool = False,
) -> Iterator[Session]:
    """A session, from where a killed process left one if there was one; its lease ends with the block."""
    fingerprint = study.facts.fingerprint
    with claimed_course(place.checkpoints, fingerprint, say=progress.say) as course:
        working = Session(
            study,
            definition,
            population,
            course,
            alone=alone,
            progress=progress,
            stopper=stopper,
            stop=stop,
            until_converged=until_converged,
        )
        try:
            yield working
        except (Interrupted, KeyboardInterrupt):
            working.leave()
            raise
        working.leave()
    if working.is_searched():
        remove_left_courses(place.checkpoints, fingerprint)
