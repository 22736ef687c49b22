"""Trials that are ended early: which, when, and what becomes of them."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from optuna.trial import TrialState

from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.process import this_process
from klsearch.search.storage.records import study_record
from klsearch.search.storage.rows import Row
from klsearch.search.storage.study import StudyStorage
from klsearch.search.training.checkpoint import Course
from klsearch.search.training.trainer import Saving
from klsearch.search.trials.pruning import PRUNERS, HalvingPruner, MedianPruner, Pruner
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.vae.diagnostics.curves import CURVE_NAMES, TrainingCurves
from klsearch.vae.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from tests.search.conftest import Workshop

Outcomes = Callable[[Iterable[Row]], list[dict[str, Any]]]

BUDGET = 36
LATER = 100  # the number of a trial after all that it may be compared with
AT_ONCE = Hyperparameters(kl_weight=0.1)


def annealed(epochs: int) -> Hyperparameters:
    return Hyperparameters(kl_weight=0.1, annealing_epochs=epochs)


def flat_curves(unexplained: float, *, epochs: int = 30, kl: float = 1.0) -> TrainingCurves:
    """As flat as can be, so that the score is `unexplained` at every epoch."""
    rows = np.zeros([epochs, len(CURVE_NAMES)])
    rows[:, CURVE_NAMES.index("validation_unexplained")] = unexplained
    rows[:, CURVE_NAMES.index("validation_kl")] = kl
    return TrainingCurves.from_rows(rows)


@pytest.fixture
def long_definition(workshop: "Workshop") -> StudyDefinition:
    """Of 30 epochs, of which 5 are the window: a trial is looked at from its tenth on, every five."""
    definition = workshop.definition
    training = definition.training.model_copy(update={"epochs": 30})
    gates = definition.gates.model_copy(update={"window": 5})
    return definition.model_copy(update={"training": training, "gates": gates})


@pytest.fixture
def pruner(long_definition: StudyDefinition) -> MedianPruner:
    """Of a study without a lag."""
    return MedianPruner(long_definition)


def taught(pruner: Pruner, scores: list[float], settings: Hyperparameters = AT_ONCE) -> Pruner:
    for number, score in enumerate(scores):
        pruner.learn(number, settings, flat_curves(score))
    return pruner


def test_a_trial_is_looked_at_from_a_third_of_the_training_at_its_full_kl_weight(pruner: MedianPruner) -> None:
    looked = {
        annealing: [epoch for epoch in range(1, 31) if pruner.looks_at(annealed(annealing), epoch)]
        for annealing in (0, 4, 15, 20)
    }
    assert looked == {0: [10, 15, 20, 25], 4: [14, 19, 24, 29], 15: [25], 20: []}


def test_what_is_worse_than_the_median_of_ten_is_ended(pruner: MedianPruner) -> None:
    taught(pruner, [0.1 * place for place in range(1, 10)])
    assert not pruner.ends(LATER, AT_ONCE, flat_curves(5.0, epochs=10)), "nine are too few"
    pruner.learn(9, AT_ONCE, flat_curves(1.0))
    assert pruner.ends(LATER, AT_ONCE, flat_curves(0.56, epochs=10))
    assert not pruner.ends(LATER, AT_ONCE, flat_curves(0.54, epochs=10))


def test_a_kl_outside_the_band_counts_as_it_does_in_the_score(pruner: MedianPruner) -> None:
    taught(pruner, [0.5] * 10)
    assert not pruner.ends(LATER, AT_ONCE, flat_curves(0.3, epochs=10, kl=4.9))
    assert pruner.ends(LATER, AT_ONCE, flat_curves(0.3, epochs=10, kl=10.0))


def test_trials_still_near_their_annealing_are_no_measure_for_others(pruner: MedianPruner) -> None:
    taught(pruner, [0.1] * 10, annealed(8))
    assert not pruner.ends(LATER, AT_ONCE, flat_curves(0.9, epochs=10)), "their KL had not settled by epoch 10"
    assert pruner.ends(LATER, AT_ONCE, flat_curves(0.9, epochs=15))


def test_only_whole_trials_that_did_not_diverge_are_compared_with(pruner: MedianPruner) -> None:
    broken = flat_curves(0.1).as_rows()
    broken[3, CURVE_NAMES.index("nonfinite_steps")] = 1
    for number in range(10):
        pruner.learn(number, AT_ONCE, flat_curves(0.1, epochs=29))
        pruner.learn(number, AT_ONCE, TrainingCurves.from_rows(broken))
    assert not pruner.ends(LATER, AT_ONCE, flat_curves(5.0, epochs=10))
    pruner.learn(9, AT_ONCE, flat_curves(0.1))
    assert not pruner.ends(LATER, AT_ONCE, flat_curves(5.0, epochs=10)), "of ten one counts"


def test_a_trial_is_compared_with_those_that_its_suggestion_rests_on(long_definition: StudyDefinition) -> None:
    """With a lag of 4, trial 14 rests on trials 0 to 10, and trial 13 on 0 to 9."""
    pruner = taught(MedianPruner(long_definition, lag=4), [0.9] * 10 + [0.1] * 20)
    assert not pruner.ends(12, AT_ONCE, flat_curves(2.0, epochs=10)), "nine are too few"
    assert pruner.ends(13, AT_ONCE, flat_curves(0.95, epochs=10))
    assert not pruner.ends(14, AT_ONCE, flat_curves(0.85, epochs=10)), "of eleven the median is 0.9 still"
    assert pruner.ends(29, AT_ONCE, flat_curves(0.85, epochs=10)), "16 of 26 are at 0.1"


@pytest.fixture
def halving(long_definition: StudyDefinition) -> HalvingPruner:
    """Of a study without a lag: half go on after 8 of 30 epochs at full KL weight, and half of those after 16."""
    return HalvingPruner(long_definition)


def test_halving_looks_after_a_quarter_and_a_half_of_the_training_at_full_kl_weight(halving: HalvingPruner) -> None:
    looked = {
        annealing: [epoch for epoch in range(1, 31) if halving.looks_at(annealed(annealing), epoch)]
        for annealing in (0, 4, 14, 25)
    }
    assert looked == {0: [8, 16], 4: [12, 20], 14: [22], 25: []}


def test_halving_compares_trials_that_were_as_long_at_their_full_kl_weight(halving: HalvingPruner) -> None:
    for number in range(10):
        falling = flat_curves(0.5).as_rows()
        falling[:12, CURVE_NAMES.index("validation_unexplained")] = 0.9  # at epoch 12, 8 after the annealing
        halving.learn(number, annealed(4), TrainingCurves.from_rows(falling))
    assert not halving.ends(LATER, AT_ONCE, flat_curves(0.89, epochs=8))
    assert halving.ends(LATER, AT_ONCE, flat_curves(0.91, epochs=8))
    assert halving.ends(LATER, AT_ONCE, flat_curves(0.89, epochs=16))


def test_halving_compares_with_what_ended_early_as_far_as_it_came(halving: HalvingPruner) -> None:
    for number in range(12):
        halving.learn(number, AT_ONCE, flat_curves(0.9 if number % 2 else 0.3, epochs=8 if number % 2 else 30))
    assert not halving.ends(LATER, AT_ONCE, flat_curves(0.5, epochs=8)), "the median of all twelve is 0.6"
    assert halving.ends(LATER, AT_ONCE, flat_curves(0.7, epochs=8))
    assert halving.ends(LATER, AT_ONCE, flat_curves(0.5, epochs=16)), "of the six that went on it is 0.3"


def test_halving_ends_nothing_before_four_came_as_far(halving: HalvingPruner) -> None:
    taught(halving, [0.1] * 3)
    assert not halving.ends(LATER, AT_ONCE, flat_curves(0.9, epochs=8))
    halving.learn(3, AT_ONCE, flat_curves(0.1, epochs=8))
    assert halving.ends(LATER, AT_ONCE, flat_curves(0.9, epochs=8))
    assert not halving.ends(LATER, AT_ONCE, flat_curves(0.9, epochs=16))


def test_what_diverged_is_behind_everything_that_halving_compares(halving: HalvingPruner) -> None:
    broken = flat_curves(0.1, epochs=3).as_rows()
    broken[2, CURVE_NAMES.index("nonfinite_steps")] = 1
    for number in range(5):
        halving.learn(number, AT_ONCE, TrainingCurves.from_rows(broken))
        halving.learn(number + 5, AT_ONCE, flat_curves(0.4))
    halving.learn(10, AT_ONCE, flat_curves(0.4))
    assert not halving.ends(LATER, AT_ONCE, flat_curves(0.4, epochs=8))
    assert halving.ends(LATER, AT_ONCE, flat_curves(0.41, epochs=8))


class Chosen(Course):
    """A course that saves every third time that it is asked."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "course", "f", say=pytest.fail)
        self._asked = 0

    def is_due(self, *, between_epochs: bool) -> bool:
        """Whether to save now."""
        self._asked += between_epochs
        return between_epochs and self._asked % 3 == 0


