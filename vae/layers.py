"""Keras layers whose hyperparameters are variables, so that one compiled program serves every trial."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from klsearch.vae.host.quiet import require_tensorflow_backend

require_tensorflow_backend()  # this file is the first that a program of the user's loads

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

_for_xla: ContextVar[bool] = ContextVar("for_xla", default=False)
_PHILOX = 1  # Salmon et al. 2011; the number that TensorFlow's operations know it by


@keras.saving.register_keras_serializable(package="klsearch")
class SearchedDropout(keras.layers.Layer):
    """Dropout whose rate is a variable instead of a number fixed when the graph is traced.

    Use it in an encoder of your own wherever `encoder_dropout` shall act. In training each value is dropped with
    probability `rate` (to within 1/65536) and the others are scaled by 1 / (1 − rate); otherwise values pass unchanged.
    `rate` starts at 0.

    Input and output have the same shape.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator()
        self.rate = self.add_weight(
            name="rate", shape=(), initializer="zeros", trainable=False, dtype="float32", autocast=False
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        """The inputs, thinned out when training."""
        if not training:
            return inputs
        kept = 1.0 - tf.convert_to_tensor(self.rate)
        # Drawing is what dropout costs: each draw of 32 bits decides on two values.
        count = tf.size(inputs)
        key, position = tf.unstack(tf.cast(self.seed_generator.next(), tf.uint64))
        bits = tf.raw_ops.StatelessRandomUniformFullIntV2(
            shape=[(count + 1) // 2],
            key=key[tf.newaxis],
            counter=tf.stack([tf.zeros([], tf.uint64), position]),
            alg=_PHILOX,
            dtype=tf.int32,
        )
        draws = tf.reshape(tf.reshape(tf.bitcast(bits, tf.int16), [-1])[:count], tf.shape(inputs))
        stays = draws <= tf.cast(tf.round(kept * 65536.0) - 32769.0, tf.int16)
        # Not inputs · (1 / kept): TensorFlow approximates a reciprocal, but not in the last few of many members.
        return tf.where(stays, inputs / tf.cast(kept, inputs.dtype), tf.zeros_like(inputs))


def search_rate(dropout: keras.layers.Dropout) -> SearchedDropout:
    """Turn a dropout layer, where it stands, into one whose rate is searched; returns that same layer.

    Raises:
        ValueError: it drops more than single values.
    """
    if dropout.noise_shape is not None:
        raise ValueError(f"the rate of {dropout.name!r} cannot be searched, for it has a noise_shape; leave that out.")
    own_rate, dropout.__class__ = dropout.rate, SearchedDropout  # in place: graphs and attributes that hold it stay
    dropout._tracker.unlock()
    dropout.has_own_seeds = hasattr(dropout, "seed_generator")  # at a rate of 0 it has none
    if not dropout.has_own_seeds:
        dropout.seed_generator = keras.random.SeedGenerator()
    dropout.searched_rate = dropout.add_weight(
        name="rate", shape=(), initializer="zeros", trainable=False, dtype="float32", autocast=False
    )
    dropout._tracker.lock()
    dropout.own_rate, dropout.rate = own_rate, dropout.searched_rate
    searched: SearchedDropout = dropout
    return searched


def keep_rate(searched: SearchedDropout) -> None:
    """Turn what `search_rate` gave into the dropout layer that it was, with the variables that it had."""
    searched.__class__, searched.rate = keras.layers.Dropout, searched.own_rate
    del searched.searched_rate
    if not searched.has_own_seeds:
        searched._tracker.untrack(searched.seed_generator)
        del searched.seed_generator


@contextmanager
def traced_for_xla() -> Iterator[None]:
    """A block in which layers are called by what XLA will compile."""
    before = _for_xla.set(True)
    try:
        yield
    finally:
        _for_xla.reset(before)


@keras.saving.register_keras_serializable(package="klsearch")
class SlotFreeDense(keras.layers.Dense):
    """A `keras.layers.Dense` whose bias gradient has the same bits in every slot of a population.

    The sum over the batch of stacked gradients [K, n, units] is vectorised eight units at a time and takes another
    order of summation where eight units straddle two members. Adding the bias as a product with a column of ones makes
    its gradient a matrix product, which treats every member alike. Only needed where `units` exceed 8 and are no
    multiple of 8 (`dense` decides), and not in what XLA compiles, which would compile the product anew at every step.
    """

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """activation(inputs · kernel + bias)."""
        del training
        if _for_xla.get():
            return super().call(inputs)
        ones = keras.ops.ones_like(inputs[:, :1])
        outputs = keras.ops.matmul(inputs, self.kernel) + keras.ops.matmul(ones, self.bias[None])
        return self.activation(outputs)


def dense(units: int, **kwargs: Any) -> keras.layers.Dense:
    """A dense layer for rows [n, features] whose training has the same bits in every slot of a population."""
    kind = keras.layers.Dense if units <= 8 or units % 8 == 0 else SlotFreeDense
    return kind(units, **kwargs)
