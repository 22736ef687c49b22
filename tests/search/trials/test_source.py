"""The search as a source of trials: what comes first, what is taken up again, what a resumed study becomes."""

import math
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState
from pydantic import ValidationError

from klsearch.search.layout import Layout
from klsearch.search.seeds import shared_seed, trial_seed
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.process import Owner, this_process
from klsearch.search.storage.rows import NewRow, Row, Run
from klsearch.search.storage.study import StudyStorage
from klsearch.search.training.models import build_network, build_population
from klsearch.search.training.trainer import Trainer
from klsearch.search.training.worker import Worker
from klsearch.search.trials.decider import Decider
from klsearch.search.trials.judging import best_so_far
from klsearch.search.trials.sampling import Advisor
from klsearch.search.trials.source import TrialSource
from klsearch.studies.definitions.baselines import baselines_inside, misfits
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.ladder import LADDER, rung_settings
from klsearch.studies.procedure import Procedure
from klsearch.vae.hyperparameters import BEFORE, Hyperparameters

if TYPE_CHECKING:
    from tests.search.conftest import Workshop

Outcomes = Callable[[Iterable[Row]], list[dict[str, Any]]]

DEAD = replace(this_process(), started="1")
RUN = Run(hyperparameters=Hyperparameters(kl_weight=0.5, learning_rate=1e-2), seed=5, label="search")


@dataclass(frozen=True, slots=True)
class Uninterrupted:
    """A study of 12 trials that was searched without interruption: its journal, and what its trials left."""

    journal: Path
    outcomes: list[dict[str, Any]]


@pytest.fixture(scope="module")
def uninterrupted(workshop: "Workshop", outcomes: Outcomes, tmp_path_factory: pytest.TempPathFactory) -> Uninterrupted:
    """A study searched without interruption."""
    journal = tmp_path_factory.mktemp("uninterrupted") / "journal"
    with open_storage(f"journal:///{journal}", create=True) as storage:
        study = workshop.new_study(storage)
        workshop.search(study, 12)
        return Uninterrupted(journal, outcomes(study.rows()))


def test_the_budget_is_met_exactly(workshop: "Workshop", study: StudyStorage) -> None:
    ended = workshop.search(study, 6)
    assert [one.label for one in ended] == [f"trial {number}" for number in range(6)]
    assert [row.state for row in study.rows()] == [TrialState.COMPLETE] * 6
    assert workshop.search(study, 6) == []
    assert workshop.search(study, 3) == [], "a smaller budget takes nothing away"


def test_what_was_left_running_is_not_waited_for_once_a_smaller_budget_is_met(
    workshop: "Workshop", study: StudyStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.search(study, 4)
    study.create_row(RUN, DEAD)
    worker = Worker(owner=this_process(), course="", is_dead=study.leases.is_dead)
    monkeypatch.setattr(Decider, "find_limit", lambda decider: 0)
    decider = Decider(study, workshop.definition)
    for budget, more in ((4, False), (5, True)):
        source = TrialSource(study, workshop.definition, budget=budget, worker=worker, tell=print, decider=decider)
        assert source.has_more() is more


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stop", "pruner"),
    [("budget", "none"), ("decided", "none"), ("budget", "median"), ("budget", "successive_halving")],
)
def test_however_many_train_at_a_time_a_study_takes_the_same_course(
    workshop: "Workshop", outcomes: Outcomes, tmp_path: Path, stop: str, pruner: str
) -> None:
    """Up to as many as its lag: trials 40 in all, or up to the look at which it is decided."""
    definition = workshop.definition.model_copy(
        update={"study": workshop.definition.study.model_copy(update={"stop": stop, "pruner": pruner})}
    )
    network, facts = build_network(definition, workshop.dataset, tmp_path), replace(workshop.facts, lag=8)
    courses = []
    for layout in (Layout(2, 2), Layout(4, 2), Layout(8, 4)):
        with open_storage(f"journal:///{tmp_path}/{layout.slots}", create=True) as storage:
            study = StudyStorage.create(storage, "tiny", definition="", facts=facts)
            worker, decider = Worker(owner=this_process()), Decider(study, definition)
            source = TrialSource(study, definition, budget=40, worker=worker, tell=lambda ended: None, decider=decider)
            population = build_population(definition, network, workshop.dataset, layout)
            epochs = definition.training.epochs
            Trainer(population, epochs=epochs, watch=lambda running: None, stop=lambda: False).train(source)
            assert not source.has_more()
            assert decider.is_over() is (stop == "decided")
            courses.append(outcomes(study.rows()))
    assert courses[0] == courses[1] == courses[2]
    assert any(one["state"] is TrialState.PRUNED for one in courses[0]) is (pruner != "none")
    assert len(courses[0]) == 40 if stop == "budget" else len(courses[0]) in (20, 30)


