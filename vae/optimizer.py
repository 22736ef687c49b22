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
    # Not clipnorm / norm: TensorFlow turns a division by a square root into an approximate operation, whose last bit
    # depends on the number of members.
    return gradient / _per_member(tf.maximum(1.0, norm / clipnorm), gradient)


def adam_step(
    weights: tf.Tensor, mean: tf.Tensor, square: tf.Tensor, gradient: tf.Tensor, step_size: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """One variable's weights and two moments, each [K, ...], after one Adam step of size `step_size` [K].

    The bias correction is in the step size (`vae.schedules.adam_step_size`), so a member's step count is its own.
    """
    mean += (gradient - mean) * (1 - BETA_1)
    square += (tf.square(gradient) - square) * (1 - BETA_2)
    return weights - _per_member(step_size, gradient) * mean / (tf.sqrt(square) + _EPSILON), mean, square


def adam(
    variable: tf.Variable, mean: tf.Variable, square: tf.Variable, gradient: tf.Tensor, step_size: tf.Tensor
) -> None:
    """Move one stacked variable and its two moments, each [K, ...], by one Adam step of size `step_size` [K]."""
    if variable.shape[0] == 1:
        # One pass over memory, but it takes a single step size. Its own bias correction is left out: it is in ours.
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=mean.handle,
            v=square.handle,
            beta1_power=0.0,
            beta2_power=0.0,
            lr=step_size[0],
            beta1=BETA_1,
            beta2=BETA_2,
            epsilon=_EPSILON,
            grad=gradient,
        )
        return
    moved = adam_step(variable.read_value(), mean.read_value(), square.read_value(), gradient, step_size)
    for held, value in zip((variable, mean, square), moved, strict=True):
        held.assign(value)
