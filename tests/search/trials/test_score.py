"""What the search minimises, and its constraints."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from klsearch.search.trials.score import constraints, score, scoring_of
from klsearch.studies.definitions.catalog import template
from klsearch.studies.definitions.parsing import parse_definition
from klsearch.vae.diagnostics.curves import TrainingCurves
from klsearch.vae.diagnostics.gates import CONSTRAINT_GATES, GateThresholds, judge
from klsearch.vae.diagnostics.measures import Measures

BAND = (1.0, 5.0)

unexplained_values = st.floats(0, 100)
kl_values = st.floats(0, 1e6)
penalties = st.floats(0, 100)


@pytest.mark.parametrize(
    ("unexplained", "kl", "band", "penalty", "expected"),
    [
        (0.25, 3.0, (1.0, 5.0), 1.0, 0.25),  # inside
        (0.25, 1.0, (1.0, 5.0), 1.0, 0.25),  # on either edge
        (0.25, 5.0, (1.0, 5.0), 1.0, 0.25),
        (0.25, 9.0, (1.0, 5.0), 1.0, 0.75),  # a whole band above: v = 1, v / (1 + v) = 1/2
        (0.25, 17.0, (1.0, 5.0), 1.0, 1.0),  # three bands above: 3/4
        (0.25, 0.0, (1.0, 5.0), 1.0, 0.45),  # a quarter of a band below: (1/4) / (5/4) = 1/5
        (0.25, 9.0, (1.0, 5.0), 4.0, 2.25),
        (0.25, 9.0, (1.0, 5.0), 0.0, 0.25),
        (7.0, 3.0, (1.0, 5.0), 1.0, 2.0),  # worse than twice the mean's error counts as twice
        (0.0, 20.0, (0.0, 5.0), 1.0, 0.75),
    ],
)
def test_the_score_is_unexplained_with_a_penalty_outside_the_band(
    unexplained: float, kl: float, band: tuple[float, float], penalty: float, expected: float
) -> None:
    assert score(unexplained=unexplained, kl=kl, band=band, penalty=penalty) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("unexplained", "kl"), [(math.nan, 1.0), (0.1, math.nan), (math.inf, 1.0), (0.1, math.inf), (math.nan, math.nan)]
)
def test_a_diverged_trial_scores_the_worst_there_is(unexplained: float, kl: float) -> None:
    assert score(unexplained=unexplained, kl=kl, band=BAND, penalty=1.0) == 3.0
    assert score(unexplained=unexplained, kl=kl, band=BAND, penalty=0.5) == 2.5


@given(unexplained_values, kl_values, penalties)
def test_no_trial_scores_worse_than_a_diverged_one(unexplained: float, kl: float, penalty: float) -> None:
    worst = score(unexplained=math.nan, kl=math.nan, band=BAND, penalty=penalty)
    assert 0 <= score(unexplained=unexplained, kl=kl, band=BAND, penalty=penalty) <= worst == 2 + penalty


@given(unexplained_values, kl_values, kl_values, penalties)
def test_farther_outside_the_band_is_never_better(unexplained: float, kl: float, other: float, penalty: float) -> None:
    near, far = sorted((kl, other))
    assume(near >= BAND[1])
    nearer, farther = (score(unexplained=unexplained, kl=value, band=BAND, penalty=penalty) for value in (near, far))
    assert nearer <= farther


@given(st.floats(0, 2), st.floats(0, 1), st.floats(0, 1), penalties)
def test_farther_below_the_band_is_never_better(unexplained: float, kl: float, other: float, penalty: float) -> None:
    far, near = sorted((kl, other))
    nearer, farther = (score(unexplained=unexplained, kl=value, band=BAND, penalty=penalty) for value in (near, far))
    assert nearer <= farther


@given(kl_values, unexplained_values, unexplained_values)
def test_less_unexplained_is_never_worse(kl: float, one: float, other: float) -> None:
    less, more = sorted((one, other))
    assert score(unexplained=less, kl=kl, band=BAND, penalty=1.0) <= score(
        unexplained=more, kl=kl, band=BAND, penalty=1.0
    )


@given(st.floats(0, 2), st.sampled_from(BAND), st.floats(-1e-6, 1e-6))
def test_the_score_does_not_jump_at_the_band_s_edge(unexplained: float, edge: float, step: float) -> None:
    at, beside = (score(unexplained=unexplained, kl=kl, band=BAND, penalty=1.0) for kl in (edge, edge + step))
    assert abs(at - beside) <= abs(step)


def measures_with(**changes: float) -> Measures:
    latent = np.full(4, 0.5)
    values = {"reconstruction": 1.0, "unexplained": 0.2, "elbo": -1.0, "clip_share_low": 0.0, "clip_share_high": 0.0}
    return Measures(
        **(values | changes),  # type: ignore[arg-type]  # active_units is a whole number in every call
        kl_mean_part=latent,
        kl_variance_part=latent,
        prior_mismatch=latent,
    )


def curves_with_kl(kl: list[float], *, nonfinite: int = 0) -> TrainingCurves:
    rows = np.zeros((len(kl), 10), np.float32)
    rows[:, 4], rows[0, 5], rows[-1, 9] = kl, 9.0, nonfinite
    return TrainingCurves.from_rows(rows)


THRESHOLDS = GateThresholds(kl_band=(0.0, 5.0), window=2, max_kl_slope=0.01, min_active_share=0.5, max_clip_share=0.05)


def test_constraints_are_violations_in_units_of_their_thresholds() -> None:
    # KL: mean of 9 and 11 is 10, one band of 5 above 5. Slope: 2 per epoch / 10 = 0.2, 19 times 0.01 above it.
    # Active: 1 of the 2 needed. Clipping: 0.1 is one threshold of 0.05 above it.
    gates = judge(curves_with_kl([0.0, 9.0, 11.0]), measures_with(active_units=1, clip_share_high=0.1), THRESHOLDS)
    assert constraints(gates) == pytest.approx({"band": 1.0, "settled": 19.0, "alive": 0.5, "clipping": 1.0})


def test_a_trial_that_passes_every_gate_violates_nothing() -> None:
    gates = judge(curves_with_kl([0.0, 2.0, 2.0]), measures_with(active_units=4), THRESHOLDS)
    assert set(constraints(gates)) == set(CONSTRAINT_GATES)
    assert all(violation <= 0 for violation in constraints(gates).values())


def test_a_diverged_trial_violates_every_constraint_by_a_large_finite_number() -> None:
    violations = constraints(judge(curves_with_kl([0.0, math.nan], nonfinite=1), None, THRESHOLDS))
    assert set(violations) == set(CONSTRAINT_GATES)
    assert all(1e5 < violation < math.inf for violation in violations.values())


@pytest.mark.parametrize("likelihood", ["gaussian", "student_t", "negative_binomial"])
@pytest.mark.parametrize("missing", ["refuse", "mask"])
def test_only_where_gaps_once_counted_as_the_mean_are_scores_no_longer_comparable(
    likelihood: str, missing: str
) -> None:
    """A deviance that is fitted to the training rows was fitted to rows whose gaps were filled."""
    text = template().replace('likelihood = "gaussian"', f'likelihood = "{likelihood}"')
    text = text.replace("[data]", f'[data]\nmissing = "{missing}"', 1)
    now = scoring_of(parse_definition(text, "my.toml"))
    first = {"measures": 1, "score": 1}
    assert now == (first if likelihood == "gaussian" or missing == "refuse" else first | {"spread": 1})
