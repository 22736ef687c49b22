"""Gaussians of a learned variance against SciPy's density."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from klsearch.vae.likelihoods.gaussian_variance import GAUSSIAN_COLUMN_VARIANCE, GAUSSIAN_VARIANCE, GaussianVariance
from tests.vae.likelihoods.conftest import Fit

ROWS = np.array([[0.0, 1.0], [2.0, -3.0]], np.float32)
MEANS = np.array([[0.5, 1.0], [-1.0, 2.0]], np.float32)
LOG_VARS = np.array([[-2.0, 0.0], [3.0, 1.0]], np.float32)
OUTPUT = tf.constant(np.stack([MEANS, LOG_VARS], axis=-1).reshape(2, 4))

each = pytest.mark.parametrize("likelihood", [GAUSSIAN_VARIANCE, GAUSSIAN_COLUMN_VARIANCE], ids=lambda one: one.name)


@each
def test_the_error_of_a_value_is_the_logarithm_of_its_density(likelihood: GaussianVariance) -> None:
    expected = -stats.norm(MEANS, np.exp(LOG_VARS / 2)).logpdf(ROWS)
    assert likelihood.error(tf.constant(ROWS), OUTPUT).numpy() == pytest.approx(expected, rel=1e-5)
    assert likelihood.mean(OUTPUT, tf.constant(ROWS)).numpy().tolist() == MEANS.tolist()


def test_a_perfect_reconstruction_of_no_variance_has_a_floor() -> None:
    found = GAUSSIAN_VARIANCE.error(tf.constant([[1.0]]), tf.constant([[1.0, -99.0]]))
    assert found.numpy() == pytest.approx(0.5 * np.log(2 * np.pi * 1e-6))


def test_a_variance_for_a_column_is_no_work_of_the_decoder() -> None:
    assert (GAUSSIAN_VARIANCE.parts, dict(GAUSSIAN_VARIANCE.column_parts)) == (("mean", "log_var"), {})
    assert (GAUSSIAN_COLUMN_VARIANCE.parts, dict(GAUSSIAN_COLUMN_VARIANCE.column_parts)) == (("mean",), {"log_var": 0})


@pytest.mark.slow("trains on 1,400 rows")
def test_simulated_rows_give_back_their_signal_and_the_variance_of_each_column(fit: Fit) -> None:
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(2000, 2)) @ rng.normal(size=(2, 30))
    log_var = rng.uniform(-1.0, 1.0, size=30)  # far above what so short a training leaves of the signal
    rows = (signal + rng.normal(size=signal.shape) * np.exp(log_var / 2)).astype(np.float32)
    fitted = fit(GAUSSIAN_COLUMN_VARIANCE, {"train": rows[:1400], "validation": rows[1400:]}, 100)
    assert np.abs(fitted.parts["log_var"][0] - log_var).max() < 0.3
    assert np.mean(np.square(fitted.mean - signal[1400:])) < 0.2 * np.mean(np.exp(log_var))
