"""What the figures of the models draw."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from klsearch.reports.readings.models import (
    WATCHED,
    annealing_rise,
    curve_bands,
    latent_profiles,
    quartiles,
    seed_strips,
)
from klsearch.studies.record import StudyRecord
from klsearch.studies.verdict.candidates import runs_of
from klsearch.vae.diagnostics.curves import CURVE_NAMES, TrainingCurves

Make = Callable[..., StudyRecord]


def with_kl(study: StudyRecord, rows: list[list[float]]) -> StudyRecord:
    """The study with these validation KLs as the curves of its winner's first seeds, and no other seeds of it."""
    runs = []
    for run, values in zip(runs_of(study, "winner"), rows, strict=False):
        curves = np.zeros((len(values), len(CURVE_NAMES)), np.float32)
        curves[:, CURVE_NAMES.index("validation_kl")] = values
        curves[:, CURVE_NAMES.index("nonfinite_steps")] = ~np.isfinite(values)
        runs.append(replace(run, curves=TrainingCurves.from_rows(curves)))
    return replace(study, confirmation=tuple(runs))


def test_a_band_holds_the_median_and_quartiles_over_the_seeds(study: StudyRecord) -> None:
    (band,) = curve_bands(with_kl(study, [[1, 10], [2, 20], [3, 30], [4, 40], [5, 50]]), "validation_kl")
    assert band.epochs.tolist() == [1, 2]
    assert band.low.tolist() == [2, 20]
    assert band.median.tolist() == [3, 30]
    assert band.high.tolist() == [4, 40]
    assert (band.runs, band.diverged) == (5, 0)


def test_a_seed_that_diverged_counts_only_while_it_was_finite(study: StudyRecord) -> None:
    (band,) = curve_bands(with_kl(study, [[1, 1, 1], [3, np.nan], [5, 5, np.inf]]), "validation_kl")
    assert band.median.tolist() == [3, 3, 1]
    assert (band.runs, band.diverged) == (3, 2)


def test_every_watched_curve_has_a_band_for_winner_and_baselines(study: StudyRecord) -> None:
    for curve in WATCHED:
        assert [band.candidate.name for band in curve_bands(study, curve)] == ["winner", "before", "after"]


def test_a_summed_kl_is_shown_in_the_band_s_unit(make: Make) -> None:
    mean = make(30)
    summed = make(30, study={"kl_reduction": "sum", "kl_band": [0.0, 40.0]})
    one, other = (curve_bands(study, "validation_kl")[1].median for study in (mean, summed))
    np.testing.assert_allclose(other, 8 * one, rtol=1e-6)
    one, other = (curve_bands(study, "validation_reconstruction")[1].median for study in (mean, summed))
    np.testing.assert_array_equal(other, one)


def test_a_study_without_trials_has_nothing_to_draw(make: Make) -> None:
    study = make(0)
    assert curve_bands(study, "total") == ()
    assert seed_strips(study) == ()
    assert latent_profiles(study) == ()


def test_quartiles_of_nothing_finite_are_missing() -> None:
    low, median, high = quartiles(np.array([[np.nan, 1.0], [np.inf, 3.0]]))
    np.testing.assert_array_equal(low, [np.nan, 1.5])
    np.testing.assert_array_equal(median, [np.nan, 2.0])
    np.testing.assert_array_equal(high, [np.nan, 2.5])


def test_strips_hold_every_seed_and_whether_it_passes(study: StudyRecord) -> None:
    strips = seed_strips(study)
    assert [len(strip.kl) for strip in strips] == [8] * 3
    assert strips[0].kl.tolist() == [run.kl for run in runs_of(study, "winner")]
    assert strips[0].passed.all()
    assert not strips[-1].passed.any()


def test_latents_are_sorted_within_each_seed_before_they_are_averaged(study: StudyRecord) -> None:
    parts = np.array([[3.0, 1.0, 2.0], [1.0, 5.0, 4.0]])
    runs = []
    for run, kl in zip(runs_of(study, "winner"), parts, strict=False):
        assert run.measures is not None
        measures = replace(
            run.measures, kl_mean_part=0.25 * kl, kl_variance_part=0.75 * kl, prior_mismatch=np.zeros_like(kl)
        )
        runs.append(replace(run, measures=measures))
    (profile,) = latent_profiles(replace(study, confirmation=tuple(runs)))
    assert profile.kl.tolist() == [4.0, 3.0, 1.0]
    assert profile.mean_part.tolist() == [1.0, 0.75, 0.25]
    assert (profile.runs, profile.collapsed) == (2, 0)


def test_latents_without_kl_are_counted_as_collapsed(make: Make) -> None:
    study = make(30, space={"kl_weight": {"low": 0.6, "high": 0.9}})
    assert latent_profiles(study)[0].collapsed == 7


def test_a_total_that_only_falls_has_no_rise() -> None:
    assert annealing_rise(np.array([3.0, 2.0, 1.0]), np.array([0.1, 0.2, 0.2])) is None


def test_a_rise_after_the_annealing_is_not_explained_by_it() -> None:
    assert annealing_rise(np.array([3.0, 2.0, 1.0, 5.0]), np.array([0.1, 0.2, 0.2, 0.2])) is None


def test_a_total_that_was_never_finite_has_no_rise() -> None:
    assert annealing_rise(np.full(3, np.nan), np.array([0.1, 0.2, 0.2])) is None
    assert annealing_rise(np.full(3, 1.0), np.full(3, np.nan)) is None
