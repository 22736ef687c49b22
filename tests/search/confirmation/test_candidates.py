"""Who is confirmed."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from klsearch.search.confirmation.candidates import Candidate, baselines, leading_trials
from klsearch.search.storage.process import this_process
from klsearch.search.storage.records import trial_records
from klsearch.search.storage.rows import Result, Run
from klsearch.search.storage.study import StudyStorage
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.definitions.parsing import parse_definition
from klsearch.studies.procedure import Procedure
from klsearch.vae.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from tests.search.conftest import Workshop


SETTINGS = Hyperparameters(kl_weight=0.5)


def chosen_of(study: StudyStorage, definition: StudyDefinition) -> list[Candidate]:
    return [*leading_trials(definition, trial_records(study, definition), Procedure.RACE), *baselines(definition)]


def test_candidates_are_the_leading_trials_and_every_baseline(workshop: "Workshop", study: StudyStorage) -> None:
    assert leading_trials(workshop.definition, [], Procedure.RACE) == []
    workshop.search(study, 6)
    best = sorted(study.rows(), key=lambda row: row.score)
    feasible = {trial.number for trial in trial_records(study, workshop.definition) if trial.feasible}
    leading = [one for one in best if one.number in feasible][:2]
    chosen = chosen_of(study, workshop.definition)
    assert [one.label for one in chosen] == [f"trial {one.number}" for one in leading] + ["before", "after", "mine"]
    assert [one.hyperparameters for one in chosen[:2]] == [one.run.hyperparameters for one in leading]
    assert {one.label: one.hyperparameters for one in chosen[2:]} == workshop.definition.baseline_hyperparameters()


def add_trial(study: StudyStorage, left: Result, score: float, *, pruned: bool = False) -> None:
    number = study.create_row(Run(hyperparameters=SETTINGS, seed=1, label="search"), this_process())
    study.finish_row(number, left, owner=this_process(), score=score, constraints={}, pruned=pruned)


def test_a_trial_that_violates_its_constraints_leads_only_where_no_other_is_left(
    workshop: "Workshop", study: StudyStorage, make_result: Callable[..., Result]
) -> None:
    """The first diverges, with the best score it could have."""
    add_trial(study, make_result([math.nan] * 6, diverged=True), 0.1)
    add_trial(study, make_result([0.9] * 6), 0.9)
    assert [one.label for one in chosen_of(study, workshop.definition)][:2] == ["trial 1", "trial 0"]


@pytest.mark.parametrize("procedure", Procedure)
def test_the_best_by_their_own_scores_lead_where_there_are_too_few_for_a_model_and_none_that_was_ended_early(
    workshop: "Workshop", study: StudyStorage, make_result: Callable[..., Result], procedure: Procedure
) -> None:
    """Two lead, as the definition asks; of two alike the earlier is first."""
    add_trial(study, make_result([2.0] * 6), 0.05, pruned=True)
    for score in (0.4, 0.2, 0.3, 0.2):
        add_trial(study, make_result([2.0] * 6), score)
    study.create_row(Run(hyperparameters=SETTINGS, seed=1, label="search"), this_process())
    leading = leading_trials(workshop.definition, trial_records(study, workshop.definition), procedure)
    assert [one.label for one in leading] == ["trial 2", "trial 4"]


def test_a_baseline_with_a_method_is_trained_by_it_on_every_seed(tmp_path: Path, write: Callable[..., Path]) -> None:
    rival = ("[confirmation]", '[baselines.rival]\nmethod = "sigma"\n[confirmation]')
    definition = parse_definition(write(tmp_path, rival).read_text(), "tiny.toml").settle(shape=(6,), kl_band=None)
    found = {one.label: one for one in baselines(definition)}
    assert {label: one.method for label, one in found.items()} == {
        "before": None, "after": None, "mine": None, "rival": "sigma",
    }  # fmt: skip
    settings = definition.baseline_hyperparameters()["rival"]
    assert found["rival"].runs([5, 3]) == [
        Run(hyperparameters=settings, seed=seed, label="rival", method="sigma") for seed in (5, 3)
    ]
