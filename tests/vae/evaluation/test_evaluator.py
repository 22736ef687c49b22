"""Measures of models whose encoder and decoder are known matrices, worked out by hand."""

import math
from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import ArrayLike

from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.evaluation.evaluator import FINAL_SAMPLES, Evaluator, Members, joined
from klsearch.vae.likelihoods.bernoulli import BERNOULLI
from klsearch.vae.networks.network import Network
from klsearch.vae.objective import Objective


def float32(values: ArrayLike) -> np.ndarray:
    return np.asarray(values, np.float32)


# Mean (1, 1), by which predicting costs 2 per row; each column has the variance 1.
SQUARE = float32([[0, 0], [2, 0], [0, 2], [2, 2]])
RANDOM = float32(np.random.default_rng(0).normal(size=(5000, 2)))
SPLITS: dict[int, dict[str, np.ndarray]] = {
    1: {
        "train": float32([[0], [2]]),
        "line": float32([[-3], [-2], [1], [2]]),
        "at 4.1": float32([[0.0], [4.1], [4.1], [4.1]]),
    },
    2: {
        "train": SQUARE,
        "square": SQUARE,
        "corner": SQUARE[[3]],
        "moved": float32([[3, 1], [1, 3]]),
        "still": float32([[0, 5], [2, 5], [0, 5], [2, 5]]),
        "thirteen": RANDOM[:13],
        "random": RANDOM,
    },
}
# The known training values have the mean (1, 2/3).
GAPPED = {
    "train": float32([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, math.nan]]),
    "other": float32([[3.0, math.nan], [1.0, 3.0]]),
}
NO_NOISE = -60.0  # σ = e⁻³⁰ leaves z equal to μ in float32
GAUSSIAN = Objective()
ONE = np.ones((1, 1))


@cache
def linear_network(features: int) -> Network:
    """As many latents as features, one linear layer each way."""
    rows, z = keras.Input((features,)), keras.Input((features,))
    heads = [keras.layers.Dense(features)(rows) for _ in range(2)]
    return Network(encoder=keras.Model(rows, heads), decoder=keras.Model(z, keras.layers.Dense(features)(z)))


@cache
def evaluator(features: int, objective: Objective) -> Evaluator:
    """Measures linear networks on `SPLITS`."""
    return Evaluator(linear_network(features), SPLITS[features], objective)


def linear_member(
    mean: np.ndarray,
    decoder: np.ndarray,
    *,
    log_var: float | np.ndarray = NO_NOISE,
    clip: tuple[float, float] = (-math.inf, math.inf),
) -> Members:
    """One member: μ = x · mean, raw z_log_var constant or x · log_var, reconstruction = z · decoder."""
    size = len(mean)
    if isinstance(log_var, np.ndarray):
        slopes, offset = log_var, np.zeros(size)
    else:
        slopes, offset = np.zeros((size, size)), np.full(size, log_var)
    weights = [mean, np.zeros(size), slopes, offset, decoder, np.zeros(size)]
    return Members(
        weights=[tf.constant(value[np.newaxis], tf.float32) for value in weights],
        others=[],
        clip_low=float32(clip[:1]),
        clip_high=float32(clip[1:]),
    )


def measure(members: Members, split: str = "square", objective: Objective = GAUSSIAN) -> Measures:
    return evaluator(members.weights[0].shape[1], objective).measure(members, split)[0]


EXACT = linear_member(np.eye(2), np.eye(2))  # μ = x, reconstruction x
HALVED = linear_member(np.eye(2), np.eye(2) / 2)  # μ = x, reconstruction x / 2
NOISY = linear_member(np.eye(2), np.eye(2), log_var=1.0)


def test_unexplained_is_the_squared_error_over_that_of_predicting_the_mean() -> None:
    # ¼ of the squared norms 0, 4, 4, 8 is 1 per row; predicting the mean costs 2.
    measures = measure(HALVED)
    assert measures.reconstruction == pytest.approx(1.0)
    assert measures.unexplained == pytest.approx(0.5)


def test_the_mean_is_that_of_the_training_split_and_the_rows_are_those_of_the_other() -> None:
    # Predicting (1, 1) on rows (3, 1) and (1, 3) costs 4 per row; half of them costs ¼ of 10.
    assert measure(HALVED, "moved").unexplained == pytest.approx(2.5 / 4)


def test_the_reconstruction_follows_the_reduction_and_unexplained_does_not() -> None:
    measures = measure(HALVED, objective=Objective(reconstruction_reduction="mean"))
    assert measures.reconstruction == pytest.approx(0.5)
    assert measures.unexplained == pytest.approx(0.5)


