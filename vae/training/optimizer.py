"""The optimizers, for many members at once: each has its own step size, moments and gradient clipping."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from klsearch.vae.training.schedules import BETA_1, BETA_2, adam_step_size

if TYPE_CHECKING:  # definitions name optimizers, and must not wait for TensorFlow
    import tensorflow as tf

# Keras's defaults, so that a winner trains the same in plain Keras.
_EPSILON = 1e-7
_RHO = 0.9
_WEIGHT_DECAY = 0.004

# What a learning rate that falls ends at, as a share of what it began with.
_LAST_SHARE = 0.01

Move = Callable[
    [
        Sequence["tf.Variable"],
        Sequence["tf.Variable"],
        Sequence["tf.Variable"],
        Sequence["tf.Tensor"],
        "tf.Tensor",
        "tf.Tensor",
    ],
    None,
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """An optimizer with Keras's defaults.

    Attributes:
        keras: its class in `keras.optimizers`.
        step_size: of a member's own steps, from 0, and learning rates.
        move: moves stacked variables [K, ...], with two moments of each, along gradients, by step sizes and learning
            rates [K].
    """

    keras: str
    step_size: Callable[[ArrayLike, ArrayLike], np.ndarray]
    move: Move


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


def adam(
    weights: Sequence["tf.Variable"],
    means: Sequence["tf.Variable"],
    squares: Sequence["tf.Variable"],
    gradients: Sequence["tf.Tensor"],
    step_size: "tf.Tensor",
    learning_rate: "tf.Tensor",
) -> None:
    """Move stacked variables and their two moments, each [K, ...], by one Adam step of size `step_size` [K]."""
    import tensorflow as tf

    del learning_rate  # it is in the step size
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


def _adamw(
    weights: Sequence["tf.Variable"],
    means: Sequence["tf.Variable"],
    squares: Sequence["tf.Variable"],
    gradients: Sequence["tf.Tensor"],
    step_size: "tf.Tensor",
    learning_rate: "tf.Tensor",
) -> None:
    """Adam after every weight has lost a share of itself (Loshchilov & Hutter 2019)."""
    import tensorflow as tf

    with tf.control_dependencies(gradients):
        for variable in weights:
            lost = _per_member(learning_rate * _WEIGHT_DECAY, variable)
            variable.assign(variable.read_value() - variable.read_value() * lost)
    adam(weights, means, squares, gradients, step_size, learning_rate)


def _rmsprop(
    weights: Sequence["tf.Variable"],
    means: Sequence["tf.Variable"],
    squares: Sequence["tf.Variable"],
    gradients: Sequence["tf.Tensor"],
    step_size: "tf.Tensor",
    learning_rate: "tf.Tensor",
) -> None:
    """A step along each gradient over the root of its moving mean square (Tieleman & Hinton 2012)."""
    import tensorflow as tf

    del means, step_size
    for variable, square, gradient in zip(weights, squares, gradients, strict=True):
        moving = square.read_value() * _RHO + tf.square(gradient) * (1 - _RHO)
        root = tf.maximum(tf.sqrt(moving + _EPSILON), 1e-12)  # else an approximate operation: see `clip_norm`
        variable.assign(variable.read_value() - _per_member(learning_rate, gradient) * gradient / root)
        square.assign(moving)


def _sgd(
    weights: Sequence["tf.Variable"],
    means: Sequence["tf.Variable"],
    squares: Sequence["tf.Variable"],
    gradients: Sequence["tf.Tensor"],
    step_size: "tf.Tensor",
    learning_rate: "tf.Tensor",
) -> None:
    """A step against each gradient, without momentum."""
    del means, squares, step_size
    for variable, gradient in zip(weights, gradients, strict=True):
        variable.assign(variable.read_value() - _per_member(learning_rate, gradient) * gradient)


def _plain(step: ArrayLike, learning_rate: ArrayLike) -> np.ndarray:
    """The learning rate, for optimizers that correct no bias."""
    return np.asarray(np.broadcast_arrays(learning_rate, step)[0], np.float64)


OPTIMIZERS: Mapping[str, Optimizer] = {
    "adam": Optimizer(keras="Adam", step_size=adam_step_size, move=adam),
    "adamw": Optimizer(keras="AdamW", step_size=adam_step_size, move=_adamw),
    "rmsprop": Optimizer(keras="RMSprop", step_size=_plain, move=_rmsprop),
    "sgd": Optimizer(keras="SGD", step_size=_plain, move=_sgd),
}
"""The optimizers that a definition can name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fall:
    """How a learning rate falls over a training: its share at a share of the epochs, and the same in plain Keras."""

    share: Callable[[np.ndarray], np.ndarray]
    keras: str


FALLS: Mapping[str, _Fall] = {
    "constant": _Fall(share=np.ones_like, keras="1.0"),
    "cosine": _Fall(
        share=lambda p: _LAST_SHARE + (1 - _LAST_SHARE) * (1 + np.cos(np.pi * p)) / 2,
        keras=f"{_LAST_SHARE} + {1 - _LAST_SHARE} * (1.0 + math.cos(math.pi * progress)) / 2.0",
    ),
    "exponential": _Fall(share=lambda p: _LAST_SHARE**p, keras=f"{_LAST_SHARE} ** progress"),
}
"""The ways in which a learning rate may fall that a definition can name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """How members move along their gradients.

    Attributes:
        optimizer: a name in `OPTIMIZERS`.
        schedule: a name in `FALLS`: of the learning rate over the epochs, at whose end it stays what it is.
        epochs: of a training.
    """

    optimizer: str = "adam"
    schedule: str = "constant"
    epochs: int = 1

    def rates(self, epochs: ArrayLike, learning_rates: ArrayLike) -> np.ndarray:
        """The members' learning rates [K], each in an epoch of its own, counted from 0."""
        progress = np.minimum(np.asarray(epochs, np.float64) / self.epochs, 1.0)
        rates: np.ndarray = np.asarray(learning_rates, np.float64) * FALLS[self.schedule].share(progress)
        return rates


ADAM = Learning()
