"""The parts of the evidence lower bound against hand-derived values, integrals and float64."""

import math

import numpy as np
import pytest
import tensorflow as tf

from klsearch.vae.elbo import clip_log_var, deviance, kl_elements, reconstruction_error, sample_posterior
from klsearch.vae.likelihoods.bernoulli import BERNOULLI
from klsearch.vae.likelihoods.catalog import LIKELIHOODS
from klsearch.vae.likelihoods.gaussian import GAUSSIAN
from klsearch.vae.likelihoods.likelihood import Likelihood

LOG_VARS = np.concatenate(
    [
        np.linspace(-30, 20, 20_001),
        np.linspace(-0.6, 0.6, 2_401),
        *(sign * np.logspace(-8, 0, 400) for sign in (1, -1)),
        [0.0, 0.5, -0.5],
    ]
).astype(np.float32)
ROWS = tf.constant([[0.0, 1.0, 0.5], [1.0, 0.0, 0.25]])
OUTPUT = tf.constant([[0.5, 1.0, -0.5], [3.0, 2.0, 0.25]])
ONES = tf.ones([3])


def constant(value: float) -> tf.Tensor:
    return tf.constant(value, tf.float32)


def exact_kl(mean: float, log_var: np.ndarray) -> np.ndarray:
    wide = log_var.astype(np.float64)
    return np.asarray(0.5 * (np.expm1(wide) - wide + mean**2))


@pytest.mark.parametrize(
    ("mean", "log_var", "nats"),
    [
        (0.0, 0.0, 0.0),
        (1.0, 0.0, 0.5),
        (0.0, math.log(2), 0.5 * (1 - math.log(2))),
        (2.0, -math.log(4), 0.5 * (4 - 0.75 + math.log(4))),
        (0.0, -20.0, 9.5),
        (0.0, 2.0, 2.194528),
        (3.0, 2.0, 6.694528),
        (0.0, 10.0, 11007.733),
    ],
)
def test_kl_has_its_hand_derived_values(mean: float, log_var: float, nats: float) -> None:
    assert kl_elements(constant(mean), constant(log_var)).numpy() == pytest.approx(nats, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(("mean", "log_var"), [(0.0, 0.0), (1.5, -2.0), (-0.7, 1.0), (0.1, 0.05), (3.0, -6.0)])
def test_kl_is_the_integral_of_the_density_times_the_log_ratio(mean: float, log_var: float) -> None:
    deviation = math.exp(log_var / 2)
    z = np.linspace(mean - 12 * deviation, mean + 12 * deviation, 20_001)
    log_q = -0.5 * (np.log(2 * np.pi) + log_var + (z - mean) ** 2 / np.exp(log_var))
    log_p = -0.5 * (np.log(2 * np.pi) + z**2)
    integral = np.trapezoid(np.exp(log_q) * (log_q - log_p), z)
    assert kl_elements(constant(mean), constant(log_var)).numpy() == pytest.approx(integral, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("mean", [0.0, 1e-3, 2.0])
def test_kl_is_finite_and_as_good_as_in_float64_from_minus_30_to_20(mean: float) -> None:
    kl = kl_elements(tf.fill(LOG_VARS.shape, mean), tf.constant(LOG_VARS)).numpy()
    np.testing.assert_allclose(kl, exact_kl(np.float32(mean).item(), LOG_VARS), rtol=1e-5, atol=0)


def test_the_gradients_of_kl_are_finite_and_as_good_as_in_float64() -> None:
    mean, log_var = tf.fill(LOG_VARS.shape, 0.3), tf.constant(LOG_VARS)
    with tf.GradientTape() as tape:
        tape.watch([mean, log_var])
        kl = kl_elements(mean, log_var)
    by_mean, by_log_var = tape.gradient(kl, [mean, log_var])
    np.testing.assert_array_equal(by_mean, mean)
    np.testing.assert_allclose(by_log_var, 0.5 * np.expm1(LOG_VARS.astype(np.float64)), rtol=1e-5, atol=0)


def test_a_clipped_log_variance_stays_in_its_bounds_and_passes_no_gradient_beyond_them() -> None:
    raw = tf.constant([-9.0, -2.0, 0.5, 3.0, math.inf])
    with tf.GradientTape() as tape:
        tape.watch(raw)
        clipped = clip_log_var(raw, constant(-4.0), constant(2.0))
    assert clipped.numpy().tolist() == [-4, -2, 0.5, 2, 2]
    assert tape.gradient(clipped, raw).numpy().tolist() == [0, 1, 1, 0, 0]


def test_infinite_bounds_leave_the_log_variance_free() -> None:
    raw = tf.constant([-80.0, 0.0, 80.0])
    assert clip_log_var(raw, constant(-math.inf), constant(math.inf)).numpy().tolist() == [-80, 0, 80]


def test_clipping_does_not_hide_a_nan() -> None:
    assert np.isnan(clip_log_var(tf.fill([16], math.nan), constant(-4.0), constant(2.0))).all()


def test_a_posterior_sample_has_the_mean_and_deviation_of_the_posterior() -> None:
    sample = sample_posterior(tf.constant([1.0, 1.0]), tf.constant([2 * math.log(3), -100.0]), tf.constant([2.0, 2.0]))
    assert sample.numpy() == pytest.approx([7.0, 1.0])


@pytest.mark.parametrize("likelihood", LIKELIHOODS.values(), ids=LIKELIHOODS)
def test_the_reconstruction_error_is_summed_over_features_for_rows_that_lack_leading_axes(
    likelihood: Likelihood,
) -> None:
    once = tf.repeat(OUTPUT, likelihood.outputs, axis=1)
    outputs = tf.stack([once, -once])
    found = reconstruction_error(ROWS, outputs, likelihood)
    assert found.shape == (2, 2)
    for each, output in zip(found, outputs, strict=True):
        np.testing.assert_allclose(each, np.sum(likelihood.error(ROWS, output), axis=1), rtol=1e-6)


def test_the_deviance_is_the_squared_error_of_the_reconstruction() -> None:
    p = 1 / (1 + np.exp(-OUTPUT.numpy().astype(float)))
    assert deviance(ROWS, OUTPUT, GAUSSIAN, ONES).numpy().tolist() == [1.25, 8.0]
    assert deviance(ROWS, OUTPUT, BERNOULLI, ONES).numpy() == pytest.approx(np.sum((ROWS - p) ** 2, axis=1), rel=1e-6)


@pytest.mark.parametrize(
    "likelihood", [one for one in LIKELIHOODS.values() if one.outputs == 1], ids=lambda one: one.name
)
def test_values_that_are_not_known_change_neither_error_nor_gradient(likelihood: Likelihood) -> None:
    known = tf.constant([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    found = []
    for hidden in (0.5, 1e6):
        rows = tf.where(known > 0, ROWS, hidden)
        with tf.GradientTape() as tape:
            tape.watch(OUTPUT)
            errors = reconstruction_error(rows, OUTPUT, likelihood, known)
        found_deviance = deviance(rows, OUTPUT, likelihood, ONES, known)
        found.append([value.numpy().tolist() for value in (errors, found_deviance, tape.gradient(errors, OUTPUT))])
    assert found[0] == found[1]


def test_known_values_alone_are_added_up() -> None:
    known = tf.constant([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    errors = reconstruction_error(ROWS, OUTPUT, GAUSSIAN, known), deviance(ROWS, OUTPUT, GAUSSIAN, ONES, known)
    for found in errors:  # 0.5² + 1² and 2² + 0²
        assert found.numpy().tolist() == [1.25, 4.0]