def test_kl_has_a_mean_part_and_a_variance_part_per_latent() -> None:
    measures = measure(linear_member(np.diag([1.0, 3.0]), np.eye(2), log_var=-4.0))
    variance_part = 0.5 * (math.exp(-4) + 3)
    assert measures.kl_mean_part == pytest.approx([1.0, 9.0])  # ½ · mean of 0, 4, 0, 4; nine times as much
    assert measures.kl_variance_part == pytest.approx([variance_part] * 2)
    assert measures.kl == pytest.approx(5 + variance_part)
    assert measures.latent_dim * measures.kl == pytest.approx(np.sum(measures.kl_per_latent))


def test_the_gaussian_elbo_takes_the_best_single_variance_from_the_training_split() -> None:
    # Training error ½ per feature: σ² = ½, so D/2 · ln(2πσ²) + 1 / 2σ² = ln π + 1; KL 2 · (1 + 29.5).
    assert measure(HALVED).elbo == pytest.approx(-(math.log(math.pi) + 1 + 61))
    # The row (2, 2) alone costs 2 and has the KL 2 · (2 + 29.5); σ² stays.
    assert measure(HALVED, "corner").elbo == pytest.approx(-(math.log(math.pi) + 2 + 63))


def test_a_large_training_split_gives_the_variance_by_rows_from_all_over_it() -> None:
    rows = float32(np.sort(np.random.default_rng(1).normal(size=(20_000, 2)), axis=0))  # the first ones are all small
    measures = Evaluator(linear_network(2), {"train": rows, "square": SQUARE}, GAUSSIAN).measure(HALVED, "square")[0]
    variance = np.mean(np.square(rows)) / 4
    assert measures.elbo == pytest.approx(-(math.log(2 * math.pi * variance) + 1 / (2 * variance) + 61), abs=0.01)


def test_the_variance_of_a_perfect_reconstruction_has_a_floor() -> None:
    assert measure(EXACT).elbo == pytest.approx(-(math.log(2 * math.pi * 1e-6) + 61))


def test_the_bernoulli_elbo_is_cross_entropy_and_kl() -> None:
    # A decoder that gives logits of 0 says ½ everywhere: ln 2 per feature, whatever the row.
    objective = Objective(likelihood=BERNOULLI, reconstruction_reduction="mean")
    measures = measure(linear_member(np.eye(2) / 2, np.zeros((2, 2))), "square", objective)
    assert measures.reconstruction == pytest.approx(math.log(2))
    assert measures.elbo == pytest.approx(-(2 * math.log(2) + 2 * (0.25 + 29.5)))
    # The squared error is that of ½: 2 · (½² + 1½²) / 2 per row, where the mean costs 2.
    assert measures.unexplained == pytest.approx(2.5 / 2)


@pytest.mark.parametrize(("scale", "active"), [(1.0, 2), (0.101, 2), (0.099, 0), (0.0, 0)])
def test_a_latent_is_active_when_its_mean_varies_by_a_hundredth(scale: float, active: int) -> None:
    assert measure(linear_member(np.eye(2) * scale, np.eye(2))).active_units == active


def test_a_posterior_mean_that_is_far_away_but_constant_is_not_active() -> None:
    measures = measure(EXACT, "still")
    assert measures.active_units == 1
    assert measures.kl_mean_part == pytest.approx([1.0, 12.5])


def test_the_prior_mismatch_is_the_kl_of_the_aggregate_posterior() -> None:
    # m = 1 and v = 1 + e^lv: ½ (v + 1 − 1 − ln v).
    measures = measure(linear_member(np.eye(2), np.eye(2), log_var=0.0))
    assert measures.prior_mismatch == pytest.approx([0.5 * (2 - math.log(2))] * 2)
    assert measure(EXACT).prior_mismatch == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("clip", "low", "high"),
    [
        ((-math.inf, math.inf), 0.0, 0.0),
        ((-2.0, 1.5), 0.5, 0.25),  # −3 and −2 of −3, −2, 1, 2; and 2
        ((-2.5, 1.0), 0.25, 0.5),
        ((-math.inf, 1.5), 0.0, 0.25),
        ((-9.0, 9.0), 0.0, 0.0),
        ((-9.0, -3.0), 0.0, 1.0),
    ],
)
def test_the_clip_shares_count_what_lies_at_or_beyond_a_bound(
    clip: tuple[float, float], low: float, high: float
) -> None:
    measures = measure(linear_member(ONE, ONE, log_var=ONE, clip=clip), "line")
    assert (measures.clip_share_low, measures.clip_share_high) == (low, high)


