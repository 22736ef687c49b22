"""Finished trainings once more."""

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from optuna.trial import TrialState

from klsearch.search.confirmation.candidates import Candidate
from klsearch.search.storage.process import this_process
from klsearch.search.storage.rows import Result, Row, Run
from klsearch.search.storage.study import StudyStorage
from klsearch.search.terminal.progress import Silence
from klsearch.search.training.checkpoint import Checkpoint
from klsearch.search.training.retraining import Mismatch, RetrainingSource, mismatches, retrain
from klsearch.studies.definitions.catalog import LoadedDefinition
from klsearch.studies.errors import StudyConflict
from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.evaluation.evaluator import Members
from klsearch.vae.hyperparameters import BEFORE, Hyperparameters
from klsearch.vae.training.snapshot import Snapshot

if TYPE_CHECKING:
    from tests.search.conftest import Workshop


ByHand = Callable[..., Result]

TWO = [
    Candidate(label="trial 3", hyperparameters=Hyperparameters(kl_weight=0.1, learning_rate=1e-2)),
    Candidate(label="before", hyperparameters=Hyperparameters(kl_weight=1e-3, learning_rate=1e-2)),
]


def test_members_trained_again_are_those_that_were_confirmed(workshop: "Workshop", study: StudyStorage) -> None:
    members: dict[Run, Members] = {}
    again: dict[Run, Members] = {}
    workshop.confirm(study, TWO, keep=members.__setitem__)
    rows = study.confirmation_rows()
    ended: list[None] = []
    workshop.train(RetrainingSource(rows, keep=again.__setitem__, tell=ended.append))
    assert len(ended) == 16
    assert set(again) == set(members) == {one.run for one in rows}
    first, second = (
        workshop.population.measure_members([trained[one.run] for one in rows], "test") for trained in (members, again)
    )
    few = workshop.population.measure_members([again[one.run] for one in rows[5:8]], "test")
    for one, two in [*zip(first, second, strict=True), *zip(first[5:8], few, strict=True)]:
        for name in Measures.__slots__:
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name), strict=True)


def test_the_first_differing_epoch_and_latent_are_named(make_result: ByHand) -> None:
    stored = make_result([1.0] * 8)
    kl = stored.curves.kl.copy()
    kl[[4, 7]] = np.nextafter(kl[[4, 7]], np.float32(np.inf))
    measured = stored.measures["validation"]
    mismatch = measured.prior_mismatch.copy()
    mismatch[1] += 1
    now = replace(
        stored,
        curves=replace(stored.curves, kl=kl),
        measures={"validation": replace(measured, prior_mismatch=mismatch)},
        seconds=9.0,
    )
    assert mismatches(stored, now) == [
        Mismatch(value="kl", place=5, stored=float(stored.curves.kl[4]), now=float(kl[4])),
        Mismatch(value="prior_mismatch", place=2, stored=measured.prior_mismatch[1], now=mismatch[1]),
    ]
    assert mismatches(stored, replace(stored, seconds=9.0)) == []


def test_trainings_of_different_length_are_not_compared_any_further(make_result: ByHand) -> None:
    assert mismatches(make_result([1.0] * 3), make_result([2.0] * 5)) == [
        Mismatch(value="epochs", place=None, stored=3, now=5),
    ]


def test_a_single_number_that_differs_has_no_place(make_result: ByHand) -> None:
    assert mismatches(make_result([1.0], unexplained=0.25), make_result([1.0], unexplained=0.5)) == [
        Mismatch(value="unexplained", place=None, stored=0.25, now=0.5)
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.0, -0.0])
def test_a_value_that_is_the_same_again_is_no_mismatch_whatever_it_is(make_result: ByHand, value: float) -> None:
    assert mismatches(make_result([1.0, value]), make_result([1.0, value])) == []


@pytest.mark.parametrize(("stored", "now"), [(math.nan, 1.0), (1.0, math.inf), (math.inf, -math.inf), (0.0, -0.0)])
def test_a_value_of_other_bits_is_a_mismatch_whatever_it_is(make_result: ByHand, stored: float, now: float) -> None:
    (found,) = mismatches(make_result([1.0, stored]), make_result([1.0, now]))
    assert (found.value, found.place) == ("validation_kl", 2)
    assert [str(found.stored), str(found.now)] == [str(stored), str(now)]


def test_a_measure_that_is_not_finite_is_stored_as_no_number_and_that_again_is_no_mismatch(make_result: ByHand) -> None:
    infinite, stored = make_result([1.0], unexplained=math.inf), make_result([1.0], unexplained=math.nan)
    assert mismatches(stored, infinite) == []


def test_of_a_training_that_diverged_only_the_curves_are_compared(make_result: ByHand) -> None:
    assert mismatches(make_result([math.nan], diverged=True), make_result([math.nan], diverged=True)) == []
    assert mismatches(make_result([1.0]), make_result([1.0], diverged=True)) == [
        Mismatch(value="nonfinite_steps", place=1, stored=0.0, now=1.0)
    ]


def finished_row(number: int, left: Result) -> Row:
    now = datetime.now(UTC)
    return Row(
        number=number,
        state=TrialState.COMPLETE,
        run=Run(hyperparameters=BEFORE, seed=number, label="search"),
        owner=this_process(),
        course="",
        result=left,
        score=0.2,
        error="",
        progress={},
        started=now,
        ended=now,
    )


def test_rows_are_trained_again_in_their_order_and_each_as_long_as_it_was(make_result: ByHand) -> None:
    rows = [finished_row(number, make_result([1.0] * epochs)) for number, epochs in ((4, 12), (7, 3), (9, 12))]
    source = RetrainingSource(rows, keep=lambda run, member: None, tell=lambda ended: None)
    assert [(job.number, job.epochs) for job in source.take(2)] == [(4, 12), (7, 3)]
    assert [(job.number, job.epochs) for job in source.take(2)] == [(9, 12)]
    assert source.take(2) == []


def test_of_a_checkpoint_the_rows_that_are_wanted_go_on_and_are_not_begun_anew(make_result: ByHand) -> None:
    rows = [finished_row(number, make_result([1.0] * 12)) for number in (4, 7, 9)]
    source = RetrainingSource(rows, keep=lambda run, member: None, tell=lambda ended: None)
    checkpoint = Checkpoint(
        study="tiny", fingerprint="f", position=9, numbers={0: 7, 3: 8}, snapshot=Snapshot(batch=0, members={})
    )
    assert {slot: job.number for slot, job in source.go_on(checkpoint).items()} == {0: 7}, "nobody asked for row 8"
    assert [job.number for job in source.take(4)] == [4, 9]


def test_rows_of_other_data_are_refused_before_anything_is_trained(workshop: "Workshop", make_result: ByHand) -> None:
    loaded = LoadedDefinition(definition=workshop.definition, toml="", folder=Path(), path=None)
    other = replace(workshop.dataset, fingerprint="of others")
    message = r"rows\.csv: the rows are not those that the study was trained on; restore them\."
    with pytest.raises(StudyConflict, match=message):
        retrain(loaded, other, workshop.facts, finished_row(0, make_result([1.0])), progress=Silence())
