"""Figures over the KL weight: their text and the numbers behind them, from trials made by hand."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from klsearch.reports.figures.kl_weight_exhibits import kl_weight_exhibits, marks_on_axis
from klsearch.reports.page import Exhibit
from klsearch.reports.readings.kl_weights import weighed_runs
from klsearch.studies.ladder import rung_settings
from klsearch.studies.record import StudyRecord
from klsearch.vae.hyperparameters import Hyperparameters

Make = Callable[..., StudyRecord]

WEIGHTS: dict[str, Any] = {"kl_weight": {"low": 1e-4, "high": 1.0, "log": True}}


def exhibits_of(study: StudyRecord) -> tuple[Exhibit, ...]:
    return kl_weight_exhibits(study, weighed_runs(study))


def with_trials(
    study: StudyRecord, settings: Sequence[Hyperparameters], measured: Sequence[tuple[float, float, int]]
) -> StudyRecord:
    """The study with trials of these settings that ended at this KL, `unexplained` and number of active latents."""
    one = next(trial for trial in study.trials if trial.passed)
    assert one.measures is not None
    trials = [
        replace(
            one,
            number=number,
            hyperparameters=of,
            kl=kl,
            measures=replace(one.measures, unexplained=unexplained, active_units=active),
        )
        for number, (of, (kl, unexplained, active)) in enumerate(zip(settings, measured, strict=True))
    ]
    return replace(study, trials=tuple(trials))


@pytest.fixture
def short(make: Make) -> StudyRecord:
    """A study that searches the KL weight alone; nobody but its best trial is compared."""
    return make(10, seeds=0, space=WEIGHTS, baselines={})


def test_a_ladder_is_told_rung_by_rung_then_who_is_compared(short: StudyRecord) -> None:
    rungs = rung_settings(short.definition, 3)
    study = replace(with_trials(short, rungs, [(20.0, 0.3, 8), (4.0, 0.2, 8), (0.01, 0.9, 0)]), ladder=3)
    kl, unexplained, active = exhibits_of(study)
    assert kl.data.columns == ("KL weight", "training", "final KL, nats per latent")
    assert kl.data.rows[:3] == (("0.0001", "trial 0", "20"), ("0.01", "trial 1", "4"), ("1", "trial 2", "0.01"))
    assert [row[1] for row in kl.data.rows[3:]] == ["best so far (trial 0)"]
    assert kl.alternative == (
        "Final KL, nats per latent by KL weight, one training each: 0.0001: 20; 0.01: 4; 1: 0.01. "
        "Beside them best so far (trial 0) at 0.0001: 20. The band is 0 to 5."
    )
    assert [row[2] for row in unexplained.data.rows[:3]] == ["0.3", "0.2", "0.9"]
    assert [row[2] for row in active.data.rows[:3]] == ["8", "8", "0"]
    assert unexplained.caption == active.caption == "Shaded: KL weights that put the KL into the band."


def test_without_a_rung_in_the_band_no_weights_are_shaded(short: StudyRecord) -> None:
    rungs = rung_settings(short.definition, 3)
    study = replace(with_trials(short, rungs, [(20.0, 0.3, 8), (9.0, 0.2, 8), (6.0, 0.9, 8)]), ladder=3)
    assert [one.caption for one in exhibits_of(study)] == ["The band is shaded.", "", ""]


def test_other_trials_are_told_by_part_of_the_range(short: StudyRecord) -> None:
    settings = [replace(short.trials[0].hyperparameters, kl_weight=weight) for weight in (1e-4, 2e-4, 3e-4, 1.0)]
    study = with_trials(short, settings, [(20.0, 0.3, 8), (10.0, 0.25, 8), (12.0, 0.2, 8), (1.0, 0.9, 2)])
    kl, _, active = exhibits_of(study)
    assert kl.data.rows[0] == ("0.0001 to 0.000631", "3", "10 to 20", "12")
    assert kl.data.rows[1] == ("0.000631 to 0.003981", "0", "", "–")
    assert active.data.rows[4] == ("0.1585 to 1", "1", "2 to 2", "2")
    assert "median of the trials in each part of its range: 0.0001 to 0.000631: 12;" in kl.alternative


def test_a_logarithmic_axis_reaches_a_candidate_beyond_and_a_linear_one_does_not(make: Make) -> None:
    beyond = {"mine": {"kl_weight": 30.0}, "none": {"kl_weight": 0.0}}
    studies = [
        make(20, space={"kl_weight": {"low": 0.01, "high": 1.0, "log": log}}, baselines=beyond) for log in (True, False)
    ]
    drawn = [{one.name for _, one in marks_on_axis(study, weighed_runs(study))} for study in studies]
    assert drawn == [{"winner", "before", "after", "mine"}, {"winner"}]
