"""Finished trainings once more."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from klsearch.search.confirmation.source import Candidate
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.place import known_place
from klsearch.search.storage.rows import Result, Run
from klsearch.search.storage.study import StudyStorage
from klsearch.search.training.retraining import Mismatch, RetrainingSource, mismatches
from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.evaluation.evaluator import Members
from klsearch.vae.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from tests.search.conftest import Finished, Workshop


TWO = [
    Candidate(label="trial 3", hyperparameters=Hyperparameters(kl_weight=0.1, learning_rate=1e-2), is_baseline=False),
    Candidate(label="before", hyperparameters=Hyperparameters(kl_weight=1e-3, learning_rate=1e-2), is_baseline=True),
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


@pytest.fixture(scope="module")
def results(finished: "Finished") -> list[Result]:
    """The stored results of the finished run's trials."""
    place = known_place(str(finished.folder), storage=None, study=None)
    with open_storage(place.url, create=False) as storage:
        results = [row.result for row in StudyStorage.load(storage, place.name).rows()]
    return [result for result in results if result is not None]


def test_the_first_differing_epoch_and_latent_are_named(results: list[Result]) -> None:
    stored = results[0]
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
