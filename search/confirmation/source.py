"""The trainings of a confirmation as a source of jobs."""

from collections.abc import Callable, Mapping, Sequence

from optuna.trial import TrialState

from klsearch.search.storage.rows import Result, Row, Run, one_of_each
from klsearch.search.storage.study import StudyStorage
from klsearch.search.training.checkpoint import Checkpoint
from klsearch.search.training.trainer import Job, UnsharedSource
from klsearch.search.training.worker import Worker
from klsearch.search.trials.judging import finish
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.vae.evaluation.evaluator import Members

# Of whom pictures are kept: more would make the report large.
_MOST_SHOWN = 5


class ConfirmationSource(UnsharedSource):
    """The trainings that a confirmation wants, as a source of jobs; what an earlier process finished is kept.

    No job is taken over: whoever else confirms now trains the same to the same result, of which one counts.
    Members are kept until it is known whom the test split is to score.
    """

    def __init__(
        self,
        rows: StudyStorage,
        definition: StudyDefinition,
        wanted: Sequence[Run],
        *,
        worker: Worker,
        keep: Callable[[Run, Members], None],
        tell: Callable[[None], None],
    ) -> None:
        self._rows = rows
        self._definition = definition
        self._worker = worker
        self._tell = tell
        self._keep = keep
        self._runs: dict[int, Run] = {}
        self._along: frozenset[Run] = frozenset()
        self._left: list[Job] = []
        self._pending: list[Run] = []
        self._want(wanted)
        self.remaining = len(self._left) + len(self._pending)

    def train_along(self, runs: Sequence[Run], slots: int) -> None:
        """Have slots that would idle at the end train these too, as many as that takes; they are not counted nor kept.

        Args:
            runs: what is to be trained if there is room.
            slots: of the population.
        """
        self._along = frozenset(runs)
        self._want(runs, most=-self.remaining % slots)

    def _want(self, runs: Sequence[Run], most: int | None = None) -> None:
        known = {row.run: row for row in one_of_each(self._rows.rows()) if row.state is not TrialState.FAIL}
        missing = [run for run in runs if run not in known or known[run].result is None][:most]
        self._left += [Job(number=known[run].number, run=run) for run in missing if run in known]
        self._pending += [run for run in missing if run not in known]

    def go_on(self, checkpoint: Checkpoint) -> dict[int, Job]:
        """The jobs of a checkpoint that are wanted and not finished."""
        left = {job.number: job for job in self._left}
        jobs = {slot: left[number] for slot, number in checkpoint.numbers.items() if number in left}
        self._left = [job for job in self._left if job not in jobs.values()]
        self._claim(list(jobs.values()))
        return jobs

    def take(self, free: int) -> list[Job]:
        """The rows that were left running, then new ones."""
        left, self._left = self._left[:free], self._left[free:]
        self._claim(left)
        runs, self._pending = self._pending[: free - len(left)], self._pending[free - len(left) :]
        new = [Job(number=self._rows.create_row(run, self._worker.owner), run=run) for run in runs]
        self._runs |= {job.number: job.run for job in new}
        return left + new

    def finish(self, finished: Mapping[int, Result], member: Callable[[int], Members]) -> None:
        """Judge, score and store results, and keep the members."""
        for number, result in finished.items():
            run = self._runs[number]
            is_wanted = run not in self._along
            if result.measures and is_wanted:  # else it diverged
                self._keep(run, member(number))  # before its row is finished, lest a kill in between forgets it
            ended = finish(self._rows, self._definition, number, run.label, result, owner=self._worker.owner)
            if ended is not None and is_wanted:
                self._tell(None)  # the best of many seeds leads nothing

    def _claim(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._rows.take_over(job.number, self._worker.owner, course=self._worker.course)
        self._runs |= {job.number: job.run for job in jobs}


def rows_to_show(rows: Sequence[Row], labels: Sequence[str]) -> list[Row]:
    """A row of each label, all of one seed: the first on which the first label did not diverge; at most five.

    A label that diverged on that seed is left out.
    """
    measured = [row for row in rows if row.result is not None and row.result.measures]
    seed = next((row.run.seed for row in measured if row.run.label == labels[0]), None)
    shown = {row.run.label: row for row in measured if row.run.seed == seed}
    return [shown[label] for label in labels if label in shown][:_MOST_SHOWN]