def test_no_trial_is_asked_for_before_those_it_rests_on_have_ended(workshop: "Workshop", study: StudyStorage) -> None:
    """With a lag of 4, trials 1 to 4 may be asked for while another process trains trial 0; trial 4 may not."""
    study.create_row(RUN, replace(this_process(), host="elsewhere"))
    worker = Worker(owner=this_process(), is_dead=lambda owner: False)
    decider = Decider(study, workshop.definition)
    source = TrialSource(study, workshop.definition, budget=9, worker=worker, tell=print, decider=decider)
    assert [job.number for job in source.take(8)] == [1, 2, 3]
    assert not source.has_more()
    assert source.take(8) == []


def test_no_trial_is_taken_while_the_slots_are_to_empty(workshop: "Workshop", study: StudyStorage) -> None:
    worker, decider, is_emptying = (
        Worker(owner=this_process()),
        Decider(study, workshop.definition),
        iter([True, False]),
    )
    source = TrialSource(
        study,
        workshop.definition,
        budget=9,
        worker=worker,
        tell=print,
        decider=decider,
        is_emptying=lambda: next(is_emptying),
    )
    assert source.take(4) == []
    assert [job.number for job in source.take(4)] == [0, 1, 2, 3]


@pytest.mark.parametrize("is_failed", [False, True])
def test_a_trial_that_ends_while_it_is_claimed_takes_its_room_unless_it_failed(
    workshop: "Workshop", study: StudyStorage, monkeypatch: pytest.MonkeyPatch, is_failed: bool
) -> None:
    """Its worker lives, and was taken for dead: what it finishes counts."""
    workshop.search(study, 2)
    done = study.row(0)
    assert done.result is not None
    late = study.create_row(RUN, DEAD)
    take_over = StudyStorage.take_over

    def end_first(storage: StudyStorage, number: int, owner: Owner, *, course: str = "") -> bool:
        if is_failed:
            storage.void_row(late, "void")
        else:
            storage.finish_row(late, done.result, owner=DEAD, score=1.0, constraints={})  # type: ignore[arg-type]
        return take_over(storage, number, owner, course=course)

    monkeypatch.setattr(StudyStorage, "take_over", end_first)
    worker = Worker(owner=this_process(), course="", is_dead=study.leases.is_dead)
    decider = Decider(study, workshop.definition)
    source = TrialSource(study, workshop.definition, budget=3, worker=worker, tell=print, decider=decider)
    assert [job.number for job in source.take(4)] == ([late + 1] if is_failed else [])


def test_a_search_that_goes_on_knows_its_best_trial(workshop: "Workshop", study: StudyStorage) -> None:
    assert best_so_far(workshop.definition, study) is None
    ended = workshop.search(study, 8)
    assert best_so_far(workshop.definition, study) == min(ended, key=lambda one: one.rank)


@pytest.mark.parametrize("procedure", Procedure)
def test_trials_share_one_seed_unless_the_study_began_under_the_first_release(
    workshop: "Workshop", study: StudyStorage, procedure: Procedure
) -> None:
    study.change_facts(procedure=procedure)
    workshop.search(study, 4)
    own = [trial_seed(0, number) for number in range(4)]
    assert [row.run.seed for row in study.rows()] == (own if procedure is Procedure.OWN_SEEDS else 4 * [shared_seed(0)])


def test_baselines_inside_the_space_are_the_first_trials_and_named(workshop: "Workshop", study: StudyStorage) -> None:
    workshop.search(study, 4)
    rows = study.rows()
    assert [row.run.label for row in rows] == ["before", "mine", "search", "search"]
    assert rows[0].run.hyperparameters == replace(BEFORE, learning_rate=1e-2)
    assert rows[1].run.hyperparameters == Hyperparameters(learning_rate=1e-2, kl_weight=0.1)


