"""Two studies beside each other, from records made by hand."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from scipy.stats import ttest_ind, ttest_rel

from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.record import ConfirmationRun, DataFacts, RunState, StudyRecord
from klsearch.studies.verdict.comparison import COMPARED, Comparison, compare_studies
from klsearch.vae.hyperparameters import Hyperparameters
from tests.studies.conftest import measures_that_leave

DATA = DataFacts(rows={"train": 70}, shape=(3,), scaling="none", fingerprint="d")
NAN = math.nan
# Differences −0.2, −0.3 and −0.1.
GOOD, WORSE = {0: 0.1, 1: 0.2, 2: 0.3}, {0: 0.3, 1: 0.5, 2: 0.4}


def runs_that_leave(unexplained: Mapping[int, float], candidate: str = "trial 0") -> tuple[ConfirmationRun, ...]:
    """A leading trial's runs by seed, with `unexplained` on the test split; NaN where it diverged."""
    return tuple(
        ConfirmationRun(
            candidate=candidate,
            trial=int(candidate.removeprefix("trial ")),
            state=RunState.COMPLETE,
            hyperparameters=Hyperparameters(kl_weight=0.1),
            seed=seed,
            measures=None if math.isnan(value) else measures_that_leave(0.5),
            test=None if math.isnan(value) else measures_that_leave(value),
        )
        for seed, value in unexplained.items()
    )


def study_that_leaves(unexplained: Mapping[int, float], name: str = "first", **tables: dict[str, Any]) -> StudyRecord:
    """A study whose winner left so much unexplained; `tables` change its definition."""
    document: dict[str, dict[str, Any]] = {
        "study": {"name": name, "trials": 20},
        "data": {"source": "rows.npy"},
        "model": {"kind": "dense", "hidden": [8], "latent_dim": 2},
        "training": {"epochs": 60},
        "space": {"kl_weight": {"low": 1e-4, "high": 1.0, "log": True}},
    }
    for table, entries in tables.items():
        document[table] = {**document[table], **entries}
    return StudyRecord(
        name=name,
        definition=StudyDefinition.model_validate(document),
        definition_toml="",
        fingerprint="",
        slots=2,
        trials=(),
        confirmation=runs_that_leave(unexplained),
        winner=0,
        data=DATA,
        provenance={"klsearch": "0.2.0", "Python": "3.12"},
    )


def compared(first: Mapping[int, float], second: Mapping[int, float]) -> Comparison:
    return compare_studies(study_that_leaves(first), study_that_leaves(second, "second"))


def test_winners_are_compared_seed_by_seed_on_the_test_split() -> None:
    """Mean −0.2, standard deviation 0.1, t(0.975, 2) = 4.302653: ± 0.2484."""
    found = compared(GOOD, WORSE)
    assert (found.obstacle, found.unlike, found.unpaired) == ("", "", {})
    assert list(found.paired) == list(COMPARED)
    unexplained = found.paired["unexplained"]
    assert unexplained.mean == pytest.approx(-0.2)
    assert unexplained.pairs == 3
    assert (unexplained.low, unexplained.high) == pytest.approx((-0.44841, 0.04841), abs=1e-5)
    reference = ttest_rel(list(GOOD.values()), list(WORSE.values())).confidence_interval()
    assert (unexplained.low, unexplained.high) == pytest.approx(tuple(reference))
    assert found.better is None, "the interval holds 0"


def test_kl_and_mismatch_are_means_over_latents() -> None:
    """Of (1 + 3) / 2 and (0.1 + 0.3) / 2 for each unit that is left unexplained."""
    found = compared(GOOD, WORSE).paired
    assert found["kl"].mean == pytest.approx(2 * -0.2)
    assert found["prior_mismatch"].mean == pytest.approx(0.2 * -0.2)
    assert found["active_units"].mean == 0


def shifted(by: float) -> dict[int, float]:
    return {seed: value + by + 0.001 * seed for seed, value in GOOD.items()}


