"""Leading trials and baselines on fresh seeds."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from optuna.trial import TrialState

from klsearch.search.confirmation.candidates import Candidate
from klsearch.search.confirmation.contest import choose_winner
from klsearch.search.confirmation.kept_members import KeptMembers
from klsearch.search.confirmation.source import rows_to_show
from klsearch.search.seeds import confirmation_seed
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.process import this_process
from klsearch.search.storage.records import confirmed_rows
from klsearch.search.storage.rows import Result, Row, Run
from klsearch.search.storage.study import StudyStorage
from klsearch.search.training.checkpoint import claim_course
from klsearch.search.training.trainer import Saving
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.vae.diagnostics.curves import TrainingCurves
from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from tests.search.conftest import Workshop

Outcomes = Callable[[Iterable[Row]], list[dict[str, Any]]]

SETTINGS = Hyperparameters(kl_weight=0.5)
SEEDS = range(8)


def sound_measures() -> Measures:
    latent = np.full(3, 0.5)
    return Measures(
        reconstruction=1.0,
        unexplained=0.2,
        elbo=-1.0,
        active_units=3,
        clip_share_low=0.0,
        clip_share_high=0.0,
        kl_mean_part=latent,
        kl_variance_part=latent,
        prior_mismatch=latent,
    )


def row_of(label: str, seed: int, *, score: float, kl: float) -> Row:
    """A run that passes every gate if its KL lies in the band of 0 to 5; one without a KL diverged."""
    curves = np.zeros((6, 10), np.float32)
    curves[:, 4], curves[0, 5] = kl, 9.0
    curves[-1, 9] = np.isnan(kl)
    result = Result(
        curves=TrainingCurves.from_rows(curves),
        measures={} if np.isnan(kl) else {"validation": sound_measures()},
        seconds=1.0,
    )
    now = datetime.now(UTC)
    return Row(
        number=0,
        state=TrialState.COMPLETE,
        run=Run(hyperparameters=SETTINGS, seed=seed, label=label),
        owner=this_process(),
        course="",
        result=result,
        score=score,
        error="",
        progress={},
        started=now,
        ended=now,
    )


def runs(label: str, scores: list[float], kl: list[float] | float) -> list[Row]:
    kls = kl if isinstance(kl, list) else [kl] * len(scores)
    return [row_of(label, seed, score=score, kl=kl) for seed, (score, kl) in enumerate(zip(scores, kls, strict=True))]


NOISE = [-0.02, 0.02, -0.01, 0.01, 0.0, 0.015, -0.015, 0.005]


def around(mean: float, *, reverse: bool = False) -> list[float]:
    return [mean + noise for noise in (NOISE[::-1] if reverse else NOISE)]


@pytest.mark.parametrize(
    ("case", "rows", "winner"),
    [
        (
            "most seeds that pass, whatever the score",
            [*runs("trial 1", around(0.1), [2.0] * 7 + [6.0]), *runs("trial 2", around(0.4), 2.0)],
            "trial 2",
        ),
        (
            "then the lowest mean score, where it is lower beyond noise",
            [*runs("trial 1", around(0.1), 4.9), *runs("trial 2", around(0.4), 2.5)],
            "trial 1",
        ),
        (
            "else the one farther from the band's edges: from the upper one",
            [*runs("trial 1", around(0.2), 4.5), *runs("trial 2", around(0.201, reverse=True), 2.5)],
            "trial 2",
        ),
        (
            "else the one farther from the band's edges: from the lower one",
            [*runs("trial 1", around(0.2), 0.5), *runs("trial 2", around(0.201, reverse=True), 3.5)],
            "trial 2",
        ),
        (
            "a difference that is the same on every seed is beyond noise, however small",
            [*runs("trial 1", around(0.2), 4.5), *runs("trial 2", around(0.201), 2.5)],
            "trial 1",
        ),
        (
            "one that is clearly worse does not win by its distance from the edges",
            [
                *runs("trial 1", around(0.2), 4.5),
                *runs("trial 2", around(0.201, reverse=True), 4.0),
                *runs("trial 3", around(0.5), 2.5),
            ],
            "trial 2",
        ),
        (
            "a seed that diverged does not pass",
            [*runs("trial 1", around(0.1), [2.0] * 7 + [np.nan]), *runs("trial 2", around(0.3), 2.5)],
            "trial 2",
        ),
        (
            "where no seed passes, the score still decides",
            [*runs("trial 1", around(0.9), 9.0), *runs("trial 2", around(0.7), 8.0)],
            "trial 2",
        ),
        (
            "one seed says nothing of noise",
            [*runs("trial 1", [0.1], 4.9), *runs("trial 2", [0.4], 2.5)],
            "trial 2",
        ),
        ("a single one wins", runs("trial 7", around(0.2), 2.0), "trial 7"),
        (
            "all diverged",
            [*runs("trial 1", [3.0] * 8, np.nan), *runs("trial 2", [3.0] * 8, np.nan)],
            "trial 1",
        ),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) and " " in value else "",
)
def test_the_winner_has(workshop: "Workshop", case: str, rows: list[Row], winner: str) -> None:
    del case
    labels = list(dict.fromkeys(one.run.label for one in rows))
    assert choose_winner(workshop.definition, rows, labels) == winner


def test_baselines_cannot_win(workshop: "Workshop") -> None:
    rows = [*runs("trial 1", around(0.5), 6.0), *runs("before", around(0.1), 2.0)]
    assert choose_winner(workshop.definition, rows, ["trial 1"]) == "trial 1"


def test_the_models_shown_share_the_winner_s_first_seed_that_did_not_diverge() -> None:
    rows = [
        *runs("trial 1", around(0.5), 2.0),
        *runs("trial 2", around(0.5), [math.nan, 2.0] + [3.0] * 6),
        *runs("before", around(0.5), 2.0),
        *runs("after", around(0.5), [2.0, math.nan] + [3.0] * 6),
        *(one for index in range(4) for one in runs(f"mine {index}", around(0.5), 2.0)),
    ]
    labels = ["trial 2", "before", "after", *(f"mine {index}" for index in range(4))]
    shown = rows_to_show(rows, labels)
    assert [row.run.label for row in shown] == ["trial 2", "before", "mine 0", "mine 1", "mine 2"]
    assert {row.run.seed for row in shown} == {1}
    assert rows_to_show(runs("trial 1", around(0.5), math.nan), ["trial 1"]) == []


TWO = [
    Candidate(label="trial 3", hyperparameters=Hyperparameters(kl_weight=0.1, learning_rate=1e-2)),
    Candidate(label="before", hyperparameters=Hyperparameters(kl_weight=1e-3, learning_rate=1e-2)),
]


def test_every_candidate_is_trained_on_the_same_fresh_seeds(
    workshop: "Workshop", study: StudyStorage, outcomes: Outcomes
) -> None:
    workshop.search(study, 4)
    workshop.confirm(study, TWO)
    rows = study.confirmation_rows()
    seeds = [confirmation_seed(0, index) for index in SEEDS]
    for candidate in TWO:
        mine = [one for one in rows if one.run.label == candidate.label]
        assert [one.run.seed for one in mine] == seeds
        assert {one.run.hyperparameters for one in mine} == {candidate.hyperparameters}
        assert all(one.state is TrialState.COMPLETE for one in mine)
    assert set(seeds).isdisjoint(one.run.seed for one in study.rows())
    assert len({left["curves"] for left in outcomes(rows)}) == len(rows), "every seed trains another model"


@pytest.mark.parametrize("epochs", [0, 7, 30])
def test_an_interrupted_confirmation_goes_on_with_the_same_runs(
    workshop: "Workshop", study: StudyStorage, epochs: int
) -> None:
    workshop.confirm(study, TWO, epochs=epochs)
    before = study.confirmation_rows()
    assert 0 < len(before) < 16
    finished = sum(one.result is not None for one in before)
    assert workshop.confirm(study, TWO).remaining == 16 - finished
    rows = study.confirmation_rows()
    assert [one.run for one in rows][: len(before)] == [one.run for one in before]
    assert len(rows) == len({(one.run.label, one.run.seed) for one in rows}) == 16
    assert all(one.result is not None for one in rows)
    assert workshop.confirm(study, TWO).remaining == 0


def test_an_interrupted_confirmation_goes_on_in_the_middle_of_its_trainings(
    workshop: "Workshop", study: StudyStorage, outcomes: Outcomes, tmp_path: Path
) -> None:
    workshop.confirm(study, TWO)
    uninterrupted = outcomes(study.confirmation_rows())
    with open_storage(f"journal:///{tmp_path / 'other'}", create=True) as storage:
        again = workshop.new_study(storage)
        with claim_course(tmp_path / "checkpoint", "f", say=pytest.fail) as course:
            saving = Saving(course=course, study="tiny (confirmation)")
            workshop.confirm(again, TWO, epochs=7, saving=saving)
        epochs: list[float] = []
        with claim_course(tmp_path / "checkpoint", "f", say=pytest.fail) as course:
            workshop.confirm(
                again,
                TWO,
                saving=Saving(course=course, study="tiny (confirmation)"),
                watch=lambda running: epochs.append(max(values["epoch"] for values in running.values())),
            )
        assert epochs[0] == 8
        assert outcomes(again.confirmation_rows()) == uninterrupted


def test_members_outlive_the_process_that_trained_them(
    workshop: "Workshop", study: StudyStorage, tmp_path: Path
) -> None:
    def kept() -> KeptMembers:
        return KeptMembers(tmp_path / "confirmed", "f", say=pytest.fail)

    for epochs in (45, None):
        workshop.confirm(study, TWO, epochs=epochs, keep=kept().keep)
        rows = study.confirmation_rows()
        assert {kept().find(one.run) is not None for one in rows if one.result is not None} == {True}
        assert {kept().find(one.run) is not None for one in rows if one.result is None} <= {False}
    assert len(list((tmp_path / "confirmed").iterdir())) == len(rows) == 16


def test_a_training_that_another_program_marked_as_failed_is_made_up_for(
    workshop: "Workshop", study: StudyStorage
) -> None:
    workshop.confirm(study, TWO, epochs=3)
    study.confirmation().void_row(1, "void")
    workshop.confirm(study, TWO)
    rows = [row for row in study.confirmation_rows() if row.number != 1]
    assert len({(one.run.label, one.run.seed) for one in rows if one.result is not None}) == len(rows) == 16


def test_a_run_that_two_processes_trained_counts_once(workshop: "Workshop", study: StudyStorage) -> None:
    workshop.confirm(study, TWO)
    rows, first = study.confirmation(), study.confirmation_rows()[0]
    assert first.result is not None
    twice = rows.create_row(first.run, this_process())
    rows.finish_row(twice, first.result, owner=this_process(), score=first.score, constraints={})
    rows.create_row(first.run, this_process())  # whoever made it is gone
    counted = confirmed_rows(study, workshop.definition)
    before = [one for one in counted if one.run.label == TWO[0].label]
    assert [one.run.seed for one in before] == [confirmation_seed(0, index) for index in SEEDS]
    assert all(one.result is not None for one in before)
    assert workshop.confirm(study, TWO).remaining == 0


def test_a_leading_trial_s_confirmation_is_its_training_on_another_seed(
    workshop: "Workshop", study: StudyStorage, outcomes: Outcomes
) -> None:
    """Trained as a trial with a confirmation's seed, the same settings leave the same curves."""
    workshop.confirm(study, TWO[:1])
    confirmed = study.confirmation_rows()[2]
    study.create_row(replace(confirmed.run, label="search"), this_process())
    workshop.search(study, 1)
    (trial,) = study.rows()
    first, second = outcomes([trial, confirmed])
    assert first["curves"] == second["curves"]


def test_a_baseline_that_changed_is_confirmed_again_and_its_old_runs_no_longer_count(
    workshop: "Workshop", study: StudyStorage
) -> None:
    changed = replace(TWO[1], hyperparameters=replace(TWO[1].hyperparameters, kl_weight=0.5))
    workshop.confirm(study, TWO)
    assert workshop.confirm(study, [TWO[0], changed]).remaining == 8
    assert len(study.confirmation_rows()) == 24
    settings = {"kl_weight": 0.5, "annealing_epochs": 0}
    tables = workshop.definition.model_dump(exclude_unset=True)
    tables["baselines"] = {"before": settings}
    definition = StudyDefinition.model_validate(tables)
    counted = confirmed_rows(study, definition)
    assert [one.run.hyperparameters.kl_weight for one in counted if one.run.label == "before"] == [0.5] * 8
    assert len([one for one in counted if one.run.label == "trial 3"]) == 8
