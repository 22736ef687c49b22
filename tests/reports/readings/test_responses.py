"""How KL responds to each hyperparameter: against known slopes, and against scipy's regression."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import linregress

from klsearch.reports.readings.responses import Slope, responses
from klsearch.studies.record import RunState, StudyRecord, TrialRecord
from klsearch.vae.hyperparameters import Hyperparameters

Make = Callable[..., StudyRecord]
Law = Callable[[Hyperparameters], float]


def obeying(study: StudyRecord, law: Law, *, noise: float = 0.0, seed: int = 0) -> StudyRecord:
    """The study with the KL of every trial as a law of its settings has it, and noise that grows with the weight."""
    rng = np.random.default_rng(seed)

    def changed(trial: TrialRecord) -> TrialRecord:
        spread = noise * (1 + abs(np.log10(trial.hyperparameters.kl_weight)))
        return replace(trial, kl=law(trial.hyperparameters) + spread * rng.normal())

    return replace(study, trials=tuple(changed(trial) for trial in study.trials if not trial.diverged))


def issue_law(settings: Hyperparameters) -> float:
    """−3.1 per decade of KL weight, +0.5 per unit of the upper clip bound, −2 per unit of dropout."""
    weight = -3.1 * np.log10(settings.kl_weight)
    return float(weight + 0.5 * settings.clip_high - 2 * settings.encoder_dropout)


def test_slopes_without_noise_are_exact(study: StudyRecord) -> None:
    found = responses(obeying(study, issue_law)).found
    assert found["kl_weight"].kl.change == pytest.approx(-3.1)
    assert found["clip_high"].kl.change == pytest.approx(0.5)
    assert found["encoder_dropout"].kl.change == pytest.approx(-0.2), "per 0.1"
    assert found["l2"].kl.change == pytest.approx(0, abs=1e-9)
    assert (found["kl_weight"].step, found["clip_high"].step) == ("decade", "1")
    assert (found["annealing_epochs"].step, found["encoder_dropout"].step) == ("10 epochs", "0.1")


def test_a_curved_response_is_no_other_hyperparameter_s(make: Make) -> None:
    """A steep exponential curve in the KL weight, with dropout tried where the weight is low: no effect of its own."""

    def together(trial: TrialRecord) -> TrialRecord:
        settings = trial.hyperparameters
        at = -np.log10(settings.kl_weight) / 5  # 0..1
        dropout = float(np.clip(0.5 * at**2 + 0.02 * np.sin(trial.number), 0, 0.5))
        return replace(trial, hyperparameters=replace(settings, encoder_dropout=dropout))

    study = make(80, seeds=0)
    drawn = replace(study, trials=tuple(together(trial) for trial in study.trials))
    bent = obeying(drawn, lambda settings: float(np.log10(settings.kl_weight) ** 2), noise=0.02)
    assert responses(bent).found["encoder_dropout"].kl.direction == 0
    assert responses(bent).found["kl_weight"].kl.direction == -1


def test_one_hyperparameter_has_the_slope_of_a_simple_regression(make: Make) -> None:
    study = make(40, seeds=0, space={"kl_weight": {"low": 1e-3, "high": 1.0, "log": True}})
    study = obeying(study, lambda settings: -3.1 * float(np.log10(settings.kl_weight)), noise=0.3)
    weights = np.log10([trial.hyperparameters.kl_weight for trial in study.trials])
    centred = weights - weights.mean()
    # Frisch and Waugh (1933): the slope on what is left of the variable once its square is taken out of it.
    square = linregress(centred**2, centred)
    left = centred - square.slope * centred**2 - square.intercept
    kl = np.array([trial.kl for trial in study.trials])
    assert responses(study).found["kl_weight"].kl.change == pytest.approx(linregress(left, kl).slope)


def test_intervals_hold_the_truth_as_often_as_they_say(study: StudyRecord) -> None:
    runs = [responses(obeying(study, issue_law, noise=0.3, seed=seed)).found for seed in range(200)]
    truth = {"kl_weight": -3.1, "clip_high": 0.5, "encoder_dropout": -0.2, "l2": 0.0}
    for name, slope in truth.items():
        held = sum(one[name].kl.low <= slope <= one[name].kl.high for one in runs)
        assert 0.90 <= held / 200 <= 0.99, name


def test_the_interval_is_hc3_s_by_hand() -> None:
    """Four points on two levels: means 1 and 4, residuals ±1 and ±2, every leverage ½."""
    from klsearch.reports.readings.responses import _fit

    design = np.array([[1, -0.5], [1, -0.5], [1, 0.5], [1, 0.5]])
    (slope,), explained = _fit(design, np.array([0.0, 2.0, 2.0, 6.0]), 1)
    # Var(mean) = Σ (r / ½)² / 2² = 2 and 8; t(2) = 4.302653
    assert slope.change == pytest.approx(3.0)
    assert slope.high - slope.change == pytest.approx(4.302653 * np.sqrt(2 + 8))
    assert explained == pytest.approx(1 - 2.5 / 4.75)


def test_too_few_trials_or_none_that_varies_give_no_slopes(make: Make) -> None:
    assert responses(make(0)).found == {}
    few = responses(make(20, seeds=0))
    assert (few.found, few.needed) == ({}, 21), "six slopes and an intercept"
    study = make(30, seeds=0)
    same = tuple(replace(t, hyperparameters=study.trials[3].hyperparameters) for t in study.trials)
    assert responses(replace(study, trials=same)).found == {}


def test_a_hyperparameter_that_never_varied_alone_has_no_slope(study: StudyRecord) -> None:
    def tie(settings: Hyperparameters) -> Hyperparameters:
        return replace(settings, clip_high=2.0, clip_low=-4 - 30 * settings.encoder_dropout)

    tied = tuple(replace(trial, hyperparameters=tie(trial.hyperparameters)) for trial in study.trials)
    found = responses(obeying(replace(study, trials=tied), issue_law)).found
    assert set(found) == {"kl_weight", "clip_low", "annealing_epochs", "l2"}


def test_diverged_trials_are_left_out_and_counted(study: StudyRecord) -> None:
    measured = responses(study)
    diverged = sum(trial.diverged for trial in study.trials)
    assert diverged > 0
    assert (measured.trials, measured.left_out) == (60 - diverged, diverged)


def whole_only(study: StudyRecord) -> StudyRecord:
    return replace(study, trials=tuple(trial for trial in study.trials if trial.state is not RunState.PRUNED))


def test_trials_stopped_early_are_left_out_and_counted(pruning: StudyRecord) -> None:
    whole = responses(whole_only(pruning))
    assert whole.found
    assert responses(pruning) == replace(whole, left_out=whole.left_out + 30)


def test_a_summed_kl_has_slopes_in_the_band_s_unit(make: Make) -> None:
    study = make(40, seeds=0)
    summed = make(40, seeds=0, study={"kl_reduction": "sum", "kl_band": [0.0, 40.0]})
    one, eight = (responses(one).found["kl_weight"].kl.change for one in (study, summed))
    assert eight == pytest.approx(8 * one)


def test_a_kl_far_above_the_band_is_measured_by_its_factor(study: StudyRecord) -> None:
    """KL = 20 / weight, up to two millions: a decade less of KL weight makes ten times the KL."""
    wild = obeying(study, lambda settings: 20 / settings.kl_weight)
    measured = responses(wild)
    assert measured.kl_is_log
    assert measured.found["kl_weight"].kl.change == pytest.approx(-1)


def test_a_slope_points_up_or_down_only_where_its_interval_leaves_zero_out() -> None:
    assert Slope(change=-3.1, low=-3.6, high=-2.7).direction == -1
    assert Slope(change=-3.1, low=-3.6, high=-2.7).for_step(-1) == Slope(change=3.1, low=2.7, high=3.6)
    assert Slope(change=1.0, low=-0.1, high=2.1).direction == 0


def test_a_choice_is_held_while_the_slopes_of_the_others_are_measured(make: Make) -> None:
    """A schedule adds 2 nats, and was tried with high KL weights: no slope of theirs."""

    def tried(trial: TrialRecord) -> TrialRecord:
        often = trial.hyperparameters.kl_weight > 1e-3 or trial.number % 5 == 0
        return replace(trial, hyperparameters=replace(trial.hyperparameters, kl_schedule=("linear", "cosine")[often]))

    space = {
        "kl_weight": {"low": 1e-5, "high": 1.0, "log": True},
        "annealing_epochs": 10,
        "kl_schedule": ["linear", "cosine"],
    }
    study = make(60, seeds=0, space=space)
    drawn = replace(study, trials=tuple(tried(trial) for trial in study.trials))
    measured = responses(obeying(drawn, lambda settings: 5 + 2 * (settings.kl_schedule == "cosine")))
    assert measured.found["kl_weight"].kl.change == pytest.approx(0, abs=1e-9)
    assert list(measured.found) == ["kl_weight"]
