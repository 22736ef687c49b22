"""One process's work on one study."""

import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from optuna.trial import TrialState

from klsearch.search.confirmation.confirmer import ConfirmationTools
from klsearch.search.running.session import open_session
from klsearch.search.stopping import Interrupted, Stopper
from klsearch.search.storage.place import Place
from klsearch.search.storage.process import Owner, this_process
from klsearch.search.storage.rows import Result, Row, Run
from klsearch.search.storage.study import StudyStorage
from klsearch.search.terminal.progress import Silence
from klsearch.search.training.assignment import Assignment
from klsearch.search.training.models import build_network, build_population
from klsearch.vae.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from tests.search.conftest import Leave, Told, Workshop

Outcomes = Callable[[Iterable[Row]], list[dict[str, Any]]]
Other = tuple[Owner, "subprocess.Popen[str]"]
DEAD = replace(this_process(), started="1")
RUN = Run(hyperparameters=Hyperparameters(kl_weight=0.1, learning_rate=1e-2), seed=5, label="search")


def test_a_process_that_fails_leaves_its_study_to_others(
    workshop: "Workshop", study: StudyStorage, tmp_path: Path
) -> None:
    """A worker of a pool lives on after an error, and others would wait for what it left running."""
    place = Place(folder=tmp_path, url="", name="tiny", embedded=False)
    assignment = Assignment(study=study, definition=workshop.definition, population=workshop.population, alone=False)
    with (
        pytest.raises(ValueError, match="out of memory"),
        open_session(assignment, place, progress=Silence(), stopper=Stopper()),
    ):
        assert study.leases.is_worked_on()
        raise ValueError("out of memory")
    assert not study.leases.is_worked_on()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(folder=tmp_path, url="", name="tiny", embedded=False)


def assignment_of(workshop: "Workshop", study: StudyStorage, *, trials: int, alone: bool = False) -> Assignment:
    """The small study with so many trials to train."""
    budget = workshop.definition.study.model_copy(update={"trials": trials})
    definition = workshop.definition.model_copy(update={"study": budget})
    return Assignment(study=study, definition=definition, population=workshop.population, alone=alone)


def add_trial(study: StudyStorage, left: Result) -> None:
    study.finish_row(study.create_row(RUN, this_process()), left, owner=this_process(), score=0.2, constraints={})


def test_a_study_whose_budget_is_met_is_not_searched_any_further(
    workshop: "Workshop", study: StudyStorage, place: Place, told: "Told", make_result: Callable[..., Result]
) -> None:
    add_trial(study, make_result([1.0]))
    assignment = assignment_of(workshop, study, trials=1)
    with open_session(assignment, place, progress=told, stopper=Stopper()) as session:
        assert session.is_searched()
        session.search()
    assert (told.lines, told.phases, len(study.rows())) == ([], [], 1)


def test_nothing_is_left_of_the_courses_of_a_study_that_is_searched_and_all_of_one_that_is_not(
    workshop: "Workshop", study: StudyStorage, place: Place, make_result: Callable[..., Result]
) -> None:
    place.checkpoints.mkdir()
    (place.checkpoints / "killed.lock").touch()
    add_trial(study, make_result([1.0]))
    for trials, left in ((2, True), (1, False)):
        with open_session(
            assignment_of(workshop, study, trials=trials), place, progress=Silence(), stopper=Stopper()
        ) as session:
            assert session.is_searched() is not left
        assert (place.checkpoints / "killed.lock").exists() is left


@pytest.mark.parametrize(("alone", "taken"), [(False, 1), (True, 2)])
def test_what_is_taken_up_again_is_what_nobody_else_trains(
    workshop: "Workshop", study: StudyStorage, place: Place, told: "Told", other: Other, alone: bool, taken: int
) -> None:
    """Whoever works alone in a run folder knows that all others are gone."""
    study.create_row(RUN, DEAD)
    study.create_row(RUN, other[0])
    assignment = assignment_of(workshop, study, trials=24, alone=alone)
    with pytest.raises(Interrupted), open_session(assignment, place, progress=told, stopper=Stopper(0.0)) as session:
        session.search()
    assert told.lines == [f"Going on with tiny: 0 of 24 trials done, {taken} taken up again."]


class Chances:
    """Says to stop once a condition holds; a test that hangs fails instead."""

    def __init__(self, is_over: Callable[[], bool]) -> None:
        self._is_over = is_over
        self._deadline = time.monotonic() + 60

    def __call__(self) -> bool:
        assert time.monotonic() < self._deadline
        return self._is_over()


@pytest.mark.slow("compiles, and trains a trial")
def test_whoever_finds_the_last_trials_in_training_elsewhere_waits_and_takes_them_up_if_their_process_dies(
    workshop: "Workshop", study: StudyStorage, place: Place, told: "Told", other: Other
) -> None:
    owner, process = other
    study.create_row(RUN, owner)

    def kill_once_waited_for() -> bool:
        if any("waiting" in line for line in told.lines) and process.poll() is None:
            process.kill()
            process.wait()
        return False

    assignment = assignment_of(workshop, study, trials=1)
    stop = Chances(kill_once_waited_for)
    with open_session(assignment, place, progress=told, stopper=Stopper(), stop=stop) as session:
        session.search()
    waiting = [line for line in told.lines if "Other processes train the last trials; waiting for them." in line]
    assert len(waiting) == 1
    (row,) = study.rows()
    assert (row.state, row.owner, row.run) == (TrialState.COMPLETE, this_process(), RUN)
    assert told.phases == [("trials", 0, 1)]
    assert [ended is not None and ended.label for ended in told.ended] == ["trial 0"]


