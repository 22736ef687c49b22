"""One of several tokens at every place of a sequence."""

import math
from collections.abc import Iterable
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from klsearch.vae.data.rows import Rows, in_parts
from klsearch.vae.likelihoods.deviance import Deviance
from klsearch.vae.likelihoods.likelihood import LogLikelihood

if TYPE_CHECKING:
    import tensorflow as tf

_LEAST_SHARE = 1e-6  # of a token that no training row has in its place


def _by_place(values: "tf.Tensor", classes: int | None) -> "tf.Tensor":
    """Values [..., D] as [..., length, classes]."""
    import tensorflow as tf

    return tf.reshape(values, tf.concat([tf.shape(values)[:-1], [-1, classes or values.shape[-1]]], axis=0))


def _deviance(mean: "tf.Tensor", rows: "tf.Tensor", spread: "tf.Tensor") -> "tf.Tensor":
    """−2 x ln p, which is 0 where there is no token."""
    import tensorflow as tf

    del spread
    return -2 * rows * tf.math.log(tf.maximum(mean, _LEAST_SHARE))


def _shares_of_mean(mean: "tf.Tensor", rows: "tf.Tensor", *, classes: int | None) -> "tf.Tensor":
    """The training mean over the rows that have a token in the place."""
    import tensorflow as tf

    del rows
    by_place = _by_place(mean, classes)
    return tf.reshape(by_place / tf.maximum(tf.reduce_sum(by_place, axis=-1, keepdims=True), _LEAST_SHARE), [-1])


class Categorical(LogLikelihood):
    """Cat(x; softmax(output)) at every place of one-hot rows; the error is −ln p(x), 0 where a place holds none.

    Args:
        shape: of a row, whose last axis says how many tokens there are; all of its features if None.
    """

    name: ClassVar[str] = "categorical"
    error_name: ClassVar[str] = "negative log-likelihood of the tokens in nats"
    output_name: ClassVar[str] = "logits of the tokens at each place"
    keras_mean: str | None = "keras.ops.softmax(output)"
    scaling: ClassVar[str] = "tokens"
    made_of: ClassVar[Literal["nothing", "shape", "table"]] = "shape"

    def __init__(self, shape: tuple[int, ...] | None = None) -> None:
        self._classes = classes = None if shape is None else shape[-1]
        self.deviance = Deviance(
            words="categorical deviance",
            whole="deviance",
            between=_deviance,
            predicted_by_mean=partial(_shares_of_mean, classes=classes),
        )
        apart = f"ops.reshape(output, (ops.shape(rows)[0], -1, {classes}))" if classes else "output"
        self.keras_error = f"log_shares = ops.reshape(ops.log_softmax({apart}), ops.shape(rows))\n-rows * log_shares"

    def terms(self, shape: tuple[int, ...]) -> int:
        """One for each place, whatever its token."""
        return math.prod(shape[:-1])

    def error(self, rows: "tf.Tensor", output: "tf.Tensor") -> "tf.Tensor":
        """−x ln softmax(output)."""
        import tensorflow as tf

        log_shares = tf.reshape(tf.nn.log_softmax(_by_place(output, self._classes)), tf.shape(output))
        return -rows * log_shares

    def mean(self, output: "tf.Tensor", rows: "tf.Tensor") -> "tf.Tensor":
        """The probability of each token."""
        import tensorflow as tf

        del rows
        return tf.reshape(tf.nn.softmax(_by_place(output, self._classes)), tf.shape(output))

    def misfit(self, splits: Iterable[Rows], scaling: str) -> str | None:
        """Every place of a row holds one token or none."""
        for rows in chain.from_iterable(map(in_parts, splits)):
            if rows.ndim == 3 and np.isin(rows, (0, 1)).all() and rows.sum(axis=2).max(initial=0) <= 1:
                continue
            if scaling == "tokens":
                return "needs tokens, [rows, length] or one-hot [rows, length, classes]"
            return "needs tokens as they are; set data.scaling = 'auto', which makes them one-hot"
        return None


CATEGORICAL = Categorical()