@pytest.mark.parametrize(
    ("table", "changes", "inside"),
    [
        ("space", {}, ["before", "mine"]),  # "after" clips, which this space does not
        ("space", {"clip_low": -20.0, "clip_high": 2.0, "l2": 1e-4, "annealing_epochs": 10}, []),  # 1e-4 < 1e-3
        ("space", {"kl_weight": {"low": 0.01, "high": 1.0}}, ["mine"]),
        ("space", {"annealing_epochs": {"low": 0, "high": 4}}, ["mine"]),  # "before" anneals for 5 epochs
        ("space", {"annealing_epochs": 5}, ["before"]),
        ("space", {"annealing_epochs": 4}, []),
        ("space", {"learning_rate": {"low": 1e-3, "high": 1e-1}}, ["before", "mine"]),
        ("training", {"learning_rate": 1e-3}, ["before", "mine"]),
        ("training", {"clipnorm": 1.0}, ["before", "mine"]),
    ],
)
def test_a_baseline_is_inside_if_every_setting_is_one_that_the_search_may_take(
    workshop: "Workshop", table: str, changes: dict[str, Any], inside: list[str]
) -> None:
    tables = workshop.definition.model_dump(exclude_unset=True)
    if table == "space" and "clip_low" in changes:
        tables["training"] = {**tables["training"], "epochs": 20}
    tables[table] = {**tables[table], **changes}
    assert [name for name, _ in baselines_inside(StudyDefinition.model_validate(tables))] == inside


def test_a_baseline_whose_bound_lies_beyond_a_fixed_one_is_outside_the_space_and_trained_as_it_is(
    workshop: "Workshop", study: StudyStorage
) -> None:
    tables = workshop.definition.model_dump(exclude_unset=True)
    tables["space"] |= {"clip_low": -4.0, "clip_high": {"low": 0.0, "high": 2.0}}
    tables["baselines"] = {"mine": {"kl_weight": 0.1, "clip_high": -5.0}}
    definition = StudyDefinition.model_validate(tables)
    assert baselines_inside(definition) == []
    assert misfits(definition, definition.baseline_hyperparameters()["mine"]) == ["clip_low", "clip_high"]
    workshop.search(study, 2, definition=definition)
    assert [row.run.label for row in study.rows()] == ["search", "search"]


_ENDS = st.floats(-30, 5)
_ENDS_OR_NONE = st.none() | _ENDS | st.sampled_from([-math.inf, math.inf])
_RANGES = st.tuples(_ENDS, st.floats(0.1, 9)).map(lambda ends: {"low": ends[0], "high": sum(ends)})


@given(
    space=st.fixed_dictionaries(
        {},
        optional={
            "clip_low": _RANGES | _ENDS_OR_NONE,
            "clip_high": _RANGES | _ENDS_OR_NONE,
            "l2": st.just({"low": 1e-6, "high": 1e-2, "log": True}),
            "learning_rate": st.just({"low": 1e-4, "high": 1e-2, "log": True}),
        },
    ),
    baselines=st.dictionaries(
        st.sampled_from(["before", "after", "mine", "other"]),
        st.fixed_dictionaries(
            {"kl_weight": st.floats(0, 10)},
            optional={"clip_low": _ENDS_OR_NONE, "clip_high": _ENDS_OR_NONE, "learning_rate": st.floats(1e-5, 1)},
        ),
        max_size=3,
    ),
)
def test_whatever_a_definition_accepts_can_be_begun_and_suggested(
    workshop: "Workshop", space: dict[str, Any], baselines: dict[str, dict[str, Any]]
) -> None:
    tables = workshop.definition.model_dump(exclude_unset=True)
    tables["space"] |= {name: value for name, value in space.items() if value is not None}
    tables["baselines"] = baselines
    try:
        definition = StudyDefinition.model_validate(tables)
    except ValidationError:
        return
    searched = definition.space.searched()
    inside = dict(baselines_inside(definition))
    for name, settings in definition.baseline_hyperparameters().items():
        outside = misfits(definition, settings)
        if not outside:
            assert definition.hyperparameters({key: getattr(settings, key) for key in searched}) == settings
        assert (name in inside) <= (not outside)
    advisor = Advisor("random", searched, 0)
    for given_values in [*inside.values(), None]:
        definition.hyperparameters(advisor.suggest(given_values).params)


def test_a_resumed_study_is_the_uninterrupted_one_bit_for_bit(
    workshop: "Workshop", study: StudyStorage, uninterrupted: Uninterrupted, outcomes: Outcomes
) -> None:
    """8 is a multiple of the 4 slots: the first run then ends where the uninterrupted one had refilled them all."""
    workshop.search(study, 8)
    workshop.search(study, 12)
    assert outcomes(study.rows()) == uninterrupted.outcomes