@pytest.mark.parametrize(
    ("first", "second", "better"),
    [
        (GOOD, shifted(0.2), "first"),
        (shifted(0.2), GOOD, "second"),
        (GOOD, GOOD, None),
        ({**GOOD, 3: NAN}, {**shifted(0.2), 3: 0.5}, None),  # it diverged on a seed more
        ({**GOOD, 3: 0.1}, {**shifted(0.2), 3: NAN}, "first"),
        ({**GOOD, 3: NAN}, {**shifted(0.2), 3: NAN}, "first"),
    ],
)
def test_the_better_study_leaves_surely_less_unexplained_and_did_not_diverge_more_often(
    first: Mapping[int, float], second: Mapping[int, float], better: str | None
) -> None:
    assert compared(first, second).better == better


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model": {"latent_dim": 3}}, "latent sizes differ (2 and 3)"),
        ({"training": {"batch_size": 64}}, "batch sizes differ (128 and 64)"),
        (
            {"model": {"latent_dim": 3}, "training": {"batch_size": 64}},
            "latent sizes differ (2 and 3) and batch sizes differ (128 and 64)",
        ),
    ],
)
def test_where_one_seed_is_not_the_same_noise_the_means_are_compared(
    changes: dict[str, dict[str, Any]], why: str
) -> None:
    found = compare_studies(study_that_leaves(GOOD), study_that_leaves({7: 0.5, 8: 0.6}, "second", **changes))
    assert (found.unlike, found.obstacle, found.paired) == (why, "", {})
    assert found.found is found.unpaired
    welch = ttest_ind(list(GOOD.values()), [0.5, 0.6], equal_var=False).confidence_interval()
    unexplained = found.unpaired["unexplained"]
    assert (unexplained.low, unexplained.high) == pytest.approx(tuple(welch))
    assert found.better == "first"


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        (
            study_that_leaves(GOOD),
            replace(study_that_leaves(GOOD, "second"), data=None),
            "The studies hold out other rows",
        ),
        (
            study_that_leaves(GOOD),
            replace(study_that_leaves(GOOD, "second"), data=replace(DATA, fingerprint="e")),
            "The studies hold out other rows",
        ),
        (
            study_that_leaves(GOOD, model={"likelihood": "bernoulli"}),
            study_that_leaves(GOOD, "second", model={"likelihood": "student_t"}),
            "The studies' likelihoods measure `unexplained` otherwise (by squared error and by Student's t deviance)",
        ),
        (
            replace(study_that_leaves(GOOD, data={"missing": "mask"}), scoring={"measures": 1}),
            replace(study_that_leaves(GOOD, "second", data={"missing": "mask"}), scoring={"measures": 1, "spread": 1}),
            "One of the studies was measured by an earlier klsearch",
        ),
        (study_that_leaves({}), study_that_leaves(GOOD, "second"), "No winner of first is confirmed yet"),
        (study_that_leaves({}), study_that_leaves({}, "second"), "No winner of first and second is confirmed yet"),
        (
            study_that_leaves(GOOD),
            study_that_leaves({7: 0.1, 8: 0.2}, "second"),
            "The winners were not confirmed on at least two seeds in common.",
        ),
        (
            study_that_leaves({0: 0.1}),
            study_that_leaves({0: 0.2}, "second"),
            "The winners were not confirmed on at least two seeds in common.",
        ),
        (
            study_that_leaves({0: 0.1, 1: NAN}),
            study_that_leaves(GOOD, "second"),
            "Fewer than two seeds remain to compare the winners on; left out, having diverged: first on 1 seed.",
        ),
        (
            study_that_leaves({0: 0.1}),
            study_that_leaves(GOOD, "second", model={"latent_dim": 3}),
            "Either winner needs at least two seeds that were scored on the test split.",
        ),
    ],
    ids=[
        "not loaded",
        "other data",
        "other deviance",
        "other measures",
        "no winner",
        "no winners",
        "other seeds",
        "one seed",
        "diverged",
        "unpaired",
    ],
)
def test_an_obstacle_is_named_and_nothing_compared(first: StudyRecord, second: StudyRecord, why: str) -> None:
    found = compare_studies(first, second)
    assert found.obstacle.startswith(why)
    assert (found.found, found.better) == ({}, None)


@pytest.mark.parametrize(
    "pair", [("gaussian", "bernoulli"), ("gaussian", "gaussian_variance"), ("negative_binomial",) * 2]
)
def test_likelihoods_that_measure_unexplained_alike_are_compared(pair: tuple[str, str]) -> None:
    first, second = (
        study_that_leaves(left, name, model={"likelihood": likelihood})
        for left, name, likelihood in zip((GOOD, WORSE), ("first", "second"), pair, strict=True)
    )
    found = compare_studies(first, second)
    assert not found.obstacle and found.paired["unexplained"].mean == pytest.approx(-0.2)


def test_only_the_winner_s_runs_are_compared() -> None:
    other = replace(
        study_that_leaves(GOOD),
        confirmation=(*runs_that_leave(GOOD), *runs_that_leave(dict.fromkeys(GOOD, 9.0), "trial 5")),
    )
    assert compare_studies(other, study_that_leaves(WORSE, "second")).paired["unexplained"].mean == pytest.approx(-0.2)


def test_two_studies_of_one_name_are_told_apart_by_a_letter() -> None:
    found = compare_studies(study_that_leaves(GOOD), study_that_leaves(shifted(0.2)))
    assert found.studies == ("first (A)", "first (B)")
    assert found.better == "first (A)"
    assert found.differing == {}


def test_differences_of_definition_data_and_machine_stand_by_table_and_key() -> None:
    second = study_that_leaves(
        GOOD, "second", training={"epochs": 80, "clipnorm": 1.0}, space={"l2": {"low": 0.0, "high": 0.1}}
    )
    second = replace(
        second,
        slots=4,
        data=replace(DATA, fingerprint="e", scaling="minmax"),
        provenance={"klsearch": "0.3.0", "Python": "3.12", "GPU": "one"},
    )
    assert compare_studies(study_that_leaves(GOOD), second).differing == {
        ("training", "epochs"): (60, 80),
        ("training", "clipnorm"): (None, 1.0),
        ("space", "l2"): (0.0, None),
        ("space.l2", "low"): (None, 0.0),
        ("space.l2", "high"): (None, 0.1),
        ("space.l2", "log"): (None, False),
        ("as run", "trained together"): (2, 4),
        ("as run", "klsearch"): ("0.2.0", "0.3.0"),
        ("as run", "GPU"): (None, "one"),
        ("as run", "data fingerprint"): ("d", "e"),
        ("as run", "scaling"): ("none", "minmax"),
    }


def test_data_that_one_side_has_not_loaded_differ() -> None:
    found = compare_studies(replace(study_that_leaves(GOOD), data=None), study_that_leaves(GOOD, "second")).differing
    assert found == {("as run", "data fingerprint"): (None, "d"), ("as run", "scaling"): (None, "none")}
