"""Adam for many members at once: each has its own step size, moments and gradient clipping."""

from collections.abc import Sequence

import tensorflow as tf

from klsearch.vae.training.schedules import BETA_1, BETA_2

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

    The bias correction is in the step size (`vae.training.schedules.adam_step_size`): a member's step count is its own.
    """
    mean += (gradient - mean) * (1 - BETA_1)
    square += (tf.square(gradient) - square) * (1 - BETA_2)
    return weights - _per_member(step_size, gradient) * mean / (tf.sqrt(square) + _EPSILON), mean, square


def adam(
    weights: Sequence[tf.Variable],
    means: Sequence[tf.Variable],
    squares: Sequence[tf.Variable],
    gradients: Sequence[tf.Tensor],
    step_size: tf.Tensor,
) -> None:
    """Move stacked variables and their two moments, each [K, ...], by one Adam step of size `step_size` [K]."""
    if weights[0].shape[0] == 1:
        # A variable that another gradient has yet to read would be copied before it is changed in place.
        rate = step_size[0]
        with tf.control_dependencies(gradients):
            for variable, mean, square, gradient in zip(weights, means, squares, gradients, strict=True):
                _adam_in_place(variable, mean, square, gradient, rate)
        return
    for variable, mean, square, gradient in zip(weights, means, squares, gradients, strict=True):
        moved = adam_step(variable.read_value(), mean.read_value(), square.read_value(), gradient, step_size)
        for held, value in zip((variable, mean, square), moved, strict=True):
            held.assign(value)


def _adam_in_place(
    variable: tf.Variable, mean: tf.Variable, square: tf.Variable, gradient: tf.Tensor, step_size: tf.Tensor
) -> None:
    """The same for one member: one pass over memory, but it takes a single step size."""
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=mean.handle,
        v=square.handle,
        beta1_power=0.0,  # the bias correction is in the step size
        beta2_power=0.0,
        lr=step_size,
        beta1=BETA_1,
        beta2=BETA_2,
        epsilon=_EPSILON,
        grad=gradient,
    )
