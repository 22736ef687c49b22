"""A Gaussian whose variance is learned: for every value, or for every column."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from klsearch.vae.likelihoods.likelihood import LocationLikelihood

if TYPE_CHECKING:
    import tensorflow as tf

LEAST_VARIANCE = 1e-6  # the floor of a variance that is fitted, too


class GaussianVariance(LocationLikelihood):
    """N(x; mean, e^log_var + 1e-6): the decoder gives both for every value, and the error is −ln p(x)."""

    name: ClassVar[str] = "gaussian_variance"
    error_name: ClassVar[str] = "negative log-likelihood in nats"
    parts: ClassVar[tuple[str, ...]] = ("mean", "log_var")
    keras_error: str = f"""\
variance = ops.exp(log_var) + {LEAST_VARIANCE}
0.5 * (math.log(2 * math.pi) + ops.log(variance) + ops.square(rows - mean) / variance)"""
    output_name: ClassVar[str] = "two numbers for each value on a last axis: mean, log-variance"
    keras_mean: str | None = "output[..., 0]"

    def error(self, rows: "tf.Tensor", output: "tf.Tensor") -> "tf.Tensor":
        """−ln p(x)."""
        return negative_log_density(rows, *self.split(output))


class GaussianColumnVariance(GaussianVariance):
    """The same with one log-variance for every column, learned beside the decoder's weights."""

    name: ClassVar[str] = "gaussian_column_variance"
    parts: ClassVar[tuple[str, ...]] = ("mean",)
    column_parts: ClassVar[Mapping[str, float]] = {"log_var": 0.0}


def negative_log_density(rows: "tf.Tensor", mean: "tf.Tensor", log_var: "tf.Tensor") -> "tf.Tensor":
    """½ (ln 2πσ² + (x − mean)² / σ²) of σ² = e^log_var + 1e-6."""
    import tensorflow as tf

    variance = tf.exp(log_var) + LEAST_VARIANCE
    squared = tf.math.squared_difference(mean, rows)
    return 0.5 * (math.log(2 * math.pi) + tf.math.log(variance) + squared / variance)


GAUSSIAN_VARIANCE, GAUSSIAN_COLUMN_VARIANCE = GaussianVariance(), GaussianColumnVariance()