@pytest.mark.slow("compiles")
def test_whoever_may_ask_for_no_trial_because_others_train_all_that_may_be_in_training_says_so(
    workshop: "Workshop", study: StudyStorage, place: Place, told: "Told", other: Other
) -> None:
    owner, _ = other
    study.change_facts(lag=1)
    study.create_row(RUN, owner)
    stop = Chances(lambda: any("waiting" in line for line in told.lines))
    with (
        open_session(
            assignment_of(workshop, study, trials=3), place, progress=told, stopper=Stopper(), stop=stop
        ) as one,
        pytest.raises(Interrupted),
    ):
        one.search()
    (said,) = [line for line in told.lines if "waiting" in line]
    assert said == "Other processes train all trials that may be in training at a time; waiting for them to end."


def own_assignment(workshop: "Workshop", study: StudyStorage, *, trials: int) -> Assignment:
    """The small study with so many trials to train, in a population of its own: its slots may be laid out anew."""
    network = build_network(workshop.definition, workshop.dataset, Path(workshop.facts.folder))
    population = build_population(workshop.definition, network, workshop.dataset, workshop.facts.layout)
    return replace(assignment_of(workshop, study, trials=trials), population=population)


@pytest.fixture
def a_search_worth_compiling_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """However little of it is left."""
    monkeypatch.setattr("klsearch.search.terminal.forecast._WORTH", 0.0)
    monkeypatch.setattr("klsearch.search.running.session._ALIVE_SECONDS", 0.0)


@pytest.mark.usefixtures("a_search_worth_compiling_for")
@pytest.mark.slow("compiles two programs")
def test_who_comes_to_a_study_takes_its_share_and_all_once_the_others_are_gone(
    workshop: "Workshop",
    study: StudyStorage,
    place: Place,
    told: "Told",
    other: Other,
    leave: "Leave",
    outcomes: Outcomes,
) -> None:
    owner, process = other
    study.leases.say_alive(owner, {}, searches=True)
    running: list[int] = []

    def kill_after_four() -> bool:
        if process.poll() is None:
            running.append(len(study.running_rows()))
            if len(study.counted_numbers()) >= 4:
                process.kill()
                process.wait()
        return False

    assignment, stop = own_assignment(workshop, study, trials=12), Chances(kill_after_four)
    with open_session(assignment, place, progress=told, stopper=Stopper(), stop=stop) as session:
        session.search()
    assert told.lines == [
        "Compiling the training program, for 2 trials at a time…",
        "From now on this worker searches alone.",
        "Compiling the training program, for 4 trials at a time…",
    ]
    assert max(running) == 2
    assert outcomes(study.rows()) == leave(12, lambda study: None)


@pytest.mark.usefixtures("a_search_worth_compiling_for")
@pytest.mark.slow("compiles three programs")
def test_what_was_in_training_goes_on_from_where_it_was_before_another_gets_its_share(
    workshop: "Workshop",
    study: StudyStorage,
    place: Place,
    told: "Told",
    other: Other,
    leave: "Leave",
    outcomes: Outcomes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched: list[Mapping[int, Mapping[str, float]]] = []
    monkeypatch.setattr(told, "watch", lambda running, left: watched.append(running))
    stop = Chances(lambda: any(one["epoch"] >= 5 for running in watched for one in running.values()))
    assignment = own_assignment(workshop, study, trials=24)
    with (
        pytest.raises(Interrupted),
        open_session(assignment, place, progress=told, stopper=Stopper(), stop=stop) as session,
    ):
        session.search()
    watched.clear()
    told.lines.clear()
    study.leases.say_alive(other[0], {}, searches=True)
    with open_session(own_assignment(workshop, study, trials=24), place, progress=told, stopper=Stopper()) as session:
        session.search()
    assert list(watched[0]) == [0, 1, 2, 3]
    assert min(one["epoch"] for one in watched[0].values()) >= 5
    assert told.lines == [
        "Going on with tiny: 0 of 24 trials done, 4 taken up again.",
        "Compiling the training program, for 4 trials at a time…",
        "From now on this worker searches with 1 other worker.",
        "Compiling the training program, for 2 trials at a time…",
    ]
    assert outcomes(study.rows()) == leave(24, lambda study: None)


def never(seconds: float) -> None:
    raise AssertionError("nobody is before it")


NO_TOOLS = ConfirmationTools(
    build_population=lambda rule: pytest.fail("nothing is to be trained"),
    take_samples=lambda members: None,
    fit_probe=None,
)


def test_whoever_finds_the_winner_being_confirmed_waits_for_its_turn_and_says_so_once(
    workshop: "Workshop", study: StudyStorage, place: Place, told: "Told", other: Other
) -> None:
    owner, process = other
    study.leases.say_alive(owner, {})
    asked = iter(range(100))

    def kill_at_last() -> bool:
        if next(asked) == 1:
            process.kill()
            process.wait()
        return False

    assignment = assignment_of(workshop, study, trials=1)
    with study.confirming.turn(owner, wait=never):
        stop = Chances(kill_at_last)
        with open_session(assignment, place, progress=told, stopper=Stopper(), stop=stop) as session:
            session.confirm(NO_TOOLS)
    assert told.lines == [
        "Another process confirms the winner; waiting for it.",
        "No trial has finished, so there is nothing to confirm.",
    ]


def test_whoever_works_alone_waits_for_no_turn(
    workshop: "Workshop", study: StudyStorage, place: Place, told: "Told", other: Other
) -> None:
    assignment = assignment_of(workshop, study, trials=1, alone=True)
    with study.confirming.turn(other[0], wait=never):
        with open_session(assignment, place, progress=told, stopper=Stopper()) as session:
            session.confirm(NO_TOOLS)
    assert told.lines == ["No trial has finished, so there is nothing to confirm."]
