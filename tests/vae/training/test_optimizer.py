"""The optimizers for many members against Keras's, one member at a time."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from klsearch.vae.training.optimizer import OPTIMIZERS, Step, adam, clip_norm
from klsearch.vae.training.schedules import adam_step_size

RATES = np.array([0.01, 0.3])
GRADIENTS = np.random.default_rng(0).normal(size=(6, 2, 3, 4)).astype(np.float32)  # [steps, members, ...]


@pytest.mark.parametrize("members", [[0, 1], [1]])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_member_moves_as_under_the_optimizer_of_keras(name: str, members: list[int]) -> None:
    optimizer, start = OPTIMIZERS[name], np.linspace(-2, 2, 12).reshape(3, 4)
    stacked = tf.Variable(tf.constant(np.stack([start] * len(members)), tf.float32))
    mean, square = (tf.Variable(tf.zeros([len(members), 3, 4])) for _ in range(2))
    rates = tf.constant(RATES[members], tf.float32)
    for step, gradient in enumerate(GRADIENTS[:, members]):
        step_size = tf.constant(optimizer.step_size(np.full(len(members), step), RATES[members]), tf.float32)
        optimizer.move(Step([stacked], [mean], [square], [tf.constant(gradient)], step_size, rates))
    for place, member in enumerate(members):
        alone = keras.Variable(start)
        theirs = getattr(keras.optimizers, optimizer.keras)(RATES[member])
        for gradient in GRADIENTS[:, member]:
            theirs.apply([tf.constant(gradient)], [alone])
        # Of what it moved by, up to 2. In place, 1 - 0.999 is rounded to 32 bits: 0.00100004.
        tolerance = 1e-5 if len(members) > 1 else 3e-5
        np.testing.assert_allclose(stacked[place] - start, alone.numpy() - start, rtol=tolerance, atol=2e-6)


def test_a_member_counts_its_own_steps() -> None:
    variable, mean, square = (tf.Variable(tf.zeros([2, 1])) for _ in range(3))
    step_size = tf.constant(adam_step_size([0, 100], 0.1), tf.float32)
    adam(Step([variable], [mean], [square], [tf.ones([2, 1])], step_size, tf.fill([2], 0.1)))
    # Bias correction makes the first step ±0.1; a member said to be at step 100 gets hardly any.
    assert variable[0, 0].numpy() == pytest.approx(-0.1, rel=1e-4)
    assert variable[1, 0].numpy() == pytest.approx(-0.1 * 0.1 / math.sqrt(0.001) * math.sqrt(1 - 0.999**101), rel=1e-3)


@pytest.mark.parametrize(
    ("gradient", "clipnorm", "expected"),
    [
        ([3.0, 4.0], 1.0, [0.6, 0.8]),
        ([3.0, 4.0], 5.0, [3.0, 4.0]),
        ([3.0, 4.0], 100.0, [3.0, 4.0]),
        ([0.1, 0.7], math.inf, [0.1, 0.7]),
        ([0.0, 0.0], 1.0, [0.0, 0.0]),
        ([0.0, 0.0], math.inf, [0.0, 0.0]),
    ],
)
def test_a_gradient_is_scaled_to_its_largest_norm(
    gradient: list[float], clipnorm: float, expected: list[float]
) -> None:
    clipped = clip_norm(tf.constant([gradient]), tf.constant([clipnorm]))
    np.testing.assert_allclose(clipped, [expected], rtol=1e-6)


def test_an_infinite_clipnorm_changes_no_bit() -> None:
    gradient = tf.constant(GRADIENTS[0])
    np.testing.assert_array_equal(clip_norm(gradient, tf.constant([math.inf, math.inf])), gradient)


def test_every_member_is_clipped_by_its_own_norm() -> None:
    gradient = tf.constant([[[3.0, 0.0], [0.0, 4.0]], [[math.nan, 0.0], [0.0, 4.0]], [[30.0, 0.0], [0.0, 40.0]]])
    clipped = clip_norm(gradient, tf.constant([1.0, 1.0, 100.0])).numpy()
    np.testing.assert_allclose(clipped[0], [[0.6, 0], [0, 0.8]], rtol=1e-6)
    assert np.isnan(clipped[1]).any()
    np.testing.assert_array_equal(clipped[2], gradient[2])
