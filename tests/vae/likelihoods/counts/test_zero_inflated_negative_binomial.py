"""Counts with more zeros than they would have, against SciPy's probabilities."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

from klsearch.vae.likelihoods.counts.zero_inflated_negative_binomial import ZERO_INFLATED_NEGATIVE_BINOMIAL

ROWS = np.array([[0.0, 1.0, 7.0], [40.0, 0.0, 3.0]], np.float32)
LOG_SHARES = np.array([[-2.0, 0.5, 2.0], [1.5, 0.0, -1.0]], np.float32)
ZERO_LOGITS = np.array([[0.0, -3.0, 1.0], [-1.0, 2.0, 0.5]], np.float32)
LOG_DISPERSION = np.tile(np.array([-3.0, 0.0, 1.0], np.float32), (2, 1))
OUTPUT = tf.constant(np.stack([LOG_SHARES, ZERO_LOGITS, LOG_DISPERSION], axis=-1).reshape(2, 9))
MEANS = ROWS.sum(axis=1, keepdims=True).astype(float) * special.softmax(LOG_SHARES.astype(float), axis=1)
ZERO = special.expit(ZERO_LOGITS.astype(float))


def test_the_error_of_a_count_is_the_logarithm_of_its_probability() -> None:
    size = 1 / (np.exp(LOG_DISPERSION.astype(float)) + 1e-3)
    probability = ZERO * (ROWS == 0) + (1 - ZERO) * stats.nbinom(size, size / (size + MEANS)).pmf(ROWS)
    found = ZERO_INFLATED_NEGATIVE_BINOMIAL.error(tf.constant(ROWS), OUTPUT)
    assert found.numpy() == pytest.approx(-np.log(probability), rel=2e-5)


def test_the_reconstruction_counts_the_zeros_in() -> None:
    found = ZERO_INFLATED_NEGATIVE_BINOMIAL.mean(OUTPUT, tf.constant(ROWS))
    assert found.numpy() == pytest.approx((1 - ZERO) * MEANS, rel=1e-5)


@pytest.mark.parametrize("logit", [-1e4, 1e4])
def test_a_certain_logit_leaves_a_finite_error(logit: float) -> None:
    output = tf.constant([[0.0, logit, 0.0, 0.0, logit, 0.0]])
    assert np.all(np.isfinite(ZERO_INFLATED_NEGATIVE_BINOMIAL.error(tf.constant([[0.0, 3.0]]), output)))
