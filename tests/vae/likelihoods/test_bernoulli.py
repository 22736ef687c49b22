"""A coin for every value against SciPy's probabilities."""

import math

import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

from klsearch.vae.likelihoods.bernoulli import BERNOULLI

LOGITS = tf.constant([[0.5, 1.0, -0.5], [3.0, 2.0, 0.25]])


def test_the_error_of_a_bit_is_the_logarithm_of_its_probability() -> None:
    rows = tf.constant([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    expected = -stats.bernoulli(special.expit(LOGITS.numpy().astype(float))).logpmf(rows.numpy())
    assert BERNOULLI.error(rows, LOGITS).numpy() == pytest.approx(expected, rel=1e-6)


def test_the_error_between_the_bits_is_the_cross_entropy() -> None:
    rows, p = np.full((2, 3), 0.25, np.float32), special.expit(LOGITS.numpy().astype(float))
    expected = -0.25 * np.log(p) - 0.75 * np.log(1 - p)
    assert BERNOULLI.error(tf.constant(rows), LOGITS).numpy() == pytest.approx(expected, rel=1e-6)


def test_a_decoder_that_knows_nothing_costs_ln_2_per_feature() -> None:
    assert BERNOULLI.error(tf.constant([0.0, 0.3, 1.0]), tf.zeros(3)).numpy() == pytest.approx([math.log(2)] * 3)


def test_logits_that_are_certain_cost_their_own_size_where_they_are_wrong() -> None:
    assert BERNOULLI.error(tf.constant([0.0, 1.0]), tf.constant([1000.0, 1000.0])).numpy().tolist() == [1000.0, 0.0]


def test_the_reconstruction_is_the_sigmoid_of_the_logits() -> None:
    assert BERNOULLI.mean(LOGITS, LOGITS).numpy() == pytest.approx(special.expit(LOGITS.numpy()), rel=1e-6)


def test_the_error_is_the_distortion_and_nothing_is_fitted_to_training_rows() -> None:
    def unused() -> np.ndarray:
        raise AssertionError

    assert BERNOULLI.distortion(np.array([1.5, 2.5]), features=3, train_errors=unused).tolist() == [1.5, 2.5]


def test_logits_are_unbounded_whatever_the_data() -> None:
    assert {BERNOULLI.output_activation(unit_interval=bounded) for bounded in (True, False)} == {"linear"}


def test_what_is_no_probability_is_refused_with_a_way_out_that_works() -> None:
    """Min-max is no way out where it would leave held-out rows beyond [0, 1], whatever the scaling is now."""
    low, high = np.array([[0.0], [1.5]]), np.array([[2.0]])
    beyond = "needs values in [0, 1]; held-out values lie beyond the training rows' range, so use 'gaussian'"
    assert {BERNOULLI.misfit([low, high], scaling) for scaling in ("none", "standard", "minmax")} == {beyond}
    way_out = "needs values in [0, 1]; set data.scaling = 'minmax' or 'gaussian'"
    assert BERNOULLI.misfit([low, low[1:], low[:0]], "standard") == way_out
    assert BERNOULLI.misfit([low / 2, low[:0]], "none") is None
