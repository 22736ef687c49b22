"""The loop that keeps a population's slots filled, from checkpoint to checkpoint."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from optuna.trial import TrialState

from klsearch.search.stopping import Interrupted
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.process import this_process
from klsearch.search.storage.rows import Row, Run
from klsearch.search.storage.study import StudyStorage
from klsearch.search.training.checkpoint import (
    Checkpoint,
    Course,
)
from klsearch.search.training.trainer import Job, Saving
from klsearch.search.training.worker import Worker
from klsearch.search.trials.source import TrialSource
from klsearch.vae.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from tests.search.conftest import Workshop

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
def uninterrupted(
    workshop: "Workshop", outcomes: Outcomes, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """What the trials of an uninterrupted study leave, whose slots end and are filled at different times."""
    with open_storage(f"journal:///{tmp_path_factory.mktemp('uninterrupted') / 'journal'}", create=True) as storage:
        study = workshop.new_study(storage)
        begin(study)
        workshop.search(study, BUDGET)
        return outcomes(study.rows())


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

    def _ask_for(self, number: int, given: tuple[str, dict[str, float]] | None) -> Job | None:
        if self._after_rows == 0:
            raise Interrupted
        if self._after_rows is not None:
            self._after_rows -= 1
        return super()._ask_for(number, given)


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
        study, workshop.definition, budget=BUDGET, worker=worker, tell=lambda ended: None, after_rows=after_rows
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
