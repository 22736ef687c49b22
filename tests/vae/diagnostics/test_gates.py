"""Gates, slopes, intervals and the verdict: hand-made curves with known answers."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klsearch.vae.diagnostics.curves import CURVE_NAMES, TrainingCurves
from klsearch.vae.diagnostics.gates import (
    CONSTRAINT_GATES,
    DIVERGED_VIOLATION,
    GATE_NAMES,
    Gate,
    GateThresholds,
    Verdict,
    final_kl,
    judge,
    kl_slope,
    verdict,
    wilson_interval,
)
from klsearch.vae.diagnostics.measures import Measures

KL_CURVES = st.lists(st.floats(0.125, 50, width=32), min_size=2, max_size=12)


def kl_curves(kl: list[float], **others: list[float]) -> TrainingCurves:
    """Curves with this validation KL; the reconstruction error falls from 2 to 1."""
    rows = np.zeros((len(kl), len(CURVE_NAMES)), np.float32)
    rows[:, CURVE_NAMES.index("validation_kl")] = kl
    rows[:, CURVE_NAMES.index("validation_reconstruction")] = np.linspace(2, 1, len(kl))
    for name, values in others.items():
        rows[:, CURVE_NAMES.index(name)] = values
    return TrainingCurves.from_rows(rows)


HEALTHY = Measures(
    reconstruction=1.0,
    unexplained=0.3,
    elbo=-40.0,
    active_units=6,
    clip_share_low=0.0,
    clip_share_high=0.01,
    kl_mean_part=np.full(8, 1.5),
    kl_variance_part=np.full(8, 1.0),
    prior_mismatch=np.zeros(8),
)
SETTLED = kl_curves([9.0, 4.0, 2.0, 2.0, 2.0, 2.0, 2.0])


def gate(name: str, trial: TrainingCurves, measures: Measures | None = HEALTHY, **changes: object) -> Gate:
    judged = judge(trial, measures, replace(GateThresholds(), **changes))  # type: ignore[arg-type]
    return judged[GATE_NAMES.index(name)]


def failed_gates(trial: TrainingCurves, measures: Measures | None = HEALTHY) -> list[str]:
    return [gate.name for gate in judge(trial, measures, GateThresholds()) if not gate.passed]


def test_a_healthy_trial_passes_every_gate() -> None:
    gates = judge(SETTLED, HEALTHY, GateThresholds())
    assert tuple(gate.name for gate in gates) == GATE_NAMES
    assert all(gate.passed and gate.violation <= 0 for gate in gates)
    assert [gate.value for gate in gates] == [0, 2, 0, 0.3, 6, 0.01]


@pytest.mark.parametrize(
    ("kl", "window", "expected"),
    [([9, 1, 2, 3], 3, 2.0), ([9, 1, 2, 3], 1, 3.0), ([1, 2], 5, 1.5), ([1, math.nan, 3], 2, math.nan)],
)
def test_the_final_kl_is_the_mean_over_the_window(kl: list[float], window: int, expected: float) -> None:
    assert final_kl(kl_curves(kl), window) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("kl", "expected"),
    [
        ([7, 2, 2, 2, 2, 2], 0.0),
        ([0, 1, 2, 3, 4, 5], 1 / 3),  # slope 1 over the mean of 1..5
        ([5, 5, 4, 3, 2, 1], -1 / 3),
        ([1, 3], 1.0),  # slope 2 over the mean 2
        ([0, 0.01, 0.01, 0.01, 0.01, 0.02], 0.04),  # slope 0.002 over the floor of 0.05
        ([3], math.nan),
        ([1, 2, math.nan, 2, 2], math.nan),
        ([1, 2, math.inf, 2, 2], math.nan),
    ],
)
def test_the_slope_is_relative_to_the_mean_of_the_window(kl: list[float], expected: float) -> None:
    assert kl_slope(kl_curves(kl), window=5) == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_a_trial_that_was_never_trained_has_neither_final_kl_nor_slope() -> None:
    assert math.isnan(final_kl(kl_curves([]), 5))
    assert math.isnan(kl_slope(kl_curves([]), 5))


@given(kl=KL_CURVES, scale=st.sampled_from([0.5, 2.0, 8.0]))
def test_the_slope_does_not_depend_on_the_scale_of_kl(kl: list[float], scale: float) -> None:
    assert kl_slope(kl_curves([scale * value for value in kl]), 5) == pytest.approx(
        kl_slope(kl_curves(kl), 5), rel=1e-6
    )


@given(kl=KL_CURVES)
def test_a_curve_turned_around_has_the_opposite_slope(kl: list[float]) -> None:
    assert kl_slope(kl_curves(kl[::-1]), len(kl)) == pytest.approx(-kl_slope(kl_curves(kl), len(kl)), abs=1e-12)


@given(kl=KL_CURVES)
def test_the_slope_is_that_of_a_least_squares_line(kl: list[float]) -> None:
    line = np.polynomial.Polynomial.fit(np.arange(len(kl)), kl, 1)
    assert kl_slope(kl_curves(kl), len(kl)) == pytest.approx(line.deriv()(0) / np.mean(kl), abs=1e-9)


@pytest.mark.parametrize(
    ("kl", "passed", "violation"),
    [(0.0, True, 0.0), (5.0, True, 0.0), (2.5, True, -0.5), (5.1, False, 0.02), (20.0, False, 3.0)],
)
def test_the_band_gate_measures_the_distance_in_bands(kl: float, passed: bool, violation: float) -> None:
    judged = gate("band", kl_curves([kl] * 6))
    assert (judged.passed, judged.threshold) == (passed, "0 to 5")
    assert judged.violation == pytest.approx(violation, abs=1e-6)


def test_the_band_is_in_the_unit_of_the_reduction() -> None:
    judged = gate("band", SETTLED, kl_reduction="sum", kl_band=(4.0, 12.0))
    assert judged.value == 16  # 2 nats per latent, 8 latents
    assert judged.violation == 0.5
    assert not judged.passed


def test_a_kl_below_the_band_fails_as_one_above_does() -> None:
    assert gate("band", SETTLED, kl_band=(3.0, 5.0)).violation == 0.5


@pytest.mark.parametrize(
    ("last", "passed"), [(2.0, True), (2.019, True), (2.025, False), (1.981, True), (1.975, False)]
)
def test_the_settled_gate_asks_that_kl_moves_neither_up_nor_down(last: float, passed: bool) -> None:
    kl = [9.0, 9.0, *np.linspace(2.0, 2.0 + 4 * (last - 2.0), 5)]
    assert gate("settled", kl_curves(kl)).passed is passed


@pytest.mark.parametrize(
    ("reconstruction", "unexplained", "passed"),
    [(1.0, 0.3, True), (2.5, 0.3, False), (2.0, 0.3, False), (1.0, 1.0, False), (math.nan, 0.3, False)],
)
def test_the_reconstruction_gate_asks_to_beat_epoch_1_and_the_mean(
    reconstruction: float, unexplained: float, passed: bool
) -> None:
    measures = replace(HEALTHY, reconstruction=reconstruction, unexplained=unexplained)
    assert gate("reconstruction", SETTLED, measures).passed is passed


@pytest.mark.parametrize(
    ("active", "share", "needed", "passed"),
    [
        (2, 0.2, 2, True),
        (1, 0.2, 2, False),
        (1, 0.0, 1, True),
        (0, 0.0, 1, False),
        (8, 1.0, 8, True),
        (4, 0.5, 4, True),
    ],
)
def test_the_alive_gate_asks_for_a_share_of_the_latents_and_at_least_one(
    active: int, share: float, needed: int, passed: bool
) -> None:
    judged = gate("alive", SETTLED, replace(HEALTHY, active_units=active), min_active_share=share)
    assert judged.passed is passed
    assert judged.violation == (needed - active) / needed
    assert judged.threshold == f"at least {needed} active latents"


@pytest.mark.parametrize(
    ("low", "high", "allowed", "violation"),
    [(0.05, 0.0, 0.05, 0.0), (0.0, 0.1, 0.05, 1.0), (0.1, 0.2, 0.1, 1.0), (0.25, 0.0, 0.0, 0.25), (0.0, 0.0, 0.0, 0.0)],
)
def test_the_clipping_gate_takes_the_larger_share(low: float, high: float, allowed: float, violation: float) -> None:
    measures = replace(HEALTHY, clip_share_low=low, clip_share_high=high)
    judged = gate("clipping", SETTLED, measures, max_clip_share=allowed)
    assert judged.violation == pytest.approx(violation)
    assert judged.passed is (violation <= 0)


def test_a_collapsed_trial_lies_in_the_band_and_is_not_alive() -> None:
    collapsed = replace(HEALTHY, active_units=0, unexplained=1.002, reconstruction=1.9)
    assert failed_gates(kl_curves([0.4, 0.01, 0.001, 0, 0, 0, 0]), collapsed) == ["reconstruction", "alive"]


def test_a_trial_that_diverged_violates_every_constraint_by_a_finite_number() -> None:
    diverged = kl_curves([2.0, math.nan, math.nan], nonfinite_steps=[0, 3, 10])
    for measures in (None, HEALTHY):
        gates = judge(diverged, measures, GateThresholds())
        assert not any(gate.passed for gate in gates)
        assert gates[0].value == 13
        assert all(gate.violation == DIVERGED_VIOLATION for gate in gates if gate.name in CONSTRAINT_GATES)


def test_a_trial_that_was_not_measured_passes_no_gate_but_finite() -> None:
    assert failed_gates(SETTLED, None) == list(GATE_NAMES[1:])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_not_finite_passes_no_gate(value: float) -> None:
    broken = replace(HEALTHY, reconstruction=value, unexplained=value, clip_share_high=value)
    assert failed_gates(kl_curves([2, 2, 2, 2, 2, value]), broken) == [
        "band",
        "settled",
        "reconstruction",
        "clipping",
    ]
    assert all(math.isfinite(gate.violation) for gate in judge(SETTLED, broken, GateThresholds()))


@pytest.mark.parametrize(
    ("passed", "total", "low", "high"),
    [
        (0, 0, 0.0, 1.0),
        (8, 8, 0.6756, 1.0),
        (0, 8, 0.0, 0.3244),
        (7, 8, 0.5291, 0.9776),
        (1, 10, 0.0179, 0.4042),
        (5, 10, 0.2366, 0.7634),
        (19, 20, 0.7639, 0.9911),
    ],
)
def test_the_wilson_interval_has_its_known_values(passed: int, total: int, low: float, high: float) -> None:
    assert wilson_interval(passed, total) == pytest.approx((low, high), abs=1e-4)


@given(total=st.integers(1, 500), data=st.data())
def test_the_wilson_interval_holds_the_rate_and_mirrors_it(total: int, data: st.DataObject) -> None:
    passed = data.draw(st.integers(0, total))
    low, high = wilson_interval(passed, total)
    assert 0 <= low <= passed / total + 1e-12
    assert passed / total - 1e-12 <= high <= 1
    assert wilson_interval(total - passed, total) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@pytest.mark.parametrize(
    ("passed", "seeds", "trials", "caveats", "expected"),
    [
        (8, 8, 20, (), Verdict.STABLE),
        (8, 8, 20, ("a baseline ties",), Verdict.CAVEATS),
        (7, 8, 20, (), Verdict.CAVEATS),
        (6, 8, 20, (), Verdict.CAVEATS),
        (5, 8, 20, (), Verdict.NOT_STABLE),
        (5, 8, 20, ("a baseline ties",), Verdict.NOT_STABLE),
        (0, 8, 20, (), Verdict.NOT_STABLE),
        (18, 19, 20, (), Verdict.CAVEATS),
        (19, 20, 20, (), Verdict.STABLE),
        (18, 20, 20, (), Verdict.CAVEATS),
        (57, 60, 20, (), Verdict.STABLE),
        (7, 7, 20, (), Verdict.NOT_ENOUGH_EVIDENCE),
        (8, 8, 19, (), Verdict.NOT_ENOUGH_EVIDENCE),
        (0, 0, 100, (), Verdict.NOT_ENOUGH_EVIDENCE),
    ],
)
def test_the_verdict_over_seeds(
    passed: int, seeds: int, trials: int, caveats: tuple[str, ...], expected: Verdict
) -> None:
    assert verdict(passed, seeds, finished_trials=trials, caveats=caveats) is expected


@given(twentieths=st.integers(1, 5000))
def test_exactly_95_percent_of_many_seeds_are_enough(twentieths: int) -> None:
    assert verdict(19 * twentieths, 20 * twentieths, finished_trials=20) is Verdict.STABLE
    assert verdict(19 * twentieths - 1, 20 * twentieths, finished_trials=20) is Verdict.CAVEATS