@pytest.fixture(scope="module", params=PRUNERS)
def definition(request: pytest.FixtureRequest, workshop: "Workshop") -> StudyDefinition:
    study = workshop.definition.study.model_copy(update={"pruner": request.param})
    return workshop.definition.model_copy(update={"study": study})


@pytest.fixture(scope="module")
def uninterrupted(
    workshop: "Workshop", definition: StudyDefinition, tmp_path_factory: pytest.TempPathFactory
) -> list[Row]:
    """The trials of a study that was searched without interruption."""
    with open_storage(f"journal:///{tmp_path_factory.mktemp('uninterrupted') / 'journal'}", create=True) as storage:
        study = workshop.new_study(storage)
        workshop.search(study, BUDGET, definition=definition)
        return study.rows()


@pytest.mark.slow("searches a study")
def test_a_study_ends_some_trials_early_and_trains_the_others_to_their_end(uninterrupted: list[Row]) -> None:
    assert len(uninterrupted) == BUDGET
    states = Counter(row.state for row in uninterrupted)
    assert states.keys() == {TrialState.COMPLETE, TrialState.PRUNED}
    assert states[TrialState.COMPLETE] >= 10
    for row in uninterrupted:
        assert row.result is not None
        assert (row.result.curves.epochs < 12) == (row.state is TrialState.PRUNED)
        assert np.isfinite(row.score)