@pytest.mark.parametrize("epochs", [0, 5, 17])
def test_a_study_cut_off_while_it_trains_is_the_uninterrupted_one_once_resumed(
    workshop: "Workshop", study: StudyStorage, uninterrupted: Uninterrupted, outcomes: Outcomes, epochs: int
) -> None:
    workshop.search(study, 12, epochs=epochs)
    assert len(study.running_rows()) == 4
    workshop.search(study, 12)
    assert outcomes(study.rows()) == uninterrupted.outcomes


def test_no_suggestion_is_repeated_however_often_a_study_is_resumed(workshop: "Workshop", study: StudyStorage) -> None:
    for trials in (3, 4, 9, 14):
        workshop.search(study, trials)
    weights = Counter(row.run.hyperparameters.kl_weight for row in study.rows())
    assert max(weights.values()) == 1


def test_a_dead_worker_s_trial_is_taken_up_with_its_number_settings_and_seed(
    workshop: "Workshop", study: StudyStorage
) -> None:
    workshop.search(study, 4)
    workshop.search(study, 8, epochs=3, owner=DEAD)
    cut_off = {row.number: row.run for row in study.running_rows()}
    assert sorted(cut_off) == [4, 5, 6, 7]
    workshop.search(study, 6)
    assert {row.number: row.run for row in study.rows() if row.number in cut_off} == cut_off
    assert [row.number for row in study.running_rows()] == [6, 7], "the budget does not reach so far"
    workshop.search(study, 8)
    assert [row.state for row in study.rows()] == [TrialState.COMPLETE] * 8
    assert {row.owner for row in study.rows()} == {this_process()}


@pytest.mark.parametrize("share", [0.1, 0.35, 0.5, 0.62, 0.9])
def test_wherever_a_study_was_cut_off_it_is_completed_and_nothing_is_asked_twice(
    workshop: "Workshop", uninterrupted: Uninterrupted, tmp_path: Path, share: float
) -> None:
    """What a process leaves that is killed is the beginning of its journal, cut at any byte."""
    journal = uninterrupted.journal.read_bytes()
    made = journal.rindex(b"klsearch:schema") + 100  # before, there is no study
    (tmp_path / "journal").write_bytes(journal[: made + int(share * (len(journal) - made))])
    with open_storage(f"journal:///{tmp_path / 'journal'}", create=False) as storage:
        study = StudyStorage.load(storage, "tiny")
        asked = [row.run for row in study.rows()]
        workshop.search(study, 12)
        rows = study.rows()
    assert [row.run for row in rows][: len(asked)] == asked
    assert [row.state for row in rows] == [TrialState.COMPLETE] * 12
    assert {row.run.seed for row in rows} == {shared_seed(0)}
    assert len({row.run.hyperparameters for row in rows}) == 12


def test_a_refill_that_was_cut_off_in_the_middle_goes_on_as_it_would_have(
    workshop: "Workshop", uninterrupted: Uninterrupted, outcomes: Outcomes, tmp_path: Path
) -> None:
    lines = uninterrupted.journal.read_bytes().splitlines(keepends=True)
    created = [index for index, line in enumerate(lines) if b"klsearch:run" in line]
    (tmp_path / "journal").write_bytes(b"".join(lines[: created[9] + 1]))
    with open_storage(f"journal:///{tmp_path / 'journal'}", create=False) as storage:
        study = StudyStorage.load(storage, "tiny")
        assert [row.number for row in study.running_rows()] == [8, 9]
        workshop.search(study, 12)
        assert outcomes(study.rows()) == uninterrupted.outcomes


def test_a_trial_of_a_process_that_lives_is_left_to_it_and_taken_up_when_it_dies(
    workshop: "Workshop", study: StudyStorage, other: tuple[Owner, "subprocess.Popen[str]"]
) -> None:
    owner, process = other
    study.leases.say_alive(owner, {})
    number = study.create_row(RUN, owner)
    workshop.search(study, 4)
    assert [row.number for row in study.running_rows()] == [number]
    assert len(study.rows()) == 4, "the trial of the other process counts to the budget"
    process.kill()
    process.wait()
    workshop.search(study, 4)
    assert study.running_rows() == []
    assert study.rows()[number].run == RUN
    assert study.rows()[number].owner == this_process()


