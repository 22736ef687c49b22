"""One process's work on one study: search, then confirm, from where a killed process left it."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from optuna.exceptions import StorageInternalError

from klsearch.search.confirmation.confirmer import ConfirmationTools, Confirmer
from klsearch.search.confirmation.kept_members import KeptMembers
from klsearch.search.layout import Layout
from klsearch.search.stopping import Interrupted, Stopper
from klsearch.search.storage.place import Place
from klsearch.search.storage.process import Owner, this_process
from klsearch.search.terminal.forecast import Forecast, Stage
from klsearch.search.terminal.progress import EndedTraining, Progress, banded, leading_training
from klsearch.search.training.assignment import Assignment
from klsearch.search.training.checkpoint import Course, claim_course, remove_left_courses
from klsearch.search.training.device_faults import MEMORY_ENDED, make_room
from klsearch.search.training.trainer import Saving, Source, Trainer
from klsearch.search.training.worker import Worker
from klsearch.search.trials.decider import Decider
from klsearch.search.trials.judging import best_so_far
from klsearch.search.trials.source import TrialSource
from klsearch.studies.response import Decision
from klsearch.studies.verdict.words import count
from klsearch.vae.training.population import Population

_ALIVE_SECONDS = 2.0  # as often as `status --watch` looks
_WAIT_SECONDS = 0.5
_WAITING = "Other processes train the last trials; waiting for them."
_WAITING_TO_ASK = "Other processes train all trials that may be in training at a time; waiting for them to end."


class Session:
    """One process's work on one study.

    Args:
        assignment: the study, with the population that trains.
        course: that this process follows.
        members_folder: where confirmed members wait for the test split.
        progress: is told what happens.
        stopper: says whether a signal came.
        stop: whether to stop now; None to ask `stopper`.
        ahead: what follows the search, for the time left.
    """

    def __init__(
        self,
        assignment: Assignment,
        course: Course,
        members_folder: Path,
        *,
        progress: Progress,
        stopper: Stopper,
        stop: Callable[[], bool] | None = None,
        ahead: Sequence[Stage] = (),
    ) -> None:
        self._assignment = assignment
        self._study = study = assignment.study
        self._definition = assignment.definition
        self._population = assignment.population
        self._lag, self._full_layout = study.facts.lag, study.facts.layout
        self._layout = self._full_layout
        self._decider = Decider(study, assignment.definition, is_dead=self._is_dead)
        self._course = course
        self._members_folder = members_folder
        self._progress = progress
        self._stopper = stopper
        self._stop: Callable[[], bool] = stop or stopper
        self._ahead = ahead
        self._is_searching = False
        self._done = 0  # trials that had finished, and those that this process has since
        self._owner = this_process()
        self._last_alive = 0.0
        self._forecast = Forecast(assignment.definition.training.epochs)
        self._worker = Worker(
            owner=self._owner,
            course=course.name,
            is_dead=self._is_dead,
            turn=nullcontext if assignment.alone else lambda: study.asking.turn(self._owner, wait=self._wait),
            find_stranded=lambda number: course.find_stranded(study.name, number),
            say=progress.say,
        )
        study.leases.say_alive(self._owner, {})

    def _is_dead(self, owner: Owner) -> bool:
        # Who works alone knows that whoever left rows running is gone.
        return self._assignment.alone or self._study.leases.is_dead(owner)

    def search(self) -> None:
        """Train trials until the study's budget is met, by this and by other processes.

        Raises:
            Interrupted: asked to stop before.
        """
        if self.is_searched():
            return
        left, budget = self._study.running_rows(), self._definition.study.trials
        if left or self._count_finished():
            mine = sum(self._worker.may_take(row.owner) for row in left)
            state = f"{self._count_finished()} of {budget} trials done, {mine} taken up again"
            self._progress.say(f"Going on with {self._study.name}: {state}.")
        self._is_searching = True
        self._renew_lease({})  # others leave it a share from now on
        self._lay_out(self._wanted_layout())
        self._compile(self._population)
        best, done = best_so_far(self._definition, self._study), self._count_finished()
        unit = self._definition.thresholds().kl_unit
        self._progress.begin("trials", done=done, total=budget, best=best, kl_unit=unit)
        self._begin_forecast(done)
        source = TrialSource(
            self._study,
            self._definition,
            budget=budget,
            worker=self._worker,
            tell=self._tell_trial,
            decider=self._decider,
            is_emptying=lambda: self._wanted_layout() != self._layout,
        )
        trainer, said = self._trainer(self._population, searching=True), False
        while True:
            if (layout := self._wanted_layout()) != self._layout:
                others = self._study.leases.count_searching() - 1
                words = f"with {count(others, 'other worker')}" if others > 0 else "alone"
                self._progress.say(f"From now on this worker searches {words}.")
                self._lay_out(layout)
                self._compile(self._population)
                self._begin_forecast(self._count_finished())
            trainer.train(source, self._saving(self._study.name))
            self._wait(0.0)
            while not source.has_more():
                if self.is_searched():
                    return
                if not said:
                    self._progress.say(_WAITING_TO_ASK if source.has_room() else _WAITING)
                said = True
                self._wait(_WAIT_SECONDS)

    def _wanted_layout(self) -> Layout:
        """The layout for this worker's share of the trials that may be in training at a time.

        The one that it has, where too little is left to compile another program for.
        """
        if self._assignment.alone or not self._lag:  # a course without lag follows from how many train at a time
            return self._layout
        if self._population.traces():
            stays = not self._forecast.outlasts_compiling()
        else:
            stays = self._course.is_under_way()  # the members of its checkpoint go into the slots that they were in
        if stays:
            return self._layout
        return self._full_layout.filled_by(-(-self._lag // max(1, self._study.leases.count_searching())))

    def _lay_out(self, layout: Layout) -> None:
        """Lay the slots, which are empty, out anew if they are others."""
        if layout != self._layout:
            self._population.resize(layout.slots, layout.together)
            self._layout = layout

    def _begin_forecast(self, done: int) -> None:
        self._done = done
        slots = self._population.slots
        self._forecast.begin(Stage(trainings=self._expect_mine(done), slots=slots), self._ahead)

    def _expect_mine(self, done: int) -> int:
        """How many trials this worker will train of those that are still to come, with so many finished."""
        left = self._decider.expect(done) - done
        return left if self._assignment.alone else -(-left // max(1, self._study.leases.count_searching()))

    def _tell_trial(self, ended: EndedTraining) -> None:
        self._progress.count(ended)
        self._forecast.count()
        self._done += 1
        if self._assignment.alone:
            self._forecast.expect(self._decider.expect(self._done) - self._done)

    def is_searched(self) -> bool:
        """Tell whether the study's budget is met, or the search is decided and that is enough."""
        if self._count_finished() >= self._definition.study.trials:
            return True
        return self._decider.is_over()

    def decide(self) -> Decision | None:
        """What is known of the best setting; None while there are too few trials to say."""
        return self._decider.decide()

    def _count_finished(self) -> int:
        return len(self._study.counted_numbers())

    def confirm(self, tools: ConfirmationTools) -> None:
        """Train the leading trials and the baselines on fresh seeds, choose the winner, look at the test split.

        One process does that at a time; whoever comes after it finds it done.

        Args:
            tools: what that takes besides the population that searched.

        Raises:
            Interrupted: asked to stop before.
        """
        said = self._is_searching = False
        self._renew_lease({})  # those that search on need leave it no share
        self._lay_out(self._full_layout)

        def wait(seconds: float) -> None:
            nonlocal said
            if not said:
                self._progress.say("Another process confirms the winner; waiting for it.")
            said = True
            self._wait(max(seconds, _WAIT_SECONDS))

        while True:
            with nullcontext() if self._assignment.alone else self._study.confirming.turn(self._owner, wait=wait):
                if self._confirmer(tools).confirm():
                    return

    def _confirmer(self, tools: ConfirmationTools) -> Confirmer:
        return Confirmer(
            self._assignment,
            tools,
            KeptMembers(self._members_folder, self._study.facts.fingerprint, say=self._progress.say),
            worker=self._worker,
            progress=self._progress,
            forecast=self._forecast,
            train=self._train_confirmed,
            pause=lambda: self._wait(0.0),
        )

    def _train_confirmed(self, population: Population, source: Source) -> None:
        self._compile(population)
        self._forecast.start()
        saving = self._saving(self._study.confirmation().name)
        self._trainer(population, searching=False).train(source, saving)

    def leave(self) -> None:
        """Give up the lease, so that what was left running can be taken up at once."""
        self._study.leases.say_gone(self._owner)

    def _compile(self, population: Population) -> None:
        if self._stop():
            raise Interrupted
        if not population.traces():
            self._progress.say(f"Compiling the training program, for {count(population.slots, 'trial')} at a time…")
            began = time.monotonic()
            with self._stopper.interrupt_at_once():
                while not _compiles(population):
                    make_room(population, say=self._progress.say)
            self._forecast.compiled(time.monotonic() - began)

    def _saving(self, study: str) -> Saving:
        return Saving(course=self._course, study=study)

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
            self._renew_lease(progress)
            if self._is_searching and not self._assignment.alone:  # others train of the same budget
                self._forecast.expect(self._expect_mine(self._count_finished()))

    def _renew_lease(self, progress: Mapping[int, Mapping[str, float]]) -> None:
        left = self._forecast.left() if self._ahead else None  # one that does not know what follows is silent
        self._study.leases.say_alive(self._owner, progress, left=left, searches=self._is_searching)
        self._last_alive = time.monotonic()

    def _trainer(self, population: Population, *, searching: bool) -> Trainer:
        """A trainer that tells the storage of the leading trial."""

        def watch(running: Mapping[int, Mapping[str, float]]) -> None:
            self._forecast.watch(running)
            self._progress.watch(banded(running, self._definition), self._forecast.left())
            number = leading_training(running)
            self._say_alive({} if number is None or not searching else {number: running[number]})

        epochs, say = self._definition.training.epochs, self._progress.say
        return Trainer(population, epochs=epochs, watch=watch, stop=self._stop, say=say)


def _compiles(population: Population) -> bool:
    """Compile a population's program; False where memory is too small for it."""
    try:
        population.compile()
    except MEMORY_ENDED:
        return False
    return True


@contextmanager
def open_session(
    assignment: Assignment,
    place: Place,
    *,
    progress: Progress,
    stopper: Stopper,
    stop: Callable[[], bool] | None = None,
    ahead: Sequence[Stage] = (),
) -> Iterator[Session]:
    """A session, from where a killed process left one if there was one; its lease ends with the block."""
    fingerprint = assignment.study.facts.fingerprint
    with claim_course(place.checkpoints, fingerprint, say=progress.say) as course:
        session = Session(
            assignment, course, place.kept_members, progress=progress, stopper=stopper, stop=stop, ahead=ahead
        )
        try:
            yield session
        except StorageInternalError:
            raise  # it was waited for long enough
        except BaseException:
            session.leave()  # this process may live on, and others would wait for what it left running
            raise
        session.leave()
    if session.is_searched():
        remove_left_courses(place.checkpoints, fingerprint)
