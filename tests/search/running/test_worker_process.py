"""The process of a started worker, in this process and in one of its own."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from klsearch.search.running.worker_process import Failure, Task, work
from klsearch.search.storage.place import Place
from klsearch.search.storage.process import Owner, this_process
from klsearch.search.storage.rows import Result, Run
from klsearch.search.storage.study import StudyStorage
from klsearch.vae.hyperparameters import BEFORE

if TYPE_CHECKING:
    pass

DEAD, ELSEWHERE = replace(this_process(), started="1"), replace(this_process(), host="elsewhere")
RUN = Run(hyperparameters=BEFORE, seed=5, label="search")


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """A task on the study that the test has made."""
    place = Place(folder=tmp_path / "run", url=f"journal:///{tmp_path / 'journal'}", name="tiny", embedded=False)
    return Task(place=place, starter=this_process(), threads=1, within=1)


def test_a_worker_has_nothing_to_do_where_the_budget_is_met(
    study: StudyStorage, task: Task, make_result: Callable[..., Result]
) -> None:
    study.replace_definition(study.definition.replace("trials = 24", "trials = 1"))
    study.finish_row(
        study.create_row(RUN, this_process()), make_result([1.0]), owner=this_process(), score=0.2, constraints={}
    )
    assert work(task) is None
    assert len(study.rows()) == 1


@pytest.mark.parametrize("starter", [DEAD, ELSEWHERE])
def test_a_worker_whose_starter_is_gone_asks_for_no_trial_and_leaves(
    study: StudyStorage, task: Task, starter: Owner
) -> None:
    """One was killed, the other said so."""
    study.leases.say_gone(ELSEWHERE)
    assert work(replace(task, starter=starter)) is None
    assert study.rows() == []
    assert not study.leases.is_worked_on(), "its lease has ended with it"


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (
            lambda facts: {"scoring": {"measures": 1, "score": 0}},
            "the klsearch here scores trials otherwise than where",
        ),
        (lambda facts: {"data": replace(facts.data, fingerprint="x")}, "rows.csv holds other rows here"),
        (lambda facts: {"folder": "/nowhere"}, "/nowhere/rows.csv"),
    ],
)
def test_a_worker_that_would_train_something_else_fails_with_the_reason(
    study: StudyStorage, task: Task, facts: Callable[[Any], dict[str, Any]], reason: str
) -> None:
    study.change_facts(**facts(study.facts))
    failure = work(task)
    assert failure is not None
    assert reason in failure.reason
    assert failure.exit_code in (1, 2)
    assert study.rows() == []


def test_a_study_that_is_not_there_is_a_failure_of_the_storage(study: StudyStorage, task: Task) -> None:
    failure = work(replace(task, place=replace(task.place, name="other")))
    assert failure == Failure(reason="the storage holds no study 'other'; it holds: tiny.", exit_code=4)


def test_an_error_that_nobody_foresaw_is_one_line_with_its_kind(study: StudyStorage, task: Task) -> None:
    """The log of a cluster would show the whole call otherwise."""
    task.place.folder.write_text("where the checkpoints' folder is to be")
    failure = work(task)
    assert failure is not None
    assert failure.reason.startswith("NotADirectoryError: ")
    assert "\n" not in failure.reason
    assert failure.exit_code == 1


WORK_HERE = """
import sys
from pathlib import Path
from klsearch.search.running.worker_process import Task, work_here
from klsearch.search.storage.place import Place
from klsearch.search.storage.process import Owner, this_process
place = Place(folder=Path("run"), url="journal:////nowhere/journal", name="tiny", embedded=False)
here = this_process()
dead = Owner(host=here.host, boot=here.boot, process=here.process, started="1")
for starter in (here, dead):
    failure = work_here(Task(place=place, starter=starter, threads=1, within=1))
    print(failure.reason, flush=True)
"""


@pytest.mark.slow("loads TensorFlow in a process")
def test_a_pool_s_process_does_not_outlive_its_starter(environment: dict[str, str]) -> None:
    """The pool would keep it for its next task."""
    called = subprocess.run([sys.executable, "-c", WORK_HERE], capture_output=True, text=True, env=environment)
    assert (called.returncode, called.stderr) == (1, "")
    assert called.stdout == "there is no storage /nowhere/journal.\n", "the second is told to nobody"