BROKEN = replace(RUN, hyperparameters=replace(RUN.hyperparameters, learning_rate=1e30))


def test_a_trial_that_diverges_is_a_finite_worst_result(workshop: "Workshop", study: StudyStorage) -> None:
    study.create_row(BROKEN, DEAD)
    workshop.search(study, 1)
    (row,), (trial,) = study.rows(), study.trials()
    assert row.result is not None
    assert row.result.curves.diverged
    assert row.result.curves.epochs < 12, "it leaves its slot at once"
    assert row.result.measures == {}
    assert (row.state, row.score) == (TrialState.COMPLETE, 3.0)
    assert set(trial.constraints) == {"band", "alive", "settled", "clipping"}
    assert all(1e5 < violation < float("inf") for violation in trial.constraints.values())


def test_neighbours_of_a_diverging_trial_are_bit_identical(
    workshop: "Workshop", study: StudyStorage, uninterrupted: Uninterrupted, outcomes: Outcomes
) -> None:
    study.create_row(BROKEN, DEAD)
    for one in uninterrupted.outcomes[:3]:
        study.create_row(one["run"], DEAD)
    workshop.search(study, 4)
    assert outcomes(study.rows()[1:]) == uninterrupted.outcomes[:3]


def test_the_search_goes_on_after_a_trial_that_diverged(workshop: "Workshop", study: StudyStorage) -> None:
    study.create_row(BROKEN, DEAD)
    workshop.search(study, 6)
    assert [row.state for row in study.rows()] == [TrialState.COMPLETE] * 6
    assert max(row.score for row in study.rows()[1:]) < 3.0


class Crowded(TrialSource):
    """A source beside which another program writes a row of its own, while each of these numbers is suggested."""

    intruders: tuple[int, ...] = (0,)

    def _suggest(self, number: int, given: tuple[str, dict[str, float | str]] | None) -> NewRow:
        if number in self.intruders:
            foreign = optuna.load_study(study_name=self._storage.name, storage=self._storage._storage)
            foreign.add_trial(optuna.trial.create_trial(state=TrialState.COMPLETE, value=9.0))
        return super()._suggest(number, given)


def test_a_rung_whose_row_was_voided_is_tried_again_and_is_called_no_baseline(
    workshop: "Workshop", study: StudyStorage
) -> None:
    study.change_facts(ladder=3)
    decider, worker = Decider(study, workshop.definition), Worker(owner=this_process())
    source = Crowded(study, workshop.definition, budget=5, worker=worker, tell=lambda ended: None, decider=decider)
    source.intruders = (2,)
    while source.has_more():
        workshop.train(source)
    void = [row.error for row in study.rows() if row.is_void]
    assert any(error.endswith(" This rung of the ladder is tried under another number.") for error in void)
    assert not any("Baseline 'ladder'" in error for error in void)
    tried = [row.run.hyperparameters for row in study.rows() if row.run.label == LADDER and not row.is_void]
    assert set(tried) == set(rung_settings(workshop.definition, 3))


@pytest.mark.parametrize("intruders", [(0,), (1,), (0, 2)])
def test_a_baseline_whose_row_was_voided_is_tried_again_and_the_row_says_so(
    workshop: "Workshop", study: StudyStorage, intruders: tuple[int, ...]
) -> None:
    worker = Worker(owner=this_process())
    decider = Decider(study, workshop.definition)
    source = Crowded(study, workshop.definition, budget=4, worker=worker, tell=lambda ended: None, decider=decider)
    source.intruders = intruders
    while source.has_more():
        workshop.train(source)
    rows = study.rows()
    tried = [row.run.label for row in rows if row.state is TrialState.COMPLETE]
    assert sorted(tried) == ["before", "mine", "search", "search"]
    void = [row for row in rows if row.state is TrialState.FAIL]
    assert {row.run.label for row in void} >= {"before", "mine"}, "all that were suggested together"
    for row in void:
        again_as = "" if row.run.label == "search" else f" Baseline {row.run.label!r} is tried under another number."
        assert re.fullmatch(
            rf"void, never trained: another row took number \d+, for which it was suggested\.{re.escape(again_as)}",
            row.error,
        )
        if row.run.label == "search":
            continue
        again = next(other for other in rows if other.run.label == row.run.label and not other.is_void)
        assert again.number > row.number
        assert again.run.hyperparameters == row.run.hyperparameters