@pytest.mark.slow("searches a study in 15 runs")
def test_killed_again_and_again_it_ends_the_same_trials_at_the_same_epochs(
    workshop: "Workshop",
    definition: StudyDefinition,
    study: StudyStorage,
    uninterrupted: list[Row],
    outcomes: Outcomes,
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    for life in range(14):
        saving = Saving(course=Chosen(tmp_path), study="tiny")
        owner = replace(this_process(), started=f"life {life}")
        epochs = int(rng.integers(0, 14))
        workshop.search(study, BUDGET, definition=definition, owner=owner, epochs=epochs, saving=saving, killed=True)
    saving = Saving(course=Chosen(tmp_path), study="tiny")
    workshop.search(study, BUDGET, definition=definition, saving=saving)
    assert outcomes(study.rows()) == outcomes(uninterrupted)


@pytest.mark.slow("searches a study")
def test_a_trial_that_was_ended_early_is_finished_but_neither_feasible_nor_best(
    workshop: "Workshop", definition: StudyDefinition, study: StudyStorage
) -> None:
    workshop.search(study, 24, definition=definition)
    record = study_record(study, url="", resume_command="")
    pruned = [trial for trial in record.trials if trial.state == "pruned"]
    assert len(record.finished) == 24
    assert len(record.complete) == 24 - len(pruned)
    assert pruned
    for trial in pruned:
        assert not trial.feasible
        assert not trial.passed
        assert np.isfinite([trial.kl, trial.score]).all()
        assert trial.measures is not None
