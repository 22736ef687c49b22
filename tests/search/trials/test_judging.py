"""Trainings judged by a study's definition."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from optuna.trial import TrialState

from klsearch.search.storage.process import this_process
from klsearch.search.storage.rows import Result, Run
from klsearch.search.storage.study import StudyStorage
from klsearch.search.trials.judging import (
    best_so_far,
    ended_early,
    finish,
    judge_training,
)
from klsearch.studies.definitions.parsing import parse_definition
from klsearch.vae.hyperparameters import BEFORE

if TYPE_CHECKING:
    from tests.search.conftest import Workshop

ByHand = Callable[..., Result]
RUN = Run(hyperparameters=BEFORE, seed=1, label="search")
SOUND = {"band": -0.4, "settled": -1.0, "alive": -2.0, "clipping": -1.0}


@pytest.mark.parametrize(
    ("kl", "judged_kl", "score", "violations"),
    [
        # The band is 0 to 5, the window 2 epochs, the largest slope 0.2; one of 3 latents must be active, and 3 are.
        ([9.0, 2.0, 2.0], 2.0, 0.25, SOUND),
        # The mean of 2 and 3, and (1 / 2.5 − 0.2) / 0.2 too steep.
        ([9.0, 2.0, 3.0], 2.5, 0.25, SOUND | {"band": -0.5, "settled": 1.0}),
        # One band above the band: half the penalty of 1.
        ([9.0, 10.0, 10.0], 10.0, 0.75, SOUND | {"band": 1.0}),
    ],
)
def test_a_training_is_judged_by_its_last_epochs_and_its_measures(
    workshop: "Workshop",
    make_result: ByHand,
    kl: list[float],
    judged_kl: float,
    score: float,
    violations: Mapping[str, float],
) -> None:
    ended, violated = judge_training(workshop.definition, "trial 3", make_result(kl, unexplained=0.25))
    assert violated == pytest.approx(violations)
    assert (ended.label, ended.kl, ended.rank.ended_early) == ("trial 3", judged_kl, False)
    assert ended.rank.score == pytest.approx(score)
    assert ended.rank.violation == pytest.approx(sum(value for value in violations.values() if value > 0))


def test_a_training_that_diverged_scores_the_worst_there_is(workshop: "Workshop", make_result: ByHand) -> None:
    ended, violations = judge_training(workshop.definition, "trial 3", make_result([1.0, math.nan], diverged=True))
    assert math.isnan(ended.kl)
    assert ended.rank.score == 3.0, "2, and the penalty of 1"
    assert set(violations.values()) == {1e6}
    assert not ended.rank.feasible


def test_a_band_over_all_latents_judges_their_sum(definition_file: Path, make_result: ByHand) -> None:
    text = definition_file.read_text().replace("trials = 24", 'trials = 24\nkl_reduction = "sum"\nkl_band = [2, 8]')
    ended, violations = judge_training(parse_definition(text, "tiny.toml"), "trial 3", make_result([4.0, 4.0]))
    assert ended.kl == 12.0
    assert violations["band"] == pytest.approx((12 - 8) / 6)
    assert ended.rank.score == pytest.approx(0.2 + (4 / 6) / (1 + 4 / 6))


def test_a_training_that_was_ended_early_ranks_behind_every_other(workshop: "Workshop", make_result: ByHand) -> None:
    best, _ = judge_training(workshop.definition, "trial 1", make_result([2.0, 2.0], unexplained=0.1))
    worst, _ = judge_training(workshop.definition, "trial 2", make_result([math.nan], diverged=True))
    pruned = ended_early(best)
    assert best.rank < worst.rank < pruned.rank
    assert not pruned.rank.feasible
    assert (pruned.label, pruned.kl, pruned.rank.score) == (best.label, best.kl, best.rank.score)


@pytest.mark.parametrize("pruned", [False, True])
def test_what_is_judged_is_stored_with_its_score_and_violations(
    workshop: "Workshop", study: StudyStorage, make_result: ByHand, pruned: bool
) -> None:
    number = study.create_row(RUN, this_process())
    left = make_result([9.0, 10.0, 10.0], unexplained=0.25)
    told = finish(study, workshop.definition, number, "trial 0", left, owner=this_process(), pruned=pruned)
    assert told is not None
    assert told.rank.ended_early is pruned
    assert told.rank.score == pytest.approx(0.75)
    (trial,) = study.trials()
    assert trial.state is (TrialState.PRUNED if pruned else TrialState.COMPLETE)
    assert trial.value == pytest.approx(0.75)
    assert dict(trial.constraints) == pytest.approx(SOUND | {"band": 1.0})


def test_a_training_whose_row_is_another_worker_s_is_told_to_nobody(
    workshop: "Workshop", study: StudyStorage, make_result: ByHand
) -> None:
    number = study.create_row(RUN, this_process())
    assert (
        finish(study, workshop.definition, number, "trial 0", make_result([2.0, 2.0]), owner=this_process()) is not None
    )
    assert finish(study, workshop.definition, number, "trial 0", make_result([1.0, 1.0]), owner=this_process()) is None


def test_the_best_so_far_is_feasible_if_any_is_and_was_trained_to_its_end(
    workshop: "Workshop", study: StudyStorage, make_result: ByHand
) -> None:
    def add(unexplained: float, kl: float = 2.0, *, pruned: bool = False) -> None:
        number, left = study.create_row(RUN, this_process()), make_result([kl, kl], unexplained=unexplained)
        finish(study, workshop.definition, number, "any", left, owner=this_process(), pruned=pruned)

    def best() -> str | None:
        found = best_so_far(workshop.definition, study)
        return None if found is None else found.label

    study.create_row(RUN, this_process())  # which runs
    add(0.01, pruned=True)
    assert best() is None
    add(0.1, kl=6.0)
    assert best() == "trial 2", "it lies outside the band, as no other does not"
    add(0.5)
    assert best() == "trial 3"
    add(0.5)
    assert best() == "trial 3", "of two alike the earlier"
    add(0.4)
    assert best() == "trial 5"
