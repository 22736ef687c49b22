"""How far a reconstruction is from a row: what `unexplained` is a share of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # definitions name likelihoods, and must not wait for TensorFlow
    import tensorflow as tf


def _squared_error(mean: "tf.Tensor", rows: "tf.Tensor", spread: "tf.Tensor") -> "tf.Tensor":
    import tensorflow as tf

    del spread
    return tf.math.squared_difference(mean, rows)


def _itself(mean: "tf.Tensor", rows: "tf.Tensor") -> "tf.Tensor":
    del rows
    return mean


def unit_spread(train: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """One, whatever the rows: for a distance that nothing but the mean is fitted to."""
    del train
    return np.ones_like(mean)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviance:
    """A distance of rows from what is predicted for them.

    Attributes:
        words: its name in a sentence.
        whole: what `unexplained` is then a share of, in a word.
        between: of each value, [..., D], by predictions [..., D], rows that may lack leading axes, and the spread [D].
        spread: what of training rows, beside their mean, it is measured by, float64 [D]: of some training rows [n, D],
            NaN where a value is missing, and the mean of all [D].
        predicted_by_mean: what the training mean [D] predicts for rows [n, D]: itself, unless the rows tell something.
    """

    words: str = "squared error"
    whole: str = "variance"
    between: Callable[["tf.Tensor", "tf.Tensor", "tf.Tensor"], "tf.Tensor"] = _squared_error
    spread: Callable[[np.ndarray, np.ndarray], np.ndarray] = unit_spread
    predicted_by_mean: Callable[["tf.Tensor", "tf.Tensor"], "tf.Tensor"] = _itself

    @property
    def is_fitted(self) -> bool:
        """Whether it looks at training rows for more than their mean."""
        return self.spread is not unit_spread


SQUARED_ERROR = Deviance()
