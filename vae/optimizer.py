"""Adam for many members at once: each has its own step size, moments and gradient clipping."""

import tensorflow as tf

from vae.schedules import BETA_1, BETA_2

_EPSILON = 1e-7  # Keras's default, so that a winner trains the same in plain Keras.


def _per_member(values: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """`values` of shape [K], shaped to broadcast against `like` of shape [K, ...]."""
    return tf.reshape(values, [-1] + [1] * (like.shape.rank - 1))


def clip_norm(gradient: tf.Tensor, clipnorm: tf.Tensor) -> tf.Tensor:
    """One variable's gradient [K, ...], each member's scaled to a norm of at most `clipnorm` [K], as in Keras."""
    norm = tf.sqrt(tf.reduce_sum(tf.square(gradient), axis=list(range(1, gradient.shape.rank))))
    return gradient * _per_member(tf.minimum(1.0, clipnorm / norm), gradient)


def adam(
    variable: tf.Variable, mean: tf.Variable, square: tf.Variable, gradient: tf.Tensor, step_size: tf.Tensor
) -> None:
    """Move one stacked variable [K, ...] and its two moments by one Adam step of size `step_size` [K].

    The bias correction is in the step size (`vae.schedules.adam_step_size`), so a member's step count is its own.
    """
    new_mean = mean + (gradient - mean) * (1 - BETA_1)
    new_square = square + (tf.square(gradient) - square) * (1 - BETA_2)
    mean.assign(new_mean)
    square.assign(new_square)
    variable.assign_sub(_per_member(step_size, gradient) * new_mean / (tf.sqrt(new_square) + _EPSILON))