def test_a_bound_that_float32_rounds_is_met_by_a_value_equal_to_it() -> None:
    # float32 makes both 4.1 a little less.
    assert measure(linear_member(ONE, ONE, log_var=ONE, clip=(-9.0, 4.1)), "at 4.1").clip_share_high == 0.75


def test_the_clipped_log_variance_enters_kl_mismatch_and_samples() -> None:
    clipped = measure(linear_member(np.eye(2), np.eye(2), log_var=50.0, clip=(-9.0, -1.0)))
    set_to = measure(linear_member(np.eye(2), np.eye(2), log_var=-1.0))
    assert clipped.clip_share == 1
    assert clipped.kl == set_to.kl
    assert clipped.unexplained == set_to.unexplained
    assert clipped.prior_mismatch.tolist() == set_to.prior_mismatch.tolist()


def test_posterior_samples_are_decoded_not_their_means() -> None:
    # μ = x and σ² = e: all that is left is the noise, e per feature. 80,000 draws: their mean deviates by 0.5 %.
    assert measure(NOISY, "random").reconstruction == pytest.approx(2 * math.e, rel=0.02)


def test_the_samples_are_the_same_at_every_call_and_for_every_member() -> None:
    twice = evaluator(2, GAUSSIAN).measure(joined([NOISY, NOISY]), "square")
    assert len({(measures.elbo, measures.unexplained) for measures in (*twice, measure(NOISY))}) == 1


def test_members_measured_together_keep_their_order() -> None:
    together = evaluator(2, GAUSSIAN).measure(joined([HALVED, EXACT, NOISY, HALVED]), "square")
    for measures, alone in zip(together, (HALVED, EXACT, NOISY, HALVED), strict=True):
        assert measures.elbo == pytest.approx(measure(alone).elbo)


def test_rows_keep_their_order_where_a_split_fills_no_packets() -> None:
    outcome = evaluator(2, GAUSSIAN).outcome(HALVED, "thirteen", samples=FINAL_SAMPLES)
    np.testing.assert_array_equal(outcome.mean[0], RANDOM[:13])
    np.testing.assert_allclose(outcome.deviance[0], np.sum(np.square(RANDOM[:13]), axis=1) / 4, rtol=1e-5)


def test_a_split_that_needs_many_calls_is_measured_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measure(NOISY, "thirteen")
    monkeypatch.setattr("klsearch.vae.evaluation.evaluator._CALL_VALUES", 1)
    parts = measure(NOISY, "thirteen")
    assert parts.elbo == pytest.approx(whole.elbo, rel=1e-6)
    assert parts.kl_per_latent.tolist() == whole.kl_per_latent.tolist()


@pytest.mark.parametrize("log_var", [200.0, 2000.0, math.nan])
def test_a_broken_member_has_measures_that_say_so(log_var: float) -> None:
    measures = measure(linear_member(np.eye(2) * 1e30, np.eye(2), log_var=log_var))
    assert not math.isfinite(measures.unexplained)
    assert not math.isfinite(measures.elbo)
    assert not measures.kl < 1e50


def test_missing_values_are_encoded_as_the_training_mean_and_not_measured() -> None:
    measures = Evaluator(linear_network(2), GAPPED, GAUSSIAN).measure(HALVED, "other")[0]
    # Half of 3, 1 and 3 is missed; the mean misses 3 by 2, 1 by 0 and 3 by 7/3.
    assert measures.reconstruction == pytest.approx((1.5**2 + 0.5**2 + 1.5**2) / 2)
    assert measures.unexplained == pytest.approx(4.75 / (4 + 49 / 9))
    assert measures.kl_mean_part == pytest.approx([(9 + 1) / 4, (4 / 9 + 9) / 4])
    # Of the training split, three of seven known values are missed by 1; a row of the other has 1½ known ones.
    distortion = 1.5 / 2 * math.log(2 * math.pi * 3 / 7) + 4.75 / 2 / (2 * 3 / 7)
    assert measures.elbo == pytest.approx(-(distortion + (10 + 4 / 9 + 9) / 4 + 59))


def test_the_curves_leave_missing_values_out_as_the_measures_do() -> None:
    whole = Evaluator(linear_network(2), {**GAPPED, "validation": GAPPED["other"]}, GAUSSIAN)
    bounds = tf.constant(HALVED.clip_low), tf.constant(HALVED.clip_high)
    _, reconstruction, unexplained, *_ = whole.epoch_measures(HALVED.weights, HALVED.others, *bounds).numpy()[0]
    assert (reconstruction, unexplained) == (pytest.approx(4.75 / 2), pytest.approx(4.75 / (4 + 49 / 9)))
