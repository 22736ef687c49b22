"""The loop that keeps a population's slots filled, from checkpoint to checkpoint."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from optuna.trial import TrialState

from klsearch.search.stopping import Interrupted
from klsearch.search.storage.process import this_process
from klsearch.search.storage.rows import Result, Row, Run
from klsearch.search.storage.study import StudyStorage
from klsearch.search.training.checkpoint import (
    Checkpoint,
    Course,
)
from klsearch.search.training.retraining import RetrainingSource
from klsearch.search.training.trainer import Job, Saving, Source, Trainer, job_again
from klsearch.search.training.worker import Worker
from klsearch.search.trials.decider import Decider
from klsearch.search.trials.source import TrialSource
from klsearch.vae.diagnostics.curves import TrainingCurves
from klsearch.vae.evaluation.evaluator import Members
from klsearch.vae.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from tests.search.conftest import Leave, Workshop

Outcomes = Callable[[Iterable[Row]], list[dict[str, Any]]]


DEAD = replace(this_process(), started="1")


BROKEN = Run(hyperparameters=Hyperparameters(kl_weight=0.5, learning_rate=1e30), seed=5, label="search")


BUDGET = 14


class Chosen(Course):
    """A course that is saved at the times that a test chooses, counted from 0, and not by the clock."""

    def __init__(self, folder: Path, times: Collection[int], name: str = "course") -> None:
        super().__init__(folder, name, "f", say=pytest.fail)
        self._times = times
        self._asked = -1

    def is_due(self, *, between_epochs: bool) -> bool:
        self._asked += 1
        return self._asked in self._times


@pytest.fixture(scope="module")
def uninterrupted(leave: "Leave") -> list[dict[str, Any]]:
    """What the trials of an uninterrupted study leave, whose slots end and are filled at different times."""
    return leave(BUDGET, begin)


def begin(study: StudyStorage) -> None:
    """Two trials that will diverge, and leave their slots while the others train."""
    study.create_row(BROKEN, DEAD, course="course")
    study.create_row(replace(BROKEN, seed=6), DEAD, course="course")


@pytest.mark.parametrize(
    ("saved_at", "killed_after"),
    [([0], 2), ([0], 14), ([0, 1], 5), ([0, 5], 13), ([0, 12], 13), ([0, 13], 14), ([0, 14], 30), ([0, 25], 25)],
)
@pytest.mark.slow("searches a study twice")
def test_a_study_that_was_killed_goes_on_as_if_nothing_had_happened(
    workshop: "Workshop",
    study: StudyStorage,
    uninterrupted: list[dict[str, Any]],
    outcomes: Outcomes,
    tmp_path: Path,
    saved_at: list[int],
    killed_after: int,
) -> None:
    begin(study)
    saving = Saving(course=Chosen(tmp_path, saved_at), study="tiny")
    workshop.search(study, BUDGET, owner=DEAD, epochs=killed_after, saving=saving, killed=True)
    before = [row.number for row in study.rows() if row.state is TrialState.COMPLETE]
    saving = replace(saving, course=Chosen(tmp_path, []))
    ended = workshop.search(study, BUDGET, saving=saving)
    assert outcomes(study.rows()) == uninterrupted
    assert len(ended) == BUDGET - len(before), "what was finished is not told again"
    assert list(tmp_path.glob("*.npz")) == [], "its course is over"


def test_whoever_is_asked_to_stop_saves_first_and_nothing_is_trained_twice(
    workshop: "Workshop",
    study: StudyStorage,
    uninterrupted: list[dict[str, Any]],
    outcomes: Outcomes,
    tmp_path: Path,
) -> None:
    begin(study)
    saving = Saving(course=Chosen(tmp_path, []), study="tiny")
    workshop.search(study, BUDGET, owner=DEAD, epochs=17, saving=saving)
    saved = Checkpoint.read(tmp_path / "course.npz")
    assert sorted(saved.numbers.values()) == [row.number for row in study.running_rows()]
    workshop.search(study, BUDGET, saving=replace(saving, course=Chosen(tmp_path, [])))
    assert outcomes(study.rows()) == uninterrupted


class CutOff(TrialSource):
    """A source that is interrupted while it takes jobs, after it has written so many new rows or at its very end."""

    def __init__(self, *arguments: Any, after_rows: int | None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._after_rows = after_rows

    def take(self, free: int) -> list[Job]:
        """As ever, but interrupted on the way out, as where the storage is waited for."""
        jobs = super().take(free)
        if jobs and self._after_rows is None:
            raise Interrupted
        return jobs

    def _ask(self, wanted: int, *arguments: Any) -> list[Job]:
        if self._after_rows is not None and wanted > self._after_rows:
            super()._ask(self._after_rows, *arguments)  # as where rows are written one by one
            raise Interrupted
        if self._after_rows is not None:
            self._after_rows -= wanted
        return super()._ask(wanted, *arguments)


@pytest.mark.parametrize(
    ("saved_at", "killed_after", "after_rows"),
    [([0], 14, None), ([0, 1], 13, None), ([0, 5], 25, None), ([0, 14], 30, None), ([0, 14], 30, 1)],
)
@pytest.mark.slow("searches a study twice")
def test_a_study_interrupted_while_it_takes_jobs_is_the_uninterrupted_one_once_resumed(
    workshop: "Workshop",
    study: StudyStorage,
    uninterrupted: list[dict[str, Any]],
    outcomes: Outcomes,
    tmp_path: Path,
    saved_at: list[int],
    killed_after: int,
    after_rows: int | None,
) -> None:
    begin(study)
    saving = Saving(course=Chosen(tmp_path, saved_at), study="tiny")
    workshop.search(study, BUDGET, owner=DEAD, epochs=killed_after, saving=saving, killed=True)
    saving = replace(saving, course=Chosen(tmp_path, []))
    worker = Worker(owner=replace(DEAD, started="2"), course="course")
    source = CutOff(
        study,
        workshop.definition,
        budget=BUDGET,
        worker=worker,
        tell=lambda ended: None,
        decider=Decider(study, workshop.definition),
        after_rows=after_rows,
    )
    workshop.train(source, saving=saving)
    workshop.search(study, BUDGET, saving=replace(saving, course=Chosen(tmp_path, [])))
    assert outcomes(study.rows()) == uninterrupted


@pytest.mark.slow("searches a study in 13 runs")
def test_killed_again_and_again_a_study_is_still_the_uninterrupted_one(
    workshop: "Workshop",
    study: StudyStorage,
    uninterrupted: list[dict[str, Any]],
    outcomes: Outcomes,
    tmp_path: Path,
) -> None:
    begin(study)
    rng = np.random.default_rng(0)
    for life in range(12):
        saving = Saving(course=Chosen(tmp_path, range(0, 100, 3)), study="tiny")
        owner = replace(this_process(), started=f"life {life}")
        workshop.search(study, BUDGET, owner=owner, epochs=int(rng.integers(0, 9)), saving=saving, killed=True)
    workshop.search(study, BUDGET, saving=Saving(course=Chosen(tmp_path, []), study="tiny"))
    assert outcomes(study.rows()) == uninterrupted


@pytest.mark.slow("searches for some epochs")
def test_what_a_course_took_after_its_checkpoint_is_taken_again_while_its_slots_empty_unless_another_took_it_over(
    workshop: "Workshop", study: StudyStorage, tmp_path: Path
) -> None:
    course = Chosen(tmp_path, [0])  # before any slot was filled
    workshop.search(study, 12, owner=DEAD, epochs=3, saving=Saving(course=course, study="tiny"), killed=True)
    worker = Worker(owner=this_process(), course="course", is_dead=lambda owner: owner == DEAD)
    decider = Decider(study, workshop.definition)
    source = TrialSource(
        study,
        workshop.definition,
        budget=12,
        worker=worker,
        tell=print,
        decider=decider,
        is_emptying=lambda: True,
    )
    assert source.go_on(Checkpoint.read(tmp_path / "course.npz")) == {}
    assert study.take_over(2, replace(DEAD, started="2"), course="other")
    assert [job.number for job in source.take(4)] == [0, 1, 3]
    assert source.take(1) == []


def test_a_smaller_budget_takes_up_no_more_than_it_allows(
    workshop: "Workshop", study: StudyStorage, tmp_path: Path
) -> None:
    saving = Saving(course=Chosen(tmp_path, [0, 14]), study="tiny")
    workshop.search(study, 12, owner=DEAD, epochs=16, saving=saving, killed=True)
    assert len(study.running_rows()) == 4
    workshop.search(study, 6, saving=replace(saving, course=Chosen(tmp_path, [])))
    assert sum(row.state is TrialState.COMPLETE for row in study.rows()) == 6


def test_another_worker_goes_on_where_a_dead_one_s_checkpoint_stands(
    workshop: "Workshop",
    study: StudyStorage,
    uninterrupted: list[dict[str, Any]],
    outcomes: Outcomes,
    tmp_path: Path,
) -> None:
    dead = Saving(course=Chosen(tmp_path, [0, 9], "dead"), study="tiny")
    for one in uninterrupted[2:5]:
        study.create_row(one["run"], DEAD, course="dead")
    workshop.search(study, 3, owner=DEAD, epochs=10, saving=dead, killed=True)
    living = Chosen(tmp_path, [], "living")
    epochs: list[float] = []
    workshop.search(
        study,
        3,
        saving=Saving(course=living, study="tiny"),
        find_stranded=lambda number: living.find_stranded("tiny", number),
        watch=lambda running: epochs.append(max(values["epoch"] for values in running.values())),
    )
    assert epochs == [10, 11, 12], "nine epochs were trained before"
    assert outcomes(study.rows()) == uninterrupted[2:5]
    assert {row.course for row in study.rows()} == {"living"}


class Listed(Source):
    """A source of given jobs, which ends some early or gives some up when a test says so.

    Attributes:
        asked: how many jobs were asked for, each time.
        finished: numbers, in the order in which they were told.
        lost: numbers of jobs that another worker has taken over.
        hopeless: the epoch at which a job need not be trained any further, by number.
    """

    def __init__(self, *jobs: Job) -> None:
        self._jobs = list(jobs)
        self.asked: list[int] = []
        self.finished: dict[int, Result] = {}
        self.members: dict[int, Members] = {}
        self.lost: set[int] = set()
        self.hopeless: dict[int, int] = {}

    def go_on(self, checkpoint: Checkpoint) -> dict[int, Job]:
        raise AssertionError("no checkpoint is kept")

    def take(self, free: int) -> list[Job]:
        self.asked.append(free)
        jobs, self._jobs = self._jobs[:free], self._jobs[free:]
        return jobs

    def find_lost(self) -> set[int]:
        return self.lost

    def find_hopeless(self, epochs: Mapping[int, int], curves: Callable[[int], TrainingCurves]) -> set[int]:
        assert all(curves(number).epochs == epoch for number, epoch in epochs.items())
        return {number for number, epoch in epochs.items() if epoch >= self.hopeless.get(number, 1000)}

    def finish(self, finished: Mapping[int, Result], member: Callable[[int], Members]) -> None:
        self.finished.update(finished)
        self.members.update({number: member(number) for number in finished})


def job_of(number: int, *, epochs: int | None = None, **settings: float) -> Job:
    """A job on a seed of its own."""
    hyperparameters = Hyperparameters(**{"kl_weight": 0.1, "learning_rate": 1e-2, **settings})  # type: ignore[arg-type]
    return Job(number=number, run=Run(hyperparameters=hyperparameters, seed=number, label="search"), epochs=epochs)


def epochs_of(source: Listed) -> list[tuple[int, int]]:
    return [(number, result.curves.epochs) for number, result in source.finished.items()]


def test_slots_are_filled_as_soon_as_they_are_free_and_what_ends_together_is_told_by_number(
    workshop: "Workshop",
) -> None:
    """Four slots, and trainings of 12 epochs unless a job was shorter when it was trained before."""
    source = Listed(job_of(9, epochs=2), job_of(7, epochs=2), job_of(8), job_of(3), job_of(4, epochs=1), job_of(5))
    workshop.train(source)
    assert epochs_of(source) == [(7, 2), (9, 2), (4, 1), (3, 12), (8, 12), (5, 12)]
    # Four at first and two after epoch 2; then after every epoch one, from epoch 12 on three, and four after epoch 14.
    assert source.asked == [4, 2, *[1] * 9, *[3] * 2, 4]


class Stuck(Chosen):
    """A course on a disk that became read-only: its checkpoint cannot be removed."""

    def clear(self) -> None:
        pass


def test_a_checkpoint_that_cannot_be_removed_is_not_gone_on_from_once_its_jobs_have_ended(
    workshop: "Workshop", tmp_path: Path
) -> None:
    saving = Saving(course=Stuck(tmp_path, [3]), study="tiny")
    trainer = Trainer(workshop.population, epochs=4, watch=lambda running: None, stop=lambda: False)
    first, second = Listed(job_of(1), job_of(2)), Listed(job_of(3))
    trainer.train(first, saving)
    assert (tmp_path / "course.npz").exists()
    trainer.train(second, saving)
    assert (epochs_of(first), epochs_of(second)) == ([(1, 4), (2, 4)], [(3, 4)])


def test_the_member_of_a_finished_job_is_its_own_and_no_neighbour_s(workshop: "Workshop") -> None:
    source = Listed(job_of(3), job_of(2, epochs=5), job_of(1))
    workshop.train(source)
    measured = workshop.population.measure_members([source.members[number] for number in source.finished], "validation")
    told = [result.measures["validation"].elbo for result in source.finished.values()]
    assert [measures.elbo for measures in measured] == told
    assert len(set(told)) == 3


def test_a_job_that_another_worker_has_taken_over_is_dropped_and_its_slot_is_filled_again(
    workshop: "Workshop",
) -> None:
    source = Listed(job_of(1), job_of(2), job_of(3), job_of(4), job_of(5, epochs=1))
    source.lost = {2}
    workshop.train(source)
    assert epochs_of(source) == [(5, 1), (1, 12), (3, 12), (4, 12)]


def test_a_hopeless_job_is_finished_as_it_is_with_its_measures(workshop: "Workshop") -> None:
    source = Listed(job_of(1), job_of(2))
    source.hopeless = {1: 4}
    workshop.train(source)
    assert epochs_of(source) == [(1, 4), (2, 12)]
    assert np.isfinite(source.finished[1].measures["validation"].unexplained)


def test_a_job_that_diverges_leaves_at_once_without_measures(workshop: "Workshop") -> None:
    source = Listed(job_of(1, learning_rate=1e30), job_of(2))
    workshop.train(source)
    (diverged, epochs), whole = epochs_of(source)
    assert (diverged, whole) == (1, (2, 12))
    assert epochs < 12
    assert source.finished[1].curves.diverged
    assert source.finished[1].measures == {}


def test_whoever_watches_sees_every_running_job_with_its_epoch_by_number(workshop: "Workshop") -> None:
    seen: list[list[tuple[int, float, float]]] = []
    workshop.train(
        Listed(job_of(8, epochs=2), job_of(3)),
        watch=lambda running: seen.append(
            [(number, values["epoch"], values["epochs"]) for number, values in running.items()]
        ),
    )
    assert seen[:3] == [[(3, 1, 12), (8, 1, 12)], [(3, 2, 12), (8, 2, 12)], [(3, 3, 12)]]
    assert seen[-1] == [(3, 12, 12)]


def test_a_source_without_jobs_trains_nothing(workshop: "Workshop") -> None:
    source = Listed()
    workshop.train(source, watch=lambda running: pytest.fail("nothing runs"))
    assert (source.asked, source.finished) == ([4], {})


def test_jobs_that_no_other_worker_takes_over_are_never_lost_nor_hopeless() -> None:
    source = RetrainingSource([], keep=lambda run, member: None, tell=lambda ended: None)
    assert source.find_lost() == set()
    assert source.find_hopeless({1: 3}, lambda number: pytest.fail("no curve is looked at")) == set()


def test_a_finished_row_is_trained_once_more_for_as_long_as_it_was(
    study: StudyStorage, make_result: Callable[..., Result]
) -> None:
    number = study.create_row(BROKEN, this_process())
    assert job_again(study.row(number)) == Job(number=number, run=BROKEN, epochs=None)
    study.finish_row(number, make_result([1.0] * 7), owner=this_process(), score=0.2, constraints={})
    assert job_again(study.row(number)) == Job(number=number, run=BROKEN, epochs=7)
