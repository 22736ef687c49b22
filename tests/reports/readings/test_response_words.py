"""Measured responses in words: signs, intervals, units, and what is said where there is nothing to say."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from klsearch.reports.readings.response_words import (
    describe_method,
    explain_too_few,
    format_slope,
    kl_cell,
    kl_change,
)
from klsearch.reports.readings.responses import Responses, Slope
from klsearch.studies.record import StudyRecord

Make = Callable[..., StudyRecord]

FALLING = Slope(change=-3.14159, low=-3.6, high=-2.7)
TENFOLD = Slope(change=1.0, low=0.5, high=1.5)  # in decades


def responses_with(**changes: Any) -> Responses:
    values: dict[str, Any] = {"found": {}, "trials": 40, "needed": 21, "left_out": 0, "explained": 0.9}
    return Responses(**{**values, "kl_is_log": False, "clip_share": 0.004, **changes})


def test_a_slope_has_its_sign_and_the_digits_that_its_interval_bears() -> None:
    assert format_slope(FALLING) == "-3.14 (95 % -3.60 to -2.70)"
    assert format_slope(Slope(change=0.5, low=-math.inf, high=math.inf)) == "+0.5 (95 % –)"
    assert format_slope(Slope(change=-0.0, low=0.0, high=0.0)) == "+0 (95 % 0 to 0)"
    assert format_slope(Slope(change=12345.6, low=9000.0, high=16000.0)) == "+12300 (95 % +9000 to +16000)"


@pytest.mark.parametrize(("reduction", "unit"), [("mean", "nats per latent"), ("sum", "nats over all latents")])
def test_a_change_of_the_kl_is_told_in_the_band_s_unit(make: Make, reduction: str, unit: str) -> None:
    study = make(0, study={"kl_reduction": reduction})
    assert kl_change(study, responses_with(), FALLING) == f"changes the KL by -3.14 {unit} (95 % -3.60 to -2.70)"


def test_where_the_logarithm_was_fitted_the_change_is_a_factor(make: Make) -> None:
    """10^0.5 = 3.16 and 10^1.5 = 31.6."""
    log = responses_with(kl_is_log=True)
    assert kl_change(make(0), log, TENFOLD) == "multiplies the KL by 10 (95 % 3.16 to 31.6)"
    assert kl_cell(log, TENFOLD) == "10 (3.16 to 31.6)"
    assert kl_cell(log, TENFOLD.for_step(-1)) == "0.1 (0.0316 to 0.316)"
    assert kl_cell(responses_with(), TENFOLD) == "+1.00 (+0.50 to +1.50)"


def test_the_method_says_over_how_many_trials_and_how_well_the_fit_holds() -> None:
    told = describe_method(responses_with())
    assert told.startswith("Measured over n = 40 trials: least squares on all searched hyperparameters at once, ")
    assert "explains 90 % of the variance of the KL. " in told
    assert "this is not an experiment" in told


def test_the_method_says_what_it_left_out_and_that_it_took_the_logarithm() -> None:
    told = describe_method(responses_with(left_out=3, kl_is_log=True, explained=math.nan))
    assert told.startswith("Measured over n = 40 trials (3 more diverged or were stopped early): ")
    assert (
        "explains – of the variance of the KL's logarithm, taken because some trial ended far above the band. " in told
    )


def test_too_few_trials_are_told_beside_how_many_it_takes() -> None:
    assert explain_too_few(responses_with(trials=5)).endswith(
        "takes 21 trials that were trained to their end and in which something varied; there are 5."
    )
