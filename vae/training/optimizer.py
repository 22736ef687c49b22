"""The optimizers, for many members at once: each has its own step size, moments and gradient clipping."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from klsearch.vae.training.schedules import BETA_1, BETA_2, adam_step_size

if TYPE_CHECKING:  # definitions name optimizers, and must not wait for TensorFlow
    import tensorflow as tf

# Keras's defaults, so that a winner trains the same in plain Keras.
_EPSILON = 1e-7
_RHO = 0.9
_WEIGHT_DECAY = 0.004


class Step(NamedTuple):
    """A step of k members along their gradients.

    Attributes:
        weights: stacked, each [k, ...]; they are moved.
        means: a first moment of each weight, which an optimizer may keep.
        squares: a second one.
        gradients: of each weight.
        size: of each member's step, [k], as `Optimizer.step_size` gives it.
        learning_rate: of each member, [k], at which weights decay where they do.
    """

    weights: Sequence["tf.Variable"]
    means: Sequence["tf.Variable"]
    squares: Sequence["tf.Variable"]
    gradients: Sequence["tf.Tensor"]
    size: "tf.Tensor"
    learning_rate: "tf.Tensor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """An optimizer with Keras's defaults.

    Attributes:
        keras: its class in `keras.optimizers`.
        step_size: of a member's own steps, from 0, and learning rates.
        move: takes a step.
        follows_scale: whether its steps are larger where the loss is multiplied by something.
    """

    keras: str
    step_size: Callable[[ArrayLike, ArrayLike], np.ndarray]
    move: Callable[[Step], None]
    follows_scale: bool = False


def _per_member(values: "tf.Tensor", like: "tf.Tensor") -> "tf.Tensor":
    """`values` of shape [K], shaped to broadcast against `like` of shape [K, ...]."""
    import tensorflow as tf

    return tf.reshape(values, [-1] + [1] * (like.shape.rank - 1))


def clip_norm(gradient: "tf.Tensor", clipnorm: "tf.Tensor") -> "tf.Tensor":
    """One variable's gradient [K, ...], each member's scaled to a norm of at most `clipnorm` [K], as in Keras."""
    import tensorflow as tf

    norm = tf.sqrt(tf.reduce_sum(tf.square(gradient), axis=list(range(1, gradient.shape.rank))))
    # Not clipnorm / norm: TensorFlow turns a division by a square root into an approximate operation, whose last bit
    # depends on the number of members.
    return gradient / _per_member(tf.maximum(1.0, norm / clipnorm), gradient)


def adam_step(
    weights: "tf.Tensor", mean: "tf.Tensor", square: "tf.Tensor", gradient: "tf.Tensor", step_size: "tf.Tensor"
) -> tuple["tf.Tensor", "tf.Tensor", "tf.Tensor"]:
    """One variable's weights and two moments, each [K, ...], after one Adam step of size `step_size` [K].

    The bias correction is in the step size (`vae.training.schedules.adam_step_size`): a member's step count is its own.
    """
    import tensorflow as tf

    mean += (gradient - mean) * (1 - BETA_1)
    square += (tf.square(gradient) - square) * (1 - BETA_2)
    return weights - _per_member(step_size, gradient) * mean / (tf.sqrt(square) + _EPSILON), mean, square


def adam(step: Step) -> None:
    """Move weights and both their moments by one Adam step; the learning rate is in its size."""
    import tensorflow as tf

    each = zip(step.weights, step.means, step.squares, step.gradients, strict=True)
    if step.weights[0].shape[0] == 1:
        # A variable that another gradient has yet to read would be copied before it is changed in place.
        size = step.size[0]
        with tf.control_dependencies(step.gradients):
            for variable, mean, square, gradient in each:
                _adam_in_place(variable, mean, square, gradient, size)
        return
    for variable, mean, square, gradient in each:
        moved = adam_step(variable.read_value(), mean.read_value(), square.read_value(), gradient, step.size)
        for held, value in zip((variable, mean, square), moved, strict=True):
            held.assign(value)


def _adam_in_place(
    variable: "tf.Variable", mean: "tf.Variable", square: "tf.Variable", gradient: "tf.Tensor", step_size: "tf.Tensor"
) -> None:
    """The same for one member: one pass over memory, but it takes a single step size."""
    import tensorflow as tf

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


def _adamw(step: Step) -> None:
    """Adam after every weight has lost a share of itself (Loshchilov & Hutter 2019)."""
    import tensorflow as tf

    with tf.control_dependencies(step.gradients):
        for variable in step.weights:
            lost = _per_member(step.learning_rate * _WEIGHT_DECAY, variable)
            variable.assign(variable.read_value() - variable.read_value() * lost)
    adam(step)


def _rmsprop(step: Step) -> None:
    """A step along each gradient over the root of its moving mean square (Tieleman & Hinton 2012)."""
    import tensorflow as tf

    for variable, square, gradient in zip(step.weights, step.squares, step.gradients, strict=True):
        moving = square.read_value() * _RHO + tf.square(gradient) * (1 - _RHO)
        root = tf.maximum(tf.sqrt(moving + _EPSILON), 1e-12)  # else an approximate operation: see `clip_norm`
        variable.assign(variable.read_value() - _per_member(step.size, gradient) * gradient / root)
        square.assign(moving)


def _sgd(step: Step) -> None:
    """A step against each gradient, without momentum."""
    for variable, gradient in zip(step.weights, step.gradients, strict=True):
        variable.assign(variable.read_value() - _per_member(step.size, gradient) * gradient)


def _plain(step: ArrayLike, learning_rate: ArrayLike) -> np.ndarray:
    """The learning rate, for optimizers that correct no bias."""
    return np.broadcast_to(np.asarray(learning_rate, np.float64), np.shape(step))


OPTIMIZERS: Mapping[str, Optimizer] = {
    "adam": Optimizer(keras="Adam", step_size=adam_step_size, move=adam),
    "adamw": Optimizer(keras="AdamW", step_size=adam_step_size, move=_adamw),
    "rmsprop": Optimizer(keras="RMSprop", step_size=_plain, move=_rmsprop),
    "sgd": Optimizer(keras="SGD", step_size=_plain, move=_sgd, follows_scale=True),
}
"""The optimizers that a definition can name."""
